"""The facts: the words and the frozen data that the engine gives and takes; `contract` says how it is asked.

Times are Unix milliseconds; 0 where there is none yet. Values (params, outputs, payloads) are what JSON can say.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

APPROVAL: Final = "approval"
"""The event type on which `wait_for_approval` waits unless told otherwise, and which `approve` and `reject` send."""


class Status(StrEnum):
    """Where an instance is; the values are those of the public Workflows API."""

    QUEUED = "queued"
    """Waits for a slot: created, or woken."""
    RUNNING = "running"
    PAUSED = "paused"
    ERRORED = "errored"
    TERMINATED = "terminated"
    COMPLETE = "complete"
    WAITING = "waiting"
    """Sleeps, waits for an event, a retry or a child. Holds no slot and no task."""
    WAITING_FOR_PAUSE = "waitingForPause"
    """Will be paused when the steps that run now have ended."""
    ROLLING_BACK = "rollingBack"
    UNKNOWN = "unknown"
    """Never set by this engine; a part of the API's words."""

    @property
    def ended(self) -> bool:
        """Whether nothing happens any more, but for a restart or a delete."""
        return self in _ENDED


_ENDED: Final = frozenset({Status.ERRORED, Status.TERMINATED, Status.COMPLETE})

StepType = Literal["do", "sleep", "wait_for_event", "child"]
StepState = Literal["running", "waiting", "completed", "failed", "skipped"]
Source = Literal["api", "binding", "event", "cron", "unknown"]
"""What started an instance. A child's source is `binding`."""


class EventName(StrEnum):
    """What is told of an instance, in the words of the public event feed."""

    WORKFLOW_QUEUED = "workflow_queued"
    WORKFLOW_STARTED = "workflow_started"
    WORKFLOW_RUNNING = "workflow_running"
    WORKFLOW_PAUSED = "workflow_paused"
    WORKFLOW_WAITING_FOR_PAUSE = "workflow_waiting_for_pause"
    WORKFLOW_WAITING = "workflow_waiting"
    WORKFLOW_RESTARTED = "workflow_restarted"
    WORKFLOW_COMPLETED = "workflow_completed"
    WORKFLOW_ERRORED = "workflow_errored"
    WORKFLOW_TERMINATED = "workflow_terminated"
    STEP_STARTED = "step_started"
    STEP_COMPLETED = "step_completed"
    STEP_ERRORED = "step_errored"
    STEP_SKIPPED = "step_skipped"
    ATTEMPT_STARTED = "attempt_started"
    ATTEMPT_COMPLETED = "attempt_completed"
    ATTEMPT_ERRORED = "attempt_errored"
    SLEEP_STARTED = "sleep_started"
    SLEEP_COMPLETED = "sleep_completed"
    WAIT_STARTED = "wait_started"
    WAIT_COMPLETED = "wait_completed"
    WAIT_TIMED_OUT = "wait_timed_out"
    CHILD_STARTED = "child_started"
    CHILD_COMPLETED = "child_completed"
    CHILD_ERRORED = "child_errored"
    EVENT_RECEIVED = "event_received"
    ROLLBACK_STARTED = "rollback_started"
    ROLLBACK_COMPLETED = "rollback_completed"
    ROLLBACK_ERRORED = "rollback_errored"
    ROLLBACK_STEP_STARTED = "rollback_step_started"
    ROLLBACK_STEP_COMPLETED = "rollback_step_completed"
    ROLLBACK_STEP_ERRORED = "rollback_step_errored"
    ROLLBACK_ATTEMPT_STARTED = "rollback_attempt_started"
    ROLLBACK_ATTEMPT_COMPLETED = "rollback_attempt_completed"
    ROLLBACK_ATTEMPT_ERRORED = "rollback_attempt_errored"


LAST_EVENTS: Final = frozenset(
    {EventName.WORKFLOW_COMPLETED, EventName.WORKFLOW_ERRORED, EventName.WORKFLOW_TERMINATED}
)
"""A subscription ends with one of these; no filter hides them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why something failed."""

    name: str
    """The name of the exception's class."""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackInfo:
    """How a rollback ended."""

    outcome: Literal["complete", "failed"]
    error: Fault | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Where the code differs from what an instance has done already: why it was paused."""

    wanted: str
    """The step that the code asked for; empty where the code came to its end."""
    recorded: str
    """The step that the record has at this place."""
    reason: str
    """One sentence with the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowInfo:
    """A registered workflow."""

    id: str
    """A UUID of its own; stays the same for a name."""
    name: str
    class_name: str
    version_id: str
    """The version under which new instances are created."""
    created: int
    modified: int
    """When its code was last seen to differ."""
    schedules: tuple[str, ...] = ()
    counts: Mapping[Status, int] = field(default_factory=dict[Status, int])
    """Instances by status; a status without instances is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionInfo:
    """One version of a workflow's code."""

    id: str
    """A UUID."""
    workflow: str
    class_name: str
    created: int
    fingerprint: str
    """A digest of the source; equal sources are one version."""
    source: str
    """The text of the module that defines the class, empty where it cannot be read: what a diagram is drawn from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewInstance:
    """What `create_batch` takes for one instance."""

    id: str | None = None
    """None: a UUID is made."""
    params: Any = None
    retention: str | int | None = None
    """How long the instance is kept after its end: a duration ("3 days", or ms). None: the workflow's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """What started an instance."""

    source: Source = "api"
    cron: str = ""
    scheduled: int = 0
    """The time that the schedule named."""
    parent_workflow: str = ""
    parent_instance: str = ""
    parent_step: str = ""
    """For a child: the step that started it, as `name-count`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceInfo:
    """One instance, as it is at the moment."""

    workflow: str
    id: str
    status: Status
    version_id: str
    created: int
    modified: int
    started: int = 0
    ended: int = 0
    expires: int = 0
    """When an ended instance is forgotten."""
    trigger: Trigger = field(default_factory=Trigger)
    params: Any = None
    output: Any = None
    error: Fault | None = None
    rollback: RollbackInfo | None = None
    difference: Difference | None = None
    """Set where the engine paused the instance because its code has changed under it."""
    wakes: int = 0
    """When a waiting instance wakes at the latest; 0 where only an event wakes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptInfo:
    """One try of a step."""

    number: int
    started: int
    ended: int = 0
    error: Fault | None = None
    retry_at: int = 0
    """When the next try begins, where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepInfo:
    """One step of an instance."""

    name: str
    count: int
    """Which step of this name and type, from 1."""
    type: StepType
    state: StepState
    started: int
    ended: int = 0
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """For `do`: `{"retries": {"limit", "delay" (ms), "backoff"}, "timeout" (ms)}`; for a wait: `{"event_type", "timeout"}`."""
    attempts: tuple[AttemptInfo, ...] = ()
    output: Any = None
    """`[REDACTED]` where the step is sensitive. For a wait: `{"type", "payload", "timestamp"}`."""
    error: Fault | None = None
    due: int = 0
    """When a sleep ends, or a wait times out."""
    event_type: str = ""
    """For `wait_for_event`."""
    child_workflow: str = ""
    child_instance: str = ""
    rollback: Literal["", "running", "completed", "failed"] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFault:
    """Why one instance of a batch was not created, or not deleted."""

    index: int
    id: str
    code: int
    """10400 not found, 10405 the id is in use, 10415 the id comes twice in the batch, 10001 invalid."""
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """What became of a batch."""

    done: tuple[InstanceInfo, ...]
    """The instances that were created, or deleted, in the order of the batch."""
    errors: tuple[BatchFault, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InstancePage:
    """One page of a list. Params and outputs are left out of its instances."""

    instances: tuple[InstanceInfo, ...]
    next: str = ""
    """The cursor of the next page; empty on the last one."""
    previous: str = ""
    """The cursor of the page before; empty on the first one."""
    total: int = 0
    """How many instances there are in all statuses that were asked for; dates are not regarded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceEvent:
    """One thing that happened to an instance."""

    id: int
    """Increasing; the cursor after which a subscription goes on."""
    type: EventName
    time: int
    workflow: str
    instance: str
    step: str = ""
    count: int = 0
    attempt: int = 0
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What else is known: `output`, `error {name, message}`, `retry_delay_ms`, `due`, `event_type`, `payload`, `config`, `reason`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFigures:
    """One SousChef: a shard of a workflow's instances."""

    number: int
    kind: Literal["souschef", "account_old"]
    queued: int
    woken: int
    """How many of the queued were woken; they go first."""
    slots: int
    """How many slots it holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFigures:
    """The queue and the slots of one workflow."""

    workflow: str
    queued: int
    running: int
    """How many instances hold a slot."""
    waiting: int
    limit: int
    """How many instances of this workflow may run at once."""
    account_limit: int
    """How many instances of all workflows may run at once."""
    account_running: int
    shards: tuple[ShardFigures, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether the engine can do its work."""

    problem: str = ""
    """Why the store cannot be written for now; empty while all is well."""
    loaded: int = 0
    """Instances that are in memory."""
    stuck_threads: int = 0
    """Threads in which a timed-out step function still runs."""
    commits: int = 0
    transitions: int = 0
    unpublished: int = 0
    """Journal rows that the collector has not confirmed yet."""


@dataclass(frozen=True, slots=True)
class From:
    """A step from which a restart begins: it and all that began after it are done again, what was before is reused."""

    name: str
    count: int = 1
    type: StepType = "do"
