"""Looking: what can be asked of instances without changing them."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Literal

from stagelight_plugins.engine.cursors import Cursor
from stagelight_plugins.engine.errors import (
    InstanceNotFound,
    Invalid,
)
from stagelight_plugins.engine.facts import (
    LAST_EVENTS,
    EventName,
    Health,
    InstanceEvent,
    InstanceInfo,
    InstancePage,
    QueueFigures,
    Status,
    StepInfo,
)
from stagelight_plugins.engine.feed import PLACES, event_of, expand
from stagelight_plugins.engine.limits import MAX_BATCH
from stagelight_plugins.engine.store import Slice
from stagelight_plugins.engine.store.sqlite import STATUSES
from stagelight_plugins.engine.views import instance_of, step_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from stagelight_plugins.engine.engine import Engine
    from stagelight_plugins.engine.house import House


class Looking:
    """Answers questions about instances."""

    def __init__(self, house: House) -> None:
        self.house = house

    def instance(self, engine: Engine) -> InstanceInfo:
        """Return an instance as the outside sees it."""
        version = engine.workflow.version_of(engine.row.version)
        return instance_of(engine.row, engine.workflow.name, version.id if version else "")

    async def engine(self, workflow: str, instance_id: str) -> Engine:
        """Return the Engine of an instance; `latest` is the one that was created last."""
        found = self.house.account.workflow(workflow)
        try:
            return await self.house.engine(found, instance_id)
        except InstanceNotFound:
            if instance_id != "latest":
                raise
        await self.house.ledger.durable()
        row = await self.house.reader.call(partial(self.house.store.latest, found.key))
        if row is None:
            raise InstanceNotFound(workflow, instance_id)
        return await self.house.engine(found, row.id)

    async def get(self, workflow: str, instance_id: str) -> InstanceInfo:
        """Return an instance."""
        return self.instance(await self.engine(workflow, instance_id))

    async def steps(self, workflow: str, instance_id: str) -> list[StepInfo]:
        """Return the steps of an instance."""
        engine = await self.engine(workflow, instance_id)
        return [step_of(step) for step in sorted(engine.memory.steps.values(), key=lambda step: step.place)]

    async def list(
        self,
        workflow: str,
        *,
        status: Collection[Status] = (),
        created_from: int = 0,
        created_to: int = 0,
        direction: Literal["asc", "desc"] = "desc",
        limit: int = 50,
        cursor: str = "",
    ) -> InstancePage:
        """Return instances in the order of their creation."""
        found = self.house.account.workflow(workflow)
        if not 1 <= limit <= MAX_BATCH:
            raise Invalid(f"a page of {limit} instances is not allowed; ask for 1 to {MAX_BATCH}")
        here = Cursor.read(cursor, workflow) if cursor else Cursor(
            workflow=workflow,
            status=tuple(Status(item).value for item in status),
            created_from=created_from,
            created_to=created_to,
            direction=direction,
        )  # fmt: skip
        await self.house.ledger.durable()
        rows = await self.house.reader.call(
            partial(self.house.store.page, _slice(found.key, here, limit + 1))
        )
        more, rows = len(rows) > limit, rows[:limit]
        if here.back:
            rows.reverse()
        before = more if here.back else bool(here.place)
        after = bool(here.place) if here.back else more
        counted = here.status or STATUSES
        versions = {version.key: version.id for version in found.versions}
        return InstancePage(
            instances=tuple(instance_of(row, workflow, versions.get(row.version, "")) for row in rows),
            next=here.text(place=rows[-1].seq) if rows and after else "",
            previous=here.text(place=rows[0].seq, back=True) if rows and before else "",
            total=sum(max(0, found.counts.get(item, 0)) for item in counted),
        )

    async def queue(self, workflow: str) -> QueueFigures:
        """Return the figures of a workflow's queue and slots."""
        house = self.house
        found = house.account.workflow(workflow)
        chefs = sorted(house.chefs.get(found.key, {}).values(), key=lambda chef: chef.number)
        return QueueFigures(
            workflow=workflow,
            queued=sum(chef.queued for chef in chefs),
            running=sum(chef.slots for chef in chefs),
            waiting=max(0, found.counts.get(Status.WAITING, 0)),
            limit=house.limit_of(found),
            account_limit=house.limits.slots,
            account_running=sum(chef.slots for group in house.chefs.values() for chef in group.values()),
            shards=tuple(chef.figures() for chef in chefs),
        )

    async def subscribe(
        self, workflow: str, instance_id: str, *, cursor: int = 0, types: Collection[EventName] = ()
    ) -> AsyncIterator[InstanceEvent]:
        """Yield what happened to an instance, then what happens, until it has ended or is deleted."""
        engine = await self.engine(workflow, instance_id)
        seq, name, ended = engine.row.seq, engine.row.id, False
        news = asyncio.Event()
        self.house.watchers.setdefault(seq, set()).add(news)
        sensitive: set[tuple[str, int]] = set()
        try:
            while True:
                news.clear()
                after = max(0, cursor // PLACES - 1)
                await self.house.ledger.durable()
                entries = await self.house.reader.call(partial(self.house.store.journal, seq, after))
                if not entries and not await self._is_there(seq):
                    return
                for entry in entries:
                    for number, record in expand(entry):
                        event = event_of(number, record, workflow, name, sensitive)
                        ended = event.type in LAST_EVENTS
                        if number <= cursor:
                            continue
                        cursor = number
                        if not types or event.type in types or ended:
                            yield event
                if ended:
                    return
                await news.wait()
        finally:
            self.house.watchers[seq].discard(news)
            if not self.house.watchers[seq]:
                del self.house.watchers[seq]

    async def _is_there(self, seq: int) -> bool:
        return await self.house.reader.call(partial(self.house.store.row_at, seq)) is not None

    def health(self) -> Health:
        """Return whether the engine can do its work."""
        ledger, published = self.house.ledger, self.house.published
        return Health(
            problem=ledger.problem,
            loaded=len(self.house.engines),
            stuck_threads=self.house.threads.stuck,
            commits=ledger.commits,
            transitions=ledger.transitions,
            unpublished=0 if published is None else max(0, ledger.journaled - published),
        )


def _slice(workflow: int, here: Cursor, limit: int) -> Slice:
    descending = (here.direction == "desc") != here.back
    after, before = (0, here.place) if descending else (here.place, 0)
    return Slice(
        workflow,
        here.status or STATUSES,
        after,
        before,
        here.created_from,
        here.created_to,
        descending=descending,
        limit=limit,
    )
