"""An engine on a file of its own, with what tests ask of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from stagelight_plugins.engine import Status, WorkflowEntrypoint
from stagelight_plugins.engine.opening import open_control_plane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from stagelight_plugins.engine.control_plane import LocalControlPlane
    from stagelight_plugins.engine.facts import InstanceInfo

OVER = frozenset({Status.COMPLETE, Status.ERRORED, Status.TERMINATED, Status.PAUSED})


class Bench:
    """One engine after another on the same file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plane: LocalControlPlane | None = None
        self.classes: tuple[type[WorkflowEntrypoint], ...] = ()

    async def open(self, *classes: type[WorkflowEntrypoint], **options: Any) -> LocalControlPlane:
        """Open the engine, with workflows."""
        self.plane = await open_control_plane(self.path, **options)
        self.classes = classes or self.classes
        await self.plane.register(*self.classes)
        return self.plane

    async def reopen(self, *classes: type[WorkflowEntrypoint], **options: Any) -> LocalControlPlane:
        """Close it and open it again."""
        await self.close()
        return await self.open(*classes, **options)

    async def close(self) -> None:
        """Close it."""
        if self.plane is not None:
            await self.plane.close()

    async def until(
        self,
        workflow: str,
        instance_id: str,
        wanted: frozenset[Status] | Callable[[InstanceInfo], bool] = OVER,
    ) -> InstanceInfo:
        """Wait until an instance is as wanted."""
        assert self.plane is not None
        async with asyncio.timeout(60):
            while True:
                info = await self.plane.get(workflow, instance_id)
                if info.status in wanted if isinstance(wanted, frozenset) else wanted(info):
                    return info
                await asyncio.sleep(0.002)

    async def run(self, cls: type[WorkflowEntrypoint], params: Any = None, **options: Any) -> InstanceInfo:
        """Run one instance to its end."""
        assert self.plane is not None
        name = cls.name or cls.__name__
        made = await self.plane.create(name, params, **options)
        return await self.until(name, made.id)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """Engines on one file."""
    made = Bench(tmp_path / "engine.sqlite")
    yield made
    await made.close()
