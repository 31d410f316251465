"""What history hands out: plain immutable records. Times are Unix nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from stagelight.conventions import RunStatus, StepStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stagelight.events import Failure

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """Part of a listing."""

    items: Sequence[T]
    cursor: str | None
    """Where the next page begins; None at the end. A page may be short, even empty, and still have a next one:
    a filter that matches little is searched for in bounded portions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs to list; what is empty does not filter."""

    workflow: str = ""
    """The whole name."""
    status: RunStatus | None = None
    service: str = ""
    """The whole name."""
    since: int | None = None
    """The earliest start, inclusive."""
    until: int | None = None
    """The latest start, exclusive."""
    q: str = ""
    """Text within the run id, the workflow's name or the error message; upper and lower case are equal."""
    error: str = ""
    """Text within `type: message` of the error; upper and lower case are equal."""
    min_duration: int | None = None
    """Nanoseconds, inclusive, as is `max_duration`; only runs that have ended have a duration."""
    max_duration: int | None = None
    attributes: Sequence[tuple[str, str]] = ()
    """Attributes that the run's own span or its resource has, with these values as text; none is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run as its events leave it; the same as `rooms.state.Run` says of the same events."""

    id: str
    workflow: str
    service: str
    status: RunStatus
    started: int
    """The earliest `run_started`, or the earliest event where there is none."""
    ended: int | None
    """When the run ended; None while it goes on."""
    last_event: int
    error: Failure | None
    """Without the stack trace, which the event has."""
    parent_run_id: str
    parent_step_id: str
    trace_ids: Sequence[str]
    steps: Mapping[StepStatus, int] = field(default_factory=dict[StepStatus, int])
    """How many steps are in each status; statuses that no step is in are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowRecord:
    """A workflow as its latest runs show it."""

    name: str
    runs: int
    running: int
    """Runs that have not ended."""
    failed: int
    last_started: int


@dataclass(frozen=True, slots=True)
class Durations:
    """How long it takes, in milliseconds, of what completed."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendPart:
    """What started in one part of the time that is looked at; all parts are of one length."""

    start: int
    runs: int
    failed: int
    p50: float | None
    """Milliseconds, of what completed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStatistics:
    """How a step went in the runs of a workflow."""

    name: str
    kind: str
    runs: int
    """How often it was met."""
    completed: int
    failed: int
    running: int
    """Those that have not ended."""
    retries: int
    """Attempts after the first."""
    durations: Durations | None
    """None where nothing completed."""
    baseline: float | None
    """How long it usually takes, in milliseconds: the median of the latest hundred that completed."""
    trend: Sequence[TrendPart]
    """The parts of the workflow's trend; what starts after the latest run has is in the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowStatistics:
    """How the runs of a workflow went."""

    name: str
    runs: int
    completed: int
    failed: int
    running: int
    durations: Durations | None
    baseline: float | None
    """How long it usually takes, in milliseconds: the median of the latest runs that completed, a hundred at most."""
    trend: Sequence[TrendPart]
    """From the first start to the latest, in 24 parts at most."""
    steps: Sequence[StepStatistics]
    """By when they first started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorGroup:
    """Runs that failed for the same reason."""

    workflow: str
    type: str
    pattern: str
    """The message with `#` for every number."""
    runs: int
    first: int
    """When the first of these runs started, and `last` the latest."""
    last: int
    run_id: str
    """The latest of them."""
    message: str
    """What it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How many days are kept; 0 keeps for ever. Whole partitions go, so it may be some days more."""

    traces: int = 0
    logs: int = 0
    metrics: int = 0
    runs: int = 0
    """Events of runs and their summaries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A partition that is dropped."""

    table: str
    partition: str
    """Its first day: `2026-01-31`."""
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """What a prune dropped, or would drop."""

    dropped: Sequence[Dropped]
    runs: int
    """Runs that were forgotten because nothing is left of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableStatus:
    """How large a table is."""

    name: str
    rows: int
    bytes: int
    """On disk, compressed, indexes included."""
    parts: int
    oldest: int | None
    """The time of the oldest row; None where the table is empty or has no time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryStatus:
    """How history is."""

    engine: str
    """For example `chdb 26.9.2.1 at /var/lib/stagelight/history`; never holds a password."""
    tables: Sequence[TableStatus]

    @property
    def rows(self) -> int:
        """Rows in all tables."""
        return sum(table.rows for table in self.tables)

    @property
    def bytes(self) -> int:
        """Bytes on disk of all tables."""
        return sum(table.bytes for table in self.tables)

    @property
    def parts(self) -> int:
        """Active parts of all tables."""
        return sum(table.parts for table in self.tables)

    @property
    def oldest(self) -> int | None:
        """The time of the oldest row of any table."""
        return min((table.oldest for table in self.tables if table.oldest is not None), default=None)
