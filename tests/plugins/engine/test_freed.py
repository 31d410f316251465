"""What an instance took is free when it has ended."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

from stagelight_plugins.engine import WorkflowEntrypoint, WorkflowEvent
from stagelight_plugins.engine.attempts import Attempts
from stagelight_plugins.engine.execution import Execution

if TYPE_CHECKING:
    from tests.plugins.engine.conftest import Bench

    from stagelight_plugins.engine.step import Step
else:
    Bench = Any

QUICK = {"limit": 5, "delay": 1, "backoff": "constant"}


class Flow(WorkflowEntrypoint):
    """Runs a step of each kind, one of them twice."""

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        async def add(number: int) -> int:
            await asyncio.sleep(0)
            return number + 1

        tries: list[int] = []

        def once() -> int:
            tries.append(1)
            if len(tries) == 1:
                raise ValueError("again")
            return int(event.payload) + 1

        both = await asyncio.gather(step.do("async", add, 1), step.do("thread", lambda: 2))
        await step.sleep("nap", 1)
        return [*both, await step.do("retried", once, retries=QUICK)]


async def test_what_has_ended_is_freed_without_a_search_for_cycles(bench: Bench) -> None:
    await bench.open(Flow)
    await bench.run(Flow, 0)
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            assert (await bench.run(Flow, 0)).output == [2, 2, 1]
        await asyncio.sleep(0)  # the last task is done with
        left = sum(isinstance(each, (Execution, Attempts)) for each in gc.get_objects())
    finally:
        gc.enable()
    assert left <= 4, "those of the last instance at most"
