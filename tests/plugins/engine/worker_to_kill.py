"""A process that runs workflows until somebody kills it: `worker_to_kill.py FILE EFFECTS COUNT`.

Each body of a step appends a line to EFFECTS before it returns. It ends by itself when all instances have ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stagelight_plugins.engine import Status, WorkflowEntrypoint, WorkflowEvent
from stagelight_plugins.engine.errors import InstanceExists
from stagelight_plugins.engine.opening import open_control_plane

if TYPE_CHECKING:
    from stagelight_plugins.engine.control_plane import LocalControlPlane
    from stagelight_plugins.engine.step import Step

EFFECTS = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


class Work(WorkflowEntrypoint):
    """Steps, a sleep, a message and a retry."""

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        """Do it."""
        number = event.payload

        async def effect(name: str) -> str:
            os.write(EFFECTS, f"{number} {name}\n".encode())
            return f"{number}-{name}"

        first = await step.do("first", effect, "first")
        await step.sleep("nap", 5 + number % 200)
        message = await step.wait_for_event("message", event_type="message", timeout="1 hour")
        pair = await asyncio.gather(step.do("left", effect, "left"), step.do("right", effect, "right"))
        return [first, message.payload, *pair]


async def main() -> None:
    """Create what is not there yet, send each its message, wait until all have ended."""
    path, count = Path(sys.argv[1]), int(sys.argv[3])
    plane = await open_control_plane(path)
    await plane.register(Work)
    print("ready", flush=True)
    for start in range(0, count, 100):
        await asyncio.gather(*(_one(plane, number) for number in range(start, min(start + 100, count))))
    open_ones = [status for status in Status if not status.ended and status is not Status.UNKNOWN]
    while (await plane.list("Work", status=open_ones)).instances:  # noqa: ASYNC110 - nothing tells of all at once
        await asyncio.sleep(0.01)
    await plane.close()
    print("done", flush=True)


async def _one(plane: LocalControlPlane, number: int) -> None:
    """Create an instance and send its message, unless one that was killed has done so."""
    name = f"w{number}"
    with contextlib.suppress(InstanceExists):
        await plane.create("Work", number, id=name)
    engine = await plane.house.engine(plane.house.account.workflow("Work"), name)
    waits = [step for step in engine.memory.steps.values() if step.key.type == "wait_for_event"]
    if not engine.status.ended and not engine.memory.mail and not any(step.over for step in waits):
        await plane.send_event("Work", name, "message", number)


if __name__ == "__main__":
    asyncio.run(main())
