"""The store: the seam behind which the engine keeps what is durable.

One implementation comes with it, SQLite. Another one that passes the tests of `tests/plugins/engine/test_store.py` can
stand behind the same `step` API.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


@dataclass(slots=True, kw_only=True, eq=False)
class Row:
    """One instance, as the store has it. Times are Unix milliseconds; the last four are JSON."""

    seq: int
    workflow: int
    id: str
    version: int
    status: str
    created: int
    modified: int
    retention: int
    chef: int = -1
    rank: int | None = None
    alarm: int | None = None
    started: int = 0
    ended: int = 0
    parent: int = 0
    """The seq of the instance whose child this is."""
    origin: bytes | str | None = None
    params: bytes | str | None = None
    output: bytes | str | None = None
    notes: bytes | str | None = None


COLUMNS = (
    "seq", "workflow", "id", "version", "status", "chef", "rank", "alarm", "created", "modified", "started", "ended",
    "retention", "parent", "origin", "params", "output", "notes",
)  # fmt: skip
"""The columns of a row, in the order of the table."""


class WorkflowRow(NamedTuple):
    """One workflow."""

    key: int
    id: str
    name: str
    created: int
    plane: str


class VersionRow(NamedTuple):
    """One version of a workflow's code."""

    key: int
    workflow: int
    id: str
    class_name: str
    created: int
    fingerprint: str
    source: str


class Entry(NamedTuple):
    """One row of the journal."""

    seq: int
    instance: int
    body: bytes | str


class Slice(NamedTuple):
    """What a page of a list asks for: instances of some statuses, between two places in the order of creation."""

    workflow: int
    statuses: Sequence[str]
    after: int
    before: int
    """Places, both exclusive; 0 for no bound."""
    created_from: int
    created_to: int
    descending: bool
    limit: int


@dataclass(slots=True)
class Batch:
    """All transitions of one tick: they become durable together, or not at all."""

    creates: list[Row] = field(default_factory=list[Row])
    """Instances to insert; one whose id is in use is left out, with its journal, and named in the answer."""
    changes: dict[int, dict[str, Any]] = field(default_factory=dict[int, dict[str, Any]])
    """By the seq of the instance: the columns that change, with their last values."""
    journal: dict[int, list[bytes]] = field(default_factory=dict[int, list[bytes]])
    """By instance: its new records."""
    removals: list[int] = field(default_factory=list[int])
    """Instances to forget, with their journals."""
    farewells: dict[int, bytes] = field(default_factory=dict[int, bytes])
    """By instance that is forgotten: the last record of it, which stays until it was told."""
    workflows: list[WorkflowRow] = field(default_factory=list[WorkflowRow])
    versions: list[VersionRow] = field(default_factory=list[VersionRow])
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    dropped_workflows: list[int] = field(default_factory=list[int])

    def __bool__(self) -> bool:
        return bool(
            self.creates
            or self.changes
            or self.journal
            or self.removals
            or self.farewells
            or self.workflows
            or self.versions
            or self.facts
            or self.dropped_workflows
        )


class Store(Protocol):
    """What is durable. `write` is called by one thread at a time, the others by another one, never by the event loop."""

    def write(self, batch: Batch) -> list[int]:
        """Make a batch durable. Return the seqs of the creates whose id was in use."""
        ...

    def row(self, workflow: int, instance_id: str) -> Row | None:
        """Return an instance."""
        ...

    def row_at(self, seq: int) -> Row | None:
        """Return an instance by its place."""
        ...

    def latest(self, workflow: int) -> Row | None:
        """Return the instance that was created last."""
        ...

    def journal(self, instance: int, after: int = 0) -> list[Entry]:
        """Return what an instance did, in order."""
        ...

    def outbox(self, after: int, limit: int) -> list[Entry]:
        """Return what all instances did, in order."""
        ...

    def rows(self, seqs: Collection[int]) -> list[Row]:
        """Return several instances, without params and output."""
        ...

    def queue(self, workflow: int, chef: int, limit: int) -> list[Row]:
        """Return the head of a SousChef's queue, in order of rank."""
        ...

    def due(self, until: int, limit: int) -> list[Row]:
        """Return instances whose alarm has come, the earliest first."""
        ...

    def next_alarm(self) -> int | None:
        """Return the time of the earliest alarm."""
        ...

    def interrupted(self, after: int, limit: int) -> list[Row]:
        """Return instances that held a slot when the process ended, by seq."""
        ...

    def page(self, part: Slice) -> list[Row]:
        """Return instances for a list, without params and output."""
        ...

    def counts(self) -> dict[tuple[int, str], int]:
        """Return how many instances there are by workflow and status."""
        ...

    def queues(self) -> dict[tuple[int, int], tuple[int, int]]:
        """Return by workflow and SousChef how many instances queue, and how many of them were woken."""
        ...

    def workflows(self) -> list[WorkflowRow]:
        """Return all workflows."""
        ...

    def versions(self) -> list[VersionRow]:
        """Return all versions, the oldest first."""
        ...

    def facts(self) -> dict[str, Any]:
        """Return all facts."""
        ...

    def last(self) -> tuple[int, int]:
        """Return the highest seq of an instance and of the journal that was ever used."""
        ...

    def close(self) -> None:
        """Let go of it. Safe twice."""
        ...
