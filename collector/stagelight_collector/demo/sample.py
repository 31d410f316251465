"""The sample of Workflow Live: its workflows, made and played through the plugin's own HTTP routes.

Stages, times, the share that fails and the texts are those of the article's page.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp

STAGES: Final = ("Initialize", "Process Data", "Validate Results", "Send Notifications", "Cleanup")
LEAST_SECONDS: Final = 1.0
MOST_SECONDS: Final = 3.0
FAILING: Final = 0.1
"""Which share of the stages fails."""
WORKFLOWS: Final = 3
"""So many are played side by side."""


@dataclass(slots=True)
class Sample:
    """Plays sample workflows; the same chance plays the same."""

    session: aiohttp.ClientSession
    """Its base address is the collector's; a status from 400 on raises."""
    chance: Random
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def play(self, count: int = WORKFLOWS) -> None:
        """Create workflows, then start all. Where this is cancelled, each that runs is ended as failed."""
        made = [await self._create(f"Sample Workflow {number}") for number in range(1, count + 1)]
        async with asyncio.TaskGroup() as group:
            for workflow in made:
                # Each has a chance of its own, so that it does not matter which of them is faster.
                own = Random(self.chance.random())  # noqa: S311 - it chooses how long a stage takes
                group.create_task(self._run(workflow, own))

    async def _create(self, name: str) -> dict[str, Any]:
        body = {"name": name, "stages": [{"name": stage} for stage in STAGES]}
        return await self._call("POST", "/workflow/create", body)

    async def _run(self, workflow: dict[str, Any], chance: Random) -> None:
        address = f"/workflow/{workflow['id']}"
        error: str | None = "Stopped"
        try:
            await self._call("POST", f"{address}/start")
            error = await self._stages(address, workflow["stages"], chance)
        finally:
            await self._call("PUT", f"{address}/complete", {"error": error})

    async def _stages(self, address: str, stages: list[dict[str, Any]], chance: Random) -> str | None:
        """Run one stage after the other; return what is wrong in the end."""
        for stage in stages:
            await self._update(address, stage, status="running")
            await self.sleep(chance.uniform(LEAST_SECONDS, MOST_SECONDS))
            if chance.random() < FAILING:
                await self._update(address, stage, status="failed", error="Simulated failure")
                return "Stage failed"
            await self._update(address, stage, status="completed")
        return None

    async def _update(self, address: str, stage: dict[str, Any], **updates: str) -> None:
        await self._call("PUT", f"{address}/stage", {"stageId": stage["id"], "updates": updates})

    async def _call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        async with self.session.request(method, path, json=body) as response:
            return await response.json()  # type: ignore[no-any-return]  # what JSON holds
