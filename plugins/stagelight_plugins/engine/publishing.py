"""Publishing: what instances did, as ordinary runs of Stagelight.

The journal is durable already, so its rows are handed on in batches, at least once; the place up to which somebody
confirmed them is kept in the store. The run's id is the instance's id.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import orjson

from stagelight.conventions import WORKFLOW_VERSION, EventType as T
from stagelight.events import Event, Failure
from stagelight_plugins.engine.facts import EventName as E
from stagelight_plugins.engine.feed import expand
from stagelight_plugins.engine.memory import moment_of
from stagelight_plugins.engine.sources import FUNCTION, Sources

if TYPE_CHECKING:
    from stagelight_plugins.engine.house import House
    from stagelight_plugins.engine.memory import Record
    from stagelight_plugins.engine.store import Row
    from stagelight_plugins.engine.workflow import Workflow
    from stagelight_plugins.hookspecs import Table

Publish = Callable[[Sequence[Event], "Table"], Awaitable[None]]
"""Takes events, and the log rows that go with them: the code of workflows, and which run is of which version."""

ROWS: Final = 1_000
"""How many rows of the journal go in one batch."""
LINGER_SECONDS: Final = 0.02
BACK_OFF_SECONDS: Final = (0.1, 0.5, 1.0, 2.0, 5.0)
SERVICE: Final = "engine"

_TYPES: Final = {
    E.WORKFLOW_QUEUED: T.RUN_QUEUED,
    E.WORKFLOW_STARTED: T.RUN_STARTED,
    E.WORKFLOW_RUNNING: T.RUN_RESUMED,
    E.WORKFLOW_PAUSED: T.RUN_PAUSED,
    E.WORKFLOW_WAITING: T.RUN_WAITING,
    E.WORKFLOW_COMPLETED: T.RUN_COMPLETED,
    E.WORKFLOW_ERRORED: T.RUN_FAILED,
    E.WORKFLOW_TERMINATED: T.RUN_TERMINATED,
    E.STEP_STARTED: T.STEP_STARTED,
    E.STEP_COMPLETED: T.STEP_COMPLETED,
    E.STEP_ERRORED: T.STEP_FAILED,
    E.STEP_SKIPPED: T.STEP_SKIPPED,
    E.ATTEMPT_STARTED: T.ATTEMPT_STARTED,
    E.ATTEMPT_ERRORED: T.ATTEMPT_FAILED,
    E.ROLLBACK_STARTED: T.ROLLBACK_STARTED,
    E.ROLLBACK_COMPLETED: T.ROLLBACK_COMPLETED,
    E.ROLLBACK_ERRORED: T.ROLLBACK_FAILED,
    E.ROLLBACK_STEP_STARTED: T.ROLLBACK_STEP_STARTED,
    E.ROLLBACK_STEP_COMPLETED: T.ROLLBACK_STEP_COMPLETED,
    E.ROLLBACK_STEP_ERRORED: T.ROLLBACK_STEP_FAILED,
}
_SEVERAL: Final = {
    E.WORKFLOW_RESTARTED: (T.RUN_RESUMED, T.RUN_QUEUED),
    E.SLEEP_STARTED: (T.STEP_STARTED, T.SLEEP_STARTED),
    E.SLEEP_COMPLETED: (T.SLEEP_COMPLETED, T.STEP_COMPLETED),
    E.WAIT_STARTED: (T.STEP_STARTED, T.WAIT_STARTED),
    E.WAIT_COMPLETED: (T.WAIT_COMPLETED, T.STEP_COMPLETED),
    E.WAIT_TIMED_OUT: (T.WAIT_TIMED_OUT, T.STEP_FAILED),
    E.CHILD_STARTED: (T.STEP_STARTED, T.WAIT_STARTED),
    E.CHILD_COMPLETED: (T.WAIT_COMPLETED, T.STEP_COMPLETED),
    E.CHILD_ERRORED: (T.WAIT_COMPLETED, T.STEP_FAILED),
}
"""A wait is a step and what it does: it begins twice and ends twice. A restart takes back the end, then waits for a slot."""
_RESTARTED: Final = {
    "error": {"name": "Restarted", "message": "the instance was restarted before this step ended"}
}
"""What becomes of a step that a restart cuts off: for those who watch, it ends."""
_FAILURES: Final = frozenset(
    {T.RUN_FAILED, T.STEP_FAILED, T.ATTEMPT_FAILED, T.ROLLBACK_FAILED, T.ROLLBACK_STEP_FAILED}
)
_ATTEMPTS: Final = frozenset(
    {T.STEP_STARTED, T.STEP_COMPLETED, T.STEP_FAILED, T.STEP_SKIPPED, T.ATTEMPT_STARTED, T.ATTEMPT_FAILED}
)

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Publisher:
    """Hands the journal on, from where it was confirmed."""

    house: House
    publish: Publish
    cursor: int = 0
    problem: str = ""
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None
    _sources: Sources = field(default_factory=Sources)

    async def start(self) -> None:
        """Go on from the place that was confirmed last."""
        facts = await self.house.reader.call(self.house.store.facts)
        self.cursor = self.house.published = facts.get("published", 0)
        self.house.ledger.on_commit = self._news.set
        self._news.set()
        self._task = self.house.loop.create_task(self._run())

    async def stop(self) -> None:
        """Stop; what was not confirmed is handed on again next time. Safe twice."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self) -> None:
        failures = 0
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                while await self._hand_over():
                    failures = 0
                self.problem = ""
            except Exception as error:  # noqa: BLE001 - whatever it is, the rows stay where they are
                self.problem = f"{type(error).__name__}: {error}"
                _log.warning("what the engine did is not taken, again soon: %s", self.problem)
                await asyncio.sleep(BACK_OFF_SECONDS[min(failures, len(BACK_OFF_SECONDS) - 1)])
                failures += 1
                self._news.set()
            await asyncio.sleep(LINGER_SECONDS)

    async def _hand_over(self) -> bool:
        """Hand over one batch; return whether there was one."""
        entries, rows = await self.house.reader.call(partial(self._read, self.cursor))
        if not entries:
            return False
        events: list[Event] = []
        gone: list[int] = []
        for entry in entries:
            row = rows.get(entry.instance)
            for _, record in expand(entry):
                if row is not None:
                    events.extend(self._events(row, record))
                elif "run" in record:
                    events.append(_farewell(record))
                    gone.append(entry.instance)
        if events:
            await self._tell(events, rows.values())
        self._confirm(entries[-1].seq, gone)
        return True

    def _confirm(self, place: int, gone: Iterable[int]) -> None:
        """Keep how far it was taken; the farewells of these instances are needed no more."""
        self.cursor = self.house.published = place
        self.house.ledger.edit().facts["published"] = place
        for seq in gone:
            self.house.ledger.remove(seq)

    async def _tell(self, events: Sequence[Event], rows: Iterable[Row]) -> None:
        by_key = self.house.by_key
        begun = {(row.workflow, row.version) for row in rows if row.started and row.workflow in by_key}
        pairs = [(by_key[workflow], version) for workflow, version in sorted(begun)]
        try:
            await self.publish(events, await asyncio.to_thread(self._sources.rows, events, pairs))
        except BaseException:
            self._sources.again()
            raise

    def _read(self, after: int) -> tuple[list[Any], dict[int, Row]]:
        store = self.house.store
        entries = store.outbox(after, ROWS)
        seqs = sorted({entry.instance for entry in entries})
        rows = {
            row.seq: row
            for start in range(0, len(seqs), 500)
            for row in store.rows(seqs[start : start + 500])
        }
        return entries, rows

    # --- events ---------------------------------------------------------------------------------------------------

    def _events(self, row: Row, record: Record) -> Iterator[Event]:
        for place, (kind, told) in enumerate(_told(record, row.created)):
            yield self._event(row, told, kind, moment_of(record) + place)

    def _event(self, row: Row, record: Record, kind: T, time: int) -> Event:
        workflow = self.house.by_key.get(row.workflow)
        more = _of_step(record, kind) if "s" in record else _of_run(row, workflow, kind)
        error = record.get("error")
        return Event(
            type=kind,
            run_id=row.id,
            time=time,
            workflow=workflow.name if workflow else "",
            service=SERVICE,
            error=Failure(type=error.get("name", ""), message=error.get("message", ""))
            if error and kind in _FAILURES
            else None,
            message=record.get("reason", ""),
            **more,
        )


def _told(record: Record, created: int) -> Iterator[tuple[T, Record]]:
    """Yield what is told of a record, in order: not more than it has `moments`."""
    name = E(record["t"])
    for kind, step, count, attempt, generation in record.get("cut", ()):
        life = {"g": generation} if generation > 1 else {}
        yield T.STEP_FAILED, {**_RESTARTED, **life, "k": kind, "s": step, "c": count, "n": attempt}
    if name is E.WORKFLOW_QUEUED and record["at"] == created and "o" not in record:
        yield T.RUN_CREATED, record
    for kind in _SEVERAL.get(name) or ((_TYPES[name],) if name in _TYPES else ()):
        yield kind, record


def _farewell(record: Record) -> Event:
    """Return the end of an instance that was deleted before it came to another one."""
    return Event(
        type=T.RUN_TERMINATED,
        run_id=record["run"],
        time=moment_of(record),
        workflow=record["workflow"],
        service=SERVICE,
        message=record["reason"],
    )


def _of_step(record: Record, kind: T) -> dict[str, Any]:
    """Return what an event says of its step; after a restart it is another step."""
    step_id = f"{record['k']}:{record['s']}-{record['c']}"
    if "g" in record:
        step_id = f"{record['g']}/{step_id}"
    return {
        "step_id": step_id,
        "step_name": record["s"],
        "step_kind": record["k"],
        "attempt": record.get("n", 1) if kind in _ATTEMPTS else 0,
        "child_run_id": record.get("id", "") if record["k"] == "child" else "",
    }


def _of_run(row: Row, workflow: Workflow | None, kind: T) -> dict[str, Any]:
    """Return what the start of a run says beside the time: the version of its code, and who started it."""
    if kind not in {T.RUN_CREATED, T.RUN_STARTED}:
        return {}
    version = workflow.version_of(row.version) if workflow else None
    more: dict[str, Any] = {}
    if version is not None:
        more["attributes"] = {WORKFLOW_VERSION: version.id, FUNCTION: version.class_name}
    if row.parent and row.origin:
        trigger = orjson.loads(row.origin)
        more["parent_run_id"] = trigger["parent_instance"]
        more["parent_step_id"] = f"child:{trigger['parent_step']}"
    return more
