"""The control plane on one machine: what implements `contract.ControlPlane`."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from stagelight_plugins.engine import registry
from stagelight_plugins.engine.account import Account, Plane
from stagelight_plugins.engine.clock import Clock, SystemClock
from stagelight_plugins.engine.contract import (
    APPROVAL,
    LAST_EVENTS,
    BatchFault,
    BatchResult,
    EventName,
    Health,
    InstanceEvent,
    InstanceInfo,
    InstancePage,
    QueueFigures,
    Status,
    StepInfo,
    VersionInfo,
    WorkflowInfo,
)
from stagelight_plugins.engine.cursors import Cursor
from stagelight_plugins.engine.durations import milliseconds
from stagelight_plugins.engine.entrypoint import WorkflowEntrypoint
from stagelight_plugins.engine.errors import (
    EngineError,
    InstanceExists,
    InstanceNotFound,
    Invalid,
    LimitReached,
)
from stagelight_plugins.engine.feed import PLACES, event_of, expand
from stagelight_plugins.engine.gatekeeper import Gatekeeper
from stagelight_plugins.engine.house import Hooks, House, Workflow
from stagelight_plugins.engine.lanes import ThreadLane, Threads
from stagelight_plugins.engine.ledger import Ledger
from stagelight_plugins.engine.limits import MAX_BATCH, Limits, check_event, check_instance, check_step
from stagelight_plugins.engine.rates import Rates
from stagelight_plugins.engine.schedules import Schedules
from stagelight_plugins.engine.store import Slice, VersionRow, WorkflowRow
from stagelight_plugins.engine.store.sqlite import STATUSES, SqliteStore
from stagelight_plugins.engine.timers import Timers
from stagelight_plugins.engine.values import encode
from stagelight_plugins.engine.views import instance_of, step_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Sequence
    from pathlib import Path

    from stagelight_plugins.engine.contract import From, NewInstance, Trigger
    from stagelight_plugins.engine.engine import Engine
    from stagelight_plugins.engine.entrypoint import WorkflowEvent
    from stagelight_plugins.engine.step import Step
    from stagelight_plugins.engine.store import Store

LOOK_SECONDS = 0.05
"""How often somebody looks whether an alarm has come."""


class LocalControlPlane:
    """All of the engine in one process, on one file. Open it with `open_control_plane`."""

    def __init__(self, house: House, writer: ThreadLane) -> None:
        self.house = house
        self._writer = writer
        self._looker: asyncio.TimerHandle | None = None
        self._schedules = Schedules(self, house)
        self._rates = Rates(house.limits, house.clock)
        self._closed = False
        self._look()

    def _look(self) -> None:
        self.house.look()
        self._looker = self.house.loop.call_later(LOOK_SECONDS, self._look)

    # --- workflows ------------------------------------------------------------------------------------------------

    async def register(self, *classes: type[WorkflowEntrypoint]) -> list[WorkflowInfo]:
        """Make workflows known."""
        for cls in classes:
            self._schedules.check(registry.checked(cls))
        for cls in classes:
            self._register(cls)
        await self.house.ledger.durable()
        for cls in classes:
            self._schedules.follow(self.house.account.workflows[registry.name_of(cls)])
        await self.house.bring_back()
        self.house.demand()
        return [self._info(self.house.account.workflows[registry.name_of(cls)]) for cls in classes]

    def _register(self, cls: type[WorkflowEntrypoint]) -> None:
        house, name = self.house, registry.name_of(cls)
        workflow = house.account.workflows.get(name)
        now = house.clock.now()
        if workflow is None:
            key = max(house.by_key, default=0) + 1
            workflow = Workflow(key, registry.new_id(), name, now, Plane.SOUS_CHEFS, cls)
            house.ledger.edit().workflows.append(
                WorkflowRow(key, workflow.id, name, now, workflow.plane.value)
            )
            house.account.workflows[name] = house.by_key[key] = workflow
        source = registry.source_of(cls)
        fingerprint = registry.fingerprint_of(cls, source)
        versions = workflow.versions
        known = next((version for version in versions if registry.same(version, fingerprint)), None)
        if known is None:
            number = 1 + max(
                (version.key for found in house.by_key.values() for version in found.versions), default=0
            )
            known = VersionRow(
                number, workflow.key, registry.new_id(), cls.__name__, now, fingerprint, source
            )
            versions.append(known)
            house.ledger.edit().versions.append(known)
        workflow.cls, workflow.version, workflow.known = cls, known.key, True
        workflow.retention = registry.retention_of(cls, house.limits)
        workflow.concurrency, workflow.schedules = cls.concurrency, tuple(cls.schedules)
        house.cache.forget(name)

    async def workflows(self) -> list[WorkflowInfo]:
        """Return all workflows, by name."""
        return [self._info(workflow) for _, workflow in sorted(self.house.account.workflows.items())]

    def knows(self, name: str) -> bool:
        """Return whether a workflow runs in this process."""
        found = self.house.account.workflows.get(name)
        return found is not None and found.known

    async def workflow(self, name: str) -> WorkflowInfo:
        """Return one workflow."""
        return self._info(self.house.account.workflow(name))

    def _info(self, workflow: Workflow) -> WorkflowInfo:
        version = workflow.version_of(workflow.version)
        return WorkflowInfo(
            id=workflow.id,
            name=workflow.name,
            class_name=version.class_name if version else "",
            version_id=version.id if version else "",
            created=workflow.created,
            modified=version.created if version else workflow.created,
            schedules=workflow.schedules,
            counts={Status(status): count for status, count in workflow.counts.items() if count > 0},
        )

    async def versions(self, workflow: str) -> list[VersionInfo]:
        """Return the versions of a workflow, the newest first."""
        found = self.house.account.workflow(workflow)
        return [
            VersionInfo(
                id=version.id,
                workflow=found.name,
                class_name=version.class_name,
                created=version.created,
                fingerprint=version.fingerprint,
                source=version.source,
            )
            for version in reversed(found.versions)
        ]

    async def delete_workflow(self, workflow: str) -> None:
        """Forget a workflow and its instances."""
        house = self.house
        found = house.account.workflow(workflow)
        found.known = False
        self._schedules.forget(found)
        for engine in [engine for engine in house.engines.values() if engine.workflow is found]:
            engine.delete()
        house.ledger.edit().dropped_workflows.append(found.key)
        del house.account.workflows[workflow], house.by_key[found.key]
        house.chefs.pop(found.key, None)
        house.cache.forget(workflow)
        await house.ledger.durable()

    # --- creation -------------------------------------------------------------------------------------------------

    async def create(
        self,
        workflow: str,
        params: Any = None,
        *,
        id: str | None = None,  # noqa: A002 - the word of the public API
        retention: str | int | None = None,
        trigger: Trigger | None = None,
    ) -> InstanceInfo:
        """Create an instance."""
        found = self.house.cache.workflow(workflow)
        self._rates.take(found.name)
        engine = await self._create(found, id, params, retention, trigger)
        return self._instance(engine)

    def _create(
        self,
        workflow: Workflow,
        instance_id: str | None,
        params: Any,
        retention: str | int | None,
        trigger: Trigger | None,
    ) -> asyncio.Future[Engine]:
        if instance_id is not None:
            check_instance(instance_id)
        kept = workflow.retention if retention is None else milliseconds(retention)
        return self.house.create(workflow, instance_id or str(uuid.uuid4()), params, kept, trigger)

    async def create_batch(self, workflow: str, instances: Sequence[NewInstance]) -> BatchResult:
        """Create 1 to 100 instances."""
        _check_batch(len(instances))
        found = self.house.cache.workflow(workflow)
        self._rates.take(found.name, len(instances))
        futures: list[tuple[int, str, asyncio.Future[Engine]]] = []
        errors: list[BatchFault] = []
        seen: set[str] = set()
        for index, new in enumerate(instances):
            if new.id is not None and new.id in seen:
                errors.append(
                    BatchFault(index=index, id=new.id, code=10415, message=f"id {new.id!r} comes twice")
                )
                continue
            seen.add(new.id or "")
            try:
                futures.append(
                    (index, new.id or "", self._create(found, new.id, new.params, new.retention, None))
                )
            except Invalid as error:
                errors.append(BatchFault(index=index, id=new.id or "", code=10001, message=str(error)))
        if futures:
            await asyncio.wait([future for _, _, future in futures])
        done: list[InstanceInfo] = []
        for index, name, future in futures:
            try:
                done.append(self._instance(future.result()))
            except InstanceExists as error:
                errors.append(BatchFault(index=index, id=name, code=10405, message=str(error)))
        return BatchResult(done=tuple(done), errors=tuple(sorted(errors, key=lambda error: error.index)))

    # --- looking --------------------------------------------------------------------------------------------------

    def _instance(self, engine: Engine) -> InstanceInfo:
        version = engine.workflow.version_of(engine.row.version)
        return instance_of(engine.row, engine.workflow.name, version.id if version else "")

    async def _engine(self, workflow: str, instance_id: str) -> Engine:
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
        return self._instance(await self._engine(workflow, instance_id))

    async def steps(self, workflow: str, instance_id: str) -> list[StepInfo]:
        """Return the steps of an instance."""
        engine = await self._engine(workflow, instance_id)
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

    # --- operations -----------------------------------------------------------------------------------------------

    async def _operate(
        self, workflow: str, instance_id: str, change: Callable[[Engine], object]
    ) -> InstanceInfo:
        """Change an instance in one hop, and return when that is durable."""
        engine = await self._engine(workflow, instance_id)
        self.house.ledger.check(self.house.limits.pending)
        change(engine)
        info = self._instance(engine)
        self.house.rest(engine)
        await self.house.ledger.durable()
        return info

    async def pause(self, workflow: str, instance_id: str) -> InstanceInfo:
        """Pause an instance."""
        return await self._operate(workflow, instance_id, lambda engine: engine.pause())

    async def resume(self, workflow: str, instance_id: str) -> InstanceInfo:
        """Resume a paused instance."""
        return await self._operate(workflow, instance_id, lambda engine: engine.resume())

    async def restart(self, workflow: str, instance_id: str, from_step: From | None = None) -> InstanceInfo:
        """Begin again, or from a step."""
        return await self._operate(workflow, instance_id, lambda engine: engine.restart(from_step))

    async def terminate(self, workflow: str, instance_id: str, *, rollback: bool = False) -> InstanceInfo:
        """End an instance."""
        return await self._operate(workflow, instance_id, lambda engine: engine.terminate(rollback=rollback))

    async def terminate_all(self, workflow: str) -> int:
        """Terminate every instance that has not ended."""
        count = 0
        open_ones = [status for status in Status if not status.ended and status is not Status.UNKNOWN]
        while page := (await self.list(workflow, status=open_ones, limit=MAX_BATCH)).instances:
            for instance in page:
                with contextlib.suppress(EngineError):
                    engine = await self._engine(workflow, instance.id)
                    engine.terminate(rollback=False)
                    count += 1
            await self.house.ledger.durable()
        return count

    async def send_event(self, workflow: str, instance_id: str, event_type: str, payload: Any = None) -> None:
        """Send an event to an instance."""
        check_event(event_type)
        body = encode("the payload", payload, self.house.limits.payload_bytes)
        await self._operate(workflow, instance_id, lambda engine: engine.send(event_type, body))

    async def skip(
        self, workflow: str, instance_id: str, step: str, output: Any = None, *, count: int = 1
    ) -> InstanceInfo:
        """Give a step this output without running it."""
        check_step(step)
        encode("the output", output, self.house.limits.output_bytes)
        return await self._operate(workflow, instance_id, lambda engine: engine.skip(step, count, output))

    async def approve(
        self,
        workflow: str,
        instance_id: str,
        *,
        reason: str = "",
        metadata: Any = None,
        event_type: str = APPROVAL,
    ) -> None:
        """Say yes to an instance that waits for approval."""
        payload = {"approved": True, "reason": reason, "metadata": metadata}
        await self.send_event(workflow, instance_id, event_type, payload)

    async def reject(
        self,
        workflow: str,
        instance_id: str,
        *,
        reason: str = "",
        metadata: Any = None,
        event_type: str = APPROVAL,
    ) -> None:
        """Say no to an instance that waits for approval."""
        payload = {"approved": False, "reason": reason, "metadata": metadata}
        await self.send_event(workflow, instance_id, event_type, payload)

    async def delete(self, workflow: str, instance_id: str) -> None:
        """Forget an instance."""
        await self._operate(workflow, instance_id, lambda engine: engine.delete())

    async def delete_batch(self, workflow: str, instance_ids: Sequence[str]) -> BatchResult:
        """Forget 1 to 100 instances."""
        _check_batch(len(instance_ids))
        done: list[InstanceInfo] = []
        errors: list[BatchFault] = []
        for index, name in enumerate(instance_ids):
            try:
                engine = await self._engine(workflow, name)
                info = self._instance(engine)
                engine.delete()
                done.append(info)
            except InstanceNotFound as error:
                errors.append(BatchFault(index=index, id=name, code=10400, message=str(error)))
        await self.house.ledger.durable()
        return BatchResult(done=tuple(done), errors=tuple(errors))

    # --- what is seen ---------------------------------------------------------------------------------------------

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
        """Yield what happened to an instance, then what happens, until it has ended."""
        engine = await self._engine(workflow, instance_id)
        seq, name, ended = engine.row.seq, engine.row.id, False
        news = asyncio.Event()
        self.house.watchers.setdefault(seq, set()).add(news)
        sensitive: set[tuple[str, int]] = set()
        try:
            while True:
                news.clear()
                after = max(0, cursor // PLACES - 1)
                await self.house.ledger.durable()
                for entry in await self.house.reader.call(partial(self.house.store.journal, seq, after)):
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

    async def close(self) -> None:
        """Stop; what runs is stopped too, and goes on when the file is opened again. Safe twice."""
        if self._closed:
            return
        self._closed = True
        if self._looker is not None:
            self._looker.cancel()
        self._schedules.close()
        await self.house.stop()
        self.house.timers.close()
        self.house.ledger.close()
        self.house.threads.close()
        await asyncio.to_thread(self._writer.close)
        await asyncio.to_thread(self.house.reader.close)
        await asyncio.to_thread(self.house.store.close)


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
    await house.recover()
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


def _check_batch(count: int) -> None:
    if not 1 <= count <= MAX_BATCH:
        raise LimitReached(f"a batch of {count}", MAX_BATCH, "send 1 to 100 at once")


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
