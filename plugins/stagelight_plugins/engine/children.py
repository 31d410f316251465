"""Children: instances that other instances start, and whose end they wait for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from stagelight_plugins.engine.errors import InstanceNotFound, NotFound
from stagelight_plugins.engine.limits import check_instance

if TYPE_CHECKING:
    from stagelight_plugins.engine.engine import Engine
    from stagelight_plugins.engine.facts import Trigger
    from stagelight_plugins.engine.house import House


@dataclass(slots=True, eq=False)
class Children:
    """Starts children, and brings their ends to their parents."""

    house: House

    async def adopt(
        self, name: str, instance_id: str, params: Any, trigger: Trigger, parent: int
    ) -> tuple[str, Any, dict[str, Any] | None] | None:
        """Create a child, once; return what became of it, None while it is under way."""
        workflow = self.house.cache.workflow(name)
        try:
            engine = await self.house.engine(workflow, instance_id)
        except InstanceNotFound:
            check_instance(instance_id)
            engine = await self.house.create(
                workflow, instance_id, params, workflow.retention, trigger, parent
            )
        if not engine.status.ended:
            return None
        output = orjson.loads(engine.row.output) if engine.row.output else None
        return engine.status, output, engine.notes.get("error")

    def ended(self, child: Engine) -> None:
        """Let the parent look: by an alarm in the same transaction, and at once."""
        now = self.house.clock.now()
        self.house.ledger.change(child.row.parent, {"alarm": now})
        self.house.alarms.expect(now)
        parent = self.house.engines.get(child.row.parent)
        if parent is not None:
            self.house.ledger.then(parent.poke)

    async def look_after(self, engine: Engine) -> None:
        """Ask what became of the children of an instance that is in memory."""
        for step in list(engine.memory.steps.values()):
            if step.key.type != "child" or step.over:
                continue
            try:
                child = await self.house.engine(self.house.cache.workflow(step.child[0]), step.child[1])
            except NotFound:
                engine.child_ended(
                    step.key, "deleted", None, {"name": "InstanceNotFound", "message": "it was deleted"}
                )
                continue
            if child.status.ended:
                output = orjson.loads(child.row.output) if child.row.output else None
                engine.child_ended(step.key, child.status, output, child.notes.get("error"))
