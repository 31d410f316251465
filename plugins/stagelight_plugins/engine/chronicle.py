"""The chronicle: what is said of one instance; remembered at once, and handed to the ledger."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from stagelight_plugins.engine.errors import TooLarge
from stagelight_plugins.engine.facts import EventName as E, Status
from stagelight_plugins.engine.memory import moment_of

if TYPE_CHECKING:
    from stagelight_plugins.engine.house import House
    from stagelight_plugins.engine.memory import Memory, Record, StepKey
    from stagelight_plugins.engine.store import Row
    from stagelight_plugins.engine.workflow import Workflow


@dataclass(slots=True, eq=False)
class Chronicle:
    """Writes about one instance."""

    house: House
    workflow: Workflow
    row: Row
    memory: Memory
    writes: int = field(default=0, init=False)
    """How often something was written about it; tells whether its last word is on disk."""
    notes: dict[str, Any] = field(default_factory=dict[str, Any], init=False)

    def __post_init__(self) -> None:
        if self.row.notes:
            self.notes = orjson.loads(self.row.notes)

    @property
    def status(self) -> Status:
        """Where it is."""
        return Status(self.row.status)

    def note(self, what: E, key: StepKey | None = None, **more: Any) -> None:
        """Say what happened: remember it, and hand it to the ledger."""
        record = self._record(what, key, more)
        self._write(record, orjson.dumps(record))

    def note_output(self, what: E, key: StepKey, output: Any, body: bytes, attempt: int) -> None:
        """Say what came out of a step that ran."""
        number = {"n": attempt} if attempt > 1 else {}
        written = self._record(what, key, {**number, "output": orjson.Fragment(body)})
        self._write({**written, "output": output}, orjson.dumps(written))

    def _record(self, what: E, key: StepKey | None, more: dict[str, Any]) -> Record:
        record: Record = {"t": what.value, "at": more["at"] if "at" in more else self.house.clock.now()}
        late = self.memory.next_moment - moment_of(record)
        if late > 0:
            record["o"] = late
        if key is not None:
            record["k"], record["s"], record["c"] = key
            if self.memory.generation > 1:
                record["g"] = self.memory.generation
        record.update(more)
        return record

    def _write(self, record: Record, body: bytes) -> None:
        self.writes += 1
        self.memory.apply(record)
        self.memory.size += len(body)
        self.house.ledger.record(self.row.seq, body)
        self.house.told(self.row.seq)

    def check_size(self, more: int) -> None:
        """Refuse what would make the instance larger than it may be."""
        if self.memory.size + more > self.house.limits.state_bytes:
            raise TooLarge(
                "all that this instance keeps", self.memory.size + more, self.house.limits.state_bytes
            )

    def put(self, status: Status, **columns: Any) -> None:
        """Set its status, and what changes with it."""
        row, now = self.row, self.house.clock.now()
        self.writes += 1
        self.house.alarms.expect(columns.get("alarm"))
        self.house.count(self.workflow, row.status, status)
        row.status, row.modified = status.value, now
        for name, value in columns.items():
            setattr(row, name, value)
        self.house.ledger.change(row.seq, {"status": status.value, "modified": now, **columns})

    def noted(self, **notes: Any) -> bytes | None:
        """Return the notes with these changed; None takes one away."""
        self.notes = {key: value for key, value in {**self.notes, **notes}.items() if value is not None}
        return orjson.dumps(self.notes) if self.notes else None
