"""Opening: the engine on a file, with what the last process left in it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from stagelight_plugins.engine.account import Account, Plane
from stagelight_plugins.engine.clock import Clock, SystemClock
from stagelight_plugins.engine.entrypoint import WorkflowEntrypoint
from stagelight_plugins.engine.gatekeeper import Gatekeeper
from stagelight_plugins.engine.hooks import Hooks
from stagelight_plugins.engine.house import House
from stagelight_plugins.engine.lanes import ThreadLane, Threads
from stagelight_plugins.engine.ledger import Ledger
from stagelight_plugins.engine.limits import Limits
from stagelight_plugins.engine.store.sqlite import SqliteStore
from stagelight_plugins.engine.timers import Timers
from stagelight_plugins.engine.workflow import Workflow

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from stagelight_plugins.engine.entrypoint import WorkflowEvent
    from stagelight_plugins.engine.step import Step
    from stagelight_plugins.engine.store import Store, VersionRow


from stagelight_plugins.engine.control_plane import LocalControlPlane


async def open_control_plane(
    path: Path,
    *,
    limits: Limits | None = None,
    clock: Clock | None = None,
    hooks: Hooks | None = None,
    store: Store | None = None,
    lane: Callable[[asyncio.AbstractEventLoop, str], Any] = ThreadLane,
) -> LocalControlPlane:
    """Open the engine on a file, which is made where there is none.

    Raises:
        StoreInUse: Another process has it.
        StoreDamaged: It cannot be read.
    """
    loop = asyncio.get_running_loop()
    limits, clock = limits or Limits(), clock or SystemClock()
    opened: Store = await asyncio.to_thread(SqliteStore, path) if store is None else store
    writer = lane(loop, "stagelight-engine-writer")
    reader = lane(loop, "stagelight-engine-reader")
    house = House(
        loop=loop,
        clock=clock,
        limits=limits,
        store=opened,
        ledger=Ledger(opened, writer, loop),
        reader=reader,
        threads=Threads(loop, limits.threads),
        timers=Timers(loop, clock),
        account=Account(Gatekeeper(limits.slots)),
        hooks=hooks or Hooks(),
    )
    await reader.call(partial(_take_over, house))
    plane = LocalControlPlane(house, writer)
    await house.recovery.take_over()
    return plane


def _take_over(house: House) -> None:
    """Read what is known of workflows; their classes come with `register`."""
    store = house.store
    house.last_seq, house.ledger.journaled = store.last()
    versions: dict[int, list[VersionRow]] = {}
    for version in store.versions():
        versions.setdefault(version.workflow, []).append(version)
    for row in store.workflows():
        newest = versions.get(row.key, [])
        workflow = Workflow(
            row.key,
            row.id,
            row.name,
            row.created,
            Plane(row.plane),
            Unregistered,
            version=newest[-1].key if newest else 0,
            retention=house.limits.retention,
            known=False,
            versions=newest,
        )
        house.account.workflows[row.name] = house.by_key[row.key] = workflow
    for (key, status), count in store.counts().items():
        if key in house.by_key:
            house.by_key[key].counts[status] = count


class Unregistered(WorkflowEntrypoint):
    """Stands for a class that this process has not been given; its instances wait in the queue."""

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        """Never called: there are no slots for it."""
        raise NotImplementedError
