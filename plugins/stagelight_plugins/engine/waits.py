"""Steps that wait: for a time, for an event, for a child. They run nothing, so their instance can be set aside."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from stagelight_plugins.engine.errors import EngineError, LimitReached, StoreUnavailable
from stagelight_plugins.engine.facts import EventName as E, Trigger
from stagelight_plugins.engine.failures import described

if TYPE_CHECKING:
    from stagelight_plugins.engine.execution import Asked, Execution


Ending = tuple[str, Any, dict[str, Any] | None]
"""How a child ended: its status, its output, its error."""


@dataclass(slots=True, eq=False)
class Waits:
    """Begins waits, and goes on with those that were begun before."""

    execution: Execution

    def sleep(self, asked: Asked, length: int) -> None:
        """Sleep for so long; what was begun before keeps its time, whatever the code says now."""
        self.sleep_until(asked, self.execution.engine.house.clock.now() + length)

    def sleep_until(self, asked: Asked, due: int) -> None:
        """Sleep until a time."""
        engine = self.execution.engine
        if asked.key not in engine.memory.steps:
            engine.note(E.SLEEP_STARTED, asked.key, due=due)
        engine.expect(asked.key)
        self.execution.watch()

    def event(self, asked: Asked, event_type: str, length: int) -> None:
        """Take the first event of a type that nobody has taken, or wait for one."""
        engine = self.execution.engine
        if asked.key not in engine.memory.steps:
            due = engine.house.clock.now() + length
            engine.note(E.WAIT_STARTED, asked.key, due=due, event_type=event_type)
            mock = engine.house.hooks.event(event_type)
            if mock is not None and not mock.timeout:
                engine.send(event_type, orjson.dumps(mock.result))
                return
            box = engine.memory.mailbox.get(event_type)
            if box:
                engine.note(E.WAIT_COMPLETED, asked.key, event=box[0], mailed=True)
                self.execution.settle_when_durable(engine.memory.steps[asked.key])
                return
        engine.expect(asked.key)
        self.execution.watch()

    def child(self, asked: Asked, workflow: str, params: Any, instance_id: str | None) -> None:
        """Start a child, once, or look what became of it."""
        engine = self.execution.engine
        if asked.key not in engine.memory.steps:
            made = f"{asked.key.short}".encode()
            digest = hashlib.sha256(
                b"%d/%d/%s" % (engine.row.seq, engine.memory.generation, made)
            ).hexdigest()[:16]
            child_id = instance_id or f"{engine.row.id[:80]}-{digest}"
            engine.note(E.CHILD_STARTED, asked.key, workflow=workflow, id=child_id)
        self.execution.settling += 1
        task = engine.house.loop.create_task(self._child(asked, params))
        engine.house.keep(task)

    async def _adopt(self, workflow: str, child_id: str, params: Any, trigger: Trigger) -> Ending | None:
        """Start the child; where there is no room for it now, on the disk or in the queue, it comes later."""
        house, seq = self.execution.engine.house, self.execution.engine.row.seq
        while not self.execution.closed:
            try:
                return await house.children.adopt(workflow, child_id, params, trigger, seq)
            except (LimitReached, StoreUnavailable) as error:
                if not error.retry_after:
                    raise
                await house.pause_for(round(error.retry_after * 1_000))
        return None

    async def _child(self, asked: Asked, params: Any) -> None:
        engine = self.execution.engine
        workflow, child_id = engine.memory.steps[asked.key].child
        trigger = Trigger(
            source="binding",
            parent_workflow=engine.workflow.name,
            parent_instance=engine.row.id,
            parent_step=asked.key.short,
        )
        ending: Ending | None
        try:
            ending = await self._adopt(workflow, child_id, params, trigger)
        except EngineError as error:
            ending = ("errored", None, described(error))
        finally:
            self.execution.settling -= 1
        if self.execution.closed:
            return
        if ending is not None:
            engine.child_ended(asked.key, *ending)
        self.execution.watch()
