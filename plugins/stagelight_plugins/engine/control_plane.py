"""The control plane on one machine: what implements `contract.ControlPlane`."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from typing import TYPE_CHECKING, Any

from stagelight_plugins.engine import registry
from stagelight_plugins.engine.account import Plane
from stagelight_plugins.engine.durations import milliseconds
from stagelight_plugins.engine.errors import (
    EngineError,
    InstanceExists,
    InstanceNotFound,
    Invalid,
    LimitReached,
)
from stagelight_plugins.engine.facts import (
    APPROVAL,
    BatchFault,
    BatchResult,
    InstanceInfo,
    Status,
    VersionInfo,
    WorkflowInfo,
)
from stagelight_plugins.engine.limits import MAX_BATCH, check_event, check_instance, check_step
from stagelight_plugins.engine.looking import Looking
from stagelight_plugins.engine.rates import Rates
from stagelight_plugins.engine.schedules import Schedules
from stagelight_plugins.engine.store import VersionRow, WorkflowRow
from stagelight_plugins.engine.values import decode, encode
from stagelight_plugins.engine.workflow import Workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stagelight_plugins.engine.engine import Engine
    from stagelight_plugins.engine.entrypoint import WorkflowEntrypoint
    from stagelight_plugins.engine.facts import From, NewInstance, Trigger
    from stagelight_plugins.engine.house import House
    from stagelight_plugins.engine.lanes import ThreadLane

_OPEN = [status for status in Status if not status.ended and status is not Status.UNKNOWN]
LOOK_SECONDS = 0.05
"""How often somebody looks whether an alarm has come."""


class LocalControlPlane(Looking):
    """All of the engine in one process, on one file. Open it with `open_control_plane`."""

    def __init__(self, house: House, writer: ThreadLane) -> None:
        super().__init__(house)
        self._writer = writer
        self._looker: asyncio.TimerHandle | None = None
        self._schedules = Schedules(self, house)
        self._rates = Rates(house.limits, house.clock)
        self._closed = False
        self._look()

    def _look(self) -> None:
        self.house.alarms.look()
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
        await self.house.recovery.bring_back()
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
        if house.published is not None:
            await self._delete_open(found)
        for engine in [engine for engine in house.engines.values() if engine.workflow is found]:
            engine.delete()
        house.ledger.edit().dropped_workflows.append(found.key)
        del house.account.workflows[workflow], house.by_key[found.key]
        house.chefs.pop(found.key, None)
        house.cache.forget(workflow)
        await house.ledger.durable()
        for news in [news for watching in house.watchers.values() for news in watching]:
            news.set()

    async def _delete_open(self, workflow: Workflow) -> None:
        """Delete one by one what has not ended, so that who watches it is told."""
        cursor = ""
        while True:
            page = await self.list(workflow.name, status=_OPEN, limit=MAX_BATCH, cursor=cursor)
            for instance in page.instances:
                with contextlib.suppress(InstanceNotFound):
                    (await self.engine(workflow.name, instance.id)).delete()
            if not (cursor := page.next):
                return

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
        return self.instance(engine)

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
                done.append(self.instance(future.result()))
            except InstanceExists as error:
                errors.append(BatchFault(index=index, id=name, code=10405, message=str(error)))
        return BatchResult(done=tuple(done), errors=tuple(sorted(errors, key=lambda error: error.index)))

    # --- operations -----------------------------------------------------------------------------------------------

    async def _operate(
        self, workflow: str, instance_id: str, change: Callable[[Engine], object]
    ) -> InstanceInfo:
        """Change an instance in one hop, and return when that is durable."""
        engine = await self.engine(workflow, instance_id)
        self.house.ledger.check(self.house.limits.pending)
        change(engine)
        info = self.instance(engine)
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
        while page := (await self.list(workflow, status=_OPEN, limit=MAX_BATCH)).instances:
            for instance in page:
                with contextlib.suppress(EngineError):
                    engine = await self.engine(workflow, instance.id)
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
        given = decode(encode("the output", output, self.house.limits.output_bytes))
        return await self._operate(workflow, instance_id, lambda engine: engine.skip(step, count, given))

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
                engine = await self.engine(workflow, name)
                info = self.instance(engine)
                engine.delete()
                done.append(info)
            except InstanceNotFound as error:
                errors.append(BatchFault(index=index, id=name, code=10400, message=str(error)))
        await self.house.ledger.durable()
        return BatchResult(done=tuple(done), errors=tuple(errors))

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


def _check_batch(count: int) -> None:
    if not 1 <= count <= MAX_BATCH:
        raise LimitReached(f"a batch of {count}", MAX_BATCH, "send 1 to 100 at once")
