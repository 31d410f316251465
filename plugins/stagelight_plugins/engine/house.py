"""The house: what all Engines of one process share, and where they are found."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import orjson

from stagelight_plugins.engine.account import Account, Plane, VersionCache
from stagelight_plugins.engine.contract import EventName as E, Status, Trigger
from stagelight_plugins.engine.engine import Engine
from stagelight_plugins.engine.errors import InstanceExists, InstanceNotFound, LimitReached
from stagelight_plugins.engine.limits import check_instance
from stagelight_plugins.engine.memory import Memory
from stagelight_plugins.engine.souschef import SousChef
from stagelight_plugins.engine.store import Row
from stagelight_plugins.engine.values import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from stagelight_plugins.engine.clock import Clock
    from stagelight_plugins.engine.entrypoint import WorkflowEntrypoint
    from stagelight_plugins.engine.lanes import ThreadLane, Threads
    from stagelight_plugins.engine.ledger import Ledger
    from stagelight_plugins.engine.limits import Limits
    from stagelight_plugins.engine.memory import StepKey
    from stagelight_plugins.engine.store import Store, VersionRow
    from stagelight_plugins.engine.timers import Timers

START_ALARM: Final = 5_000
"""After how many milliseconds somebody looks whether a new instance was registered with its SousChef."""
WOKEN: Final = -(1 << 62)
"""The rank of woken instances begins here, so that they go first."""
RESTING: Final = 2_048
"""Instances that nobody runs and that are kept in memory for a while, for the next event or question."""
INTERRUPTED_AT_ONCE: Final = 500
"""How many instances are brought back at once."""
STOP_SECONDS: Final = 4.0
"""How long a stop waits for a disk that does not take what was said; nobody was told that it is durable."""
ALARMS: Final = 256
"""Alarms that are looked after at once."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Workflow:
    """A registered workflow."""

    key: int
    id: str
    name: str
    created: int
    plane: Plane
    cls: type[WorkflowEntrypoint]
    version: int = 0
    retention: int = 0
    concurrency: int | None = None
    schedules: tuple[str, ...] = ()
    known: bool = True
    """Whether its class is registered in this process; else its instances wait until it is."""
    counts: dict[str, int] = field(default_factory=dict[str, int])
    versions: list[VersionRow] = field(default_factory=list["VersionRow"])
    """Of its code, the oldest first."""

    def version_of(self, key: int) -> VersionRow | None:
        """Return a version of its code."""
        return next((version for version in reversed(self.versions) if version.key == key), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mock:
    """What a test wants to happen instead."""

    result: Any = None
    error: Exception | None = None
    timeout: bool = False


class Hooks:
    """What a test may change: nothing, unless it does."""

    __slots__ = ()

    def attempt(self, key: StepKey) -> Mock | None:  # noqa: ARG002 - overridden by the test kit
        """Return what an attempt does instead of running."""
        return None

    def event(self, event_type: str) -> Mock | None:  # noqa: ARG002 - overridden by the test kit
        """Return what a wait gets instead of an event."""
        return None

    def cuts(self, engine: Engine, key: StepKey) -> bool:  # noqa: ARG002 - overridden by the test kit
        """Return whether a wait ends at once."""
        return False

    def delay(self, milliseconds: int) -> int:
        """Return how long a retry waits."""
        return milliseconds

    def changed(self, seq: int) -> None:
        """Hear that something was recorded of an instance."""


@dataclass(slots=True, eq=False, kw_only=True)
class House:
    """The parts, and the Engines by place."""

    loop: asyncio.AbstractEventLoop
    clock: Clock
    limits: Limits
    store: Store
    ledger: Ledger
    reader: ThreadLane
    threads: Threads
    timers: Timers
    account: Account
    hooks: Hooks = field(default_factory=Hooks)
    chance: random.Random = field(default_factory=random.Random)
    cache: VersionCache = field(init=False)
    engines: dict[int, Engine] = field(default_factory=dict[int, Engine])
    by_key: dict[int, Workflow] = field(default_factory=dict[int, Workflow])
    chefs: dict[int, dict[int, SousChef]] = field(default_factory=dict[int, dict[int, SousChef]])
    watchers: dict[int, set[asyncio.Event]] = field(default_factory=dict[int, "set[asyncio.Event]"])
    last_seq: int = 0
    published: int | None = None
    """The place in the journal up to which it was handed on; None where nobody takes it."""
    stopped: bool = False
    _by_id: dict[tuple[int, str], int] = field(default_factory=dict[tuple[int, str], int])
    _loading: dict[tuple[int, str], asyncio.Future[None]] = field(
        default_factory=dict[tuple[int, str], "asyncio.Future[None]"]
    )
    _resting: dict[int, int] = field(default_factory=dict[int, int])
    _unregistered: set[int] = field(default_factory=set[int])
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set["asyncio.Task[Any]"])
    _cycle: asyncio.TimerHandle | None = None
    _last_cycle: float = 0.0
    _ranked: int = 0
    _next_alarm: int | None = 0
    _looking: bool = False

    def __post_init__(self) -> None:
        self.cache = VersionCache(self.account)

    # --- small services -------------------------------------------------------------------------------------------

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Hold on to a task until it is done."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def delay(self, milliseconds: int) -> int:
        """Return how long a retry waits."""
        return self.hooks.delay(milliseconds)

    async def pause_for(self, milliseconds: int) -> None:
        """Wait on the wall clock."""
        future: asyncio.Future[None] = self.loop.create_future()
        timer = self.timers.at(
            self.clock.now() + milliseconds, lambda: None if future.done() else future.set_result(None)
        )
        try:
            await future
        finally:
            timer.cancel()

    def in_thread(self, work: Callable[[], Any]) -> asyncio.Future[Any]:
        """Run something that blocks in a thread."""
        future: asyncio.Future[Any] = self.loop.create_future()

        def done(answer: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(answer)
            else:
                future.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))

        job = self.threads.submit(work, done)
        future.add_done_callback(lambda answer: self.threads.give_up(job) if answer.cancelled() else None)
        return future

    def count(self, workflow: Workflow, before: str | None, after: str | None) -> None:
        """Count an instance under another status."""
        if before is not None:
            workflow.counts[before] = workflow.counts.get(before, 0) - 1
        if after is not None:
            workflow.counts[after] = workflow.counts.get(after, 0) + 1

    def told(self, seq: int) -> None:
        """Hear that something was recorded; those who watch the instance look when it is durable."""
        self.hooks.changed(seq)
        if seq in self.watchers:
            self.ledger.then(partial(_wake_all, self.watchers[seq]))

    def rank(self, *, woken: bool) -> int:
        """Return the next place in a queue."""
        self._ranked = max(self._ranked + 1, self.clock.now() * 1_000)
        return self._ranked + WOKEN if woken else self._ranked

    def limit_of(self, workflow: Workflow) -> int:
        """Return how many instances of a workflow may run at once."""
        if not workflow.known:
            return 0
        return min(workflow.concurrency or self.limits.slots, self.limits.slots)

    @property
    def busy(self) -> bool:
        """Whether anything goes on that does not wait for the clock or for an event."""
        active = any(
            engine.rollback is not None
            or (engine.execution is not None and (engine.execution.running or engine.execution.settling))
            for engine in self.engines.values()
        )
        queued = any(
            chef.queued and self.limit_of(chef.workflow)
            for group in self.chefs.values()
            for chef in group.values()
        )
        alarm = self._next_alarm is not None and self._next_alarm <= self.clock.now()
        return bool(active or queued or alarm or self._looking or self._unregistered or self._cycle)

    def next_due(self) -> int | None:
        """Return when something comes that waits for the clock, Unix milliseconds."""
        found = [due for due in (self._next_alarm, self.timers.next_wall()) if due is not None]
        return min(found, default=None)

    # --- SousChefs ------------------------------------------------------------------------------------------------

    def chef(self, engine: Engine) -> SousChef:
        """Return the SousChef that answers for an instance."""
        return self.chef_of(engine.workflow, engine.row.chef)

    def chef_of(self, workflow: Workflow, number: int) -> SousChef:
        """Return a SousChef; it is made on the first request."""
        chefs = self.chefs.setdefault(workflow.key, {})
        found = chefs.get(number)
        if found is None:
            found = chefs[number] = SousChef(self, workflow, number, "souschef" if number else "account_old")
        return found

    def choose(self, workflow: Workflow) -> int:
        """Return the number of the SousChef for a new instance: 0 is the AccountOld, others are random."""
        return 0 if workflow.plane is Plane.V1 else 1 + self.chance.randrange(self.limits.shards)

    @property
    def waiting_for_slots(self) -> bool:
        """Whether any SousChef has instances that wait."""
        return any(chef.queued for chefs in self.chefs.values() for chef in chefs.values())

    def demand(self) -> None:
        """Let the next cycle come."""
        if self._cycle is None and not self.stopped:
            wait = self._last_cycle + self.limits.cycle / 1_000 - self.loop.time()
            self._cycle = self.loop.call_later(max(0.0, wait), self._share_out)

    def _share_out(self) -> None:
        """One cycle: one request of all SousChefs, in one call."""
        self._cycle = None
        self._last_cycle = self.loop.time()
        chefs = {chef.id: chef for group in self.chefs.values() for chef in group.values()}
        requests = [chef.request() for chef in chefs.values() if chef.queued or chef.slots]
        for number, grant in self.account.slots(requests).items():
            chefs[number].take(grant)

    def fetch_queue(self, chef: SousChef, limit: int) -> None:
        """Read the head of a queue, once all that was said so far is on disk."""
        self.keep(self.loop.create_task(self._fetch_queue(chef, limit)))

    async def _fetch_queue(self, chef: SousChef, limit: int) -> None:
        await self.ledger.durable()

        def read() -> list[tuple[Row, list[bytes | str]]]:
            rows = self.store.queue(chef.workflow.key, chef.number, limit)
            return [(row, [entry.body for entry in self.store.journal(row.seq)]) for row in rows]

        found = await self.reader.call(read)
        if not self.stopped:
            engines = [self.take_in(row, bodies) for row, bodies in found]
            chef.fetched(engines, all_of_it=len(found) < limit)

    # --- Engines --------------------------------------------------------------------------------------------------

    def take_in(self, row: Row, bodies: Iterable[bytes | str]) -> Engine:
        """Return the Engine of a row: the one that is there, or a new one."""
        engine = self.engines.get(row.seq)
        if engine is None:
            memory = Memory()
            memory.read(bodies)
            engine = self.admit(Engine(self, self.by_key[row.workflow], row, memory))
            self.rest(engine)
        return engine

    def admit(self, engine: Engine) -> Engine:
        """Have an Engine in memory."""
        self.engines[engine.row.seq] = engine
        self._by_id[engine.row.workflow, engine.row.id] = engine.row.seq
        return engine

    def rest(self, engine: Engine) -> None:
        """Let an Engine go some time after its last word is on disk."""
        self.ledger.then(partial(self._rest, engine, engine.writes))

    def _rest(self, engine: Engine, writes: int) -> None:
        seq = engine.row.seq
        if self.engines.get(seq) is not engine or engine.writes != writes:
            return
        if engine.gone or engine.status.ended:
            self._forget(engine)
            return
        self._resting.pop(seq, None)
        self._resting[seq] = writes
        while len(self._resting) > RESTING:
            self._evict(next(iter(self._resting)))

    def _evict(self, seq: int) -> None:
        writes, engine = self._resting.pop(seq), self.engines.get(seq)
        if engine is None or engine.execution is not None or engine.holds_slot or engine.in_line:
            return
        if engine.writes == writes:
            self._forget(engine)
        else:
            self.rest(engine)

    def _forget(self, engine: Engine) -> None:
        if engine.execution is None and engine.rollback is None:
            self.engines.pop(engine.row.seq, None)
            self._resting.pop(engine.row.seq, None)
            self._by_id.pop((engine.row.workflow, engine.row.id), None)

    async def engine(self, workflow: Workflow, instance_id: str) -> Engine:
        """Return the Engine of an instance: one hop, wherever it is.

        Raises:
            InstanceNotFound: There is none.
        """
        place = (workflow.key, instance_id)
        while place in self._loading:
            await asyncio.shield(self._loading[place])
        seq = self._by_id.get(place)
        if seq is not None and not self.engines[seq].gone:
            return self.engines[seq]
        future = self._loading[place] = self.loop.create_future()
        try:
            await self.ledger.durable()
            found = await self.reader.call(partial(self._read, workflow.key, instance_id))
            if found is None:
                raise InstanceNotFound(workflow.name, instance_id)
            return self.take_in(*found)
        finally:
            del self._loading[place]
            future.set_result(None)

    def _read(self, workflow: int, instance_id: str) -> tuple[Row, list[bytes | str]] | None:
        row = self.store.row(workflow, instance_id)
        return None if row is None else (row, [entry.body for entry in self.store.journal(row.seq)])

    # --- creation -------------------------------------------------------------------------------------------------

    def create(
        self,
        workflow: Workflow,
        instance_id: str,
        params: Any,
        retention: int,
        trigger: Trigger | None,
        parent: int = 0,
    ) -> asyncio.Future[Engine]:
        """Store a new instance, with an alarm; the rest happens in the background.

        Returns:
            A future of the Engine, done when it is durable; `InstanceExists` where the id is in use.
        """
        self.ledger.check(self.limits.pending)
        if workflow.counts.get(Status.QUEUED, 0) >= self.limits.queued:
            raise LimitReached(
                f"instances in the queue of {workflow.name!r}",
                self.limits.queued,
                "wait until some have run",
                retry_after=1.0,
            )
        body = None if params is None else encode("params", params, self.limits.payload_bytes)
        now = self.clock.now()
        self.last_seq += 1
        row = Row(
            seq=self.last_seq,
            workflow=workflow.key,
            id=instance_id,
            version=workflow.version,
            status=Status.QUEUED.value,
            chef=self.choose(workflow),
            rank=self.rank(woken=False),
            alarm=now + START_ALARM,
            created=now,
            modified=now,
            retention=retention,
            parent=parent,
            origin=orjson.dumps(asdict(trigger)) if trigger is not None else None,
            params=body,
        )
        future: asyncio.Future[Engine] = self.loop.create_future()
        self.ledger.create(row, partial(self._created, workflow, row, future))
        self.ledger.record(row.seq, b'{"t":"workflow_queued","at":%d}' % now)
        self._expect_alarm(now + START_ALARM)
        return future

    def _created(self, workflow: Workflow, row: Row, future: asyncio.Future[Engine], free: bool) -> None:
        if not free:
            if not future.done():
                future.set_exception(InstanceExists(workflow.name, row.id))
            return
        self.count(workflow, None, row.status)
        engine = self.admit(Engine(self, workflow, row, Memory()))
        self._unregistered.add(row.seq)
        self.register_later(engine)
        if not future.done():
            future.set_result(engine)

    def register_later(self, engine: Engine) -> None:
        """Tell the SousChef in the background."""
        self.loop.call_soon(self._register, engine)

    def _register(self, engine: Engine) -> None:
        """Tell the SousChef; should this never happen, the alarm does it."""
        if engine.row.seq in self._unregistered:
            self._unregistered.discard(engine.row.seq)
            if engine.status is Status.QUEUED:
                self.chef(engine).enqueue(engine, woken=False)
                self.rest(engine)

    # --- children -------------------------------------------------------------------------------------------------

    async def adopt(
        self, name: str, instance_id: str, params: Any, trigger: Trigger, parent: int
    ) -> tuple[str, Any, dict[str, Any] | None] | None:
        """Create a child, once; return what became of it, None while it is under way."""
        workflow = self.cache.workflow(name)
        try:
            engine = await self.engine(workflow, instance_id)
        except InstanceNotFound:
            check_instance(instance_id)
            engine = await self.create(workflow, instance_id, params, workflow.retention, trigger, parent)
        if not engine.status.ended:
            return None
        output = orjson.loads(engine.row.output) if engine.row.output else None
        return engine.status, output, engine.notes.get("error")

    def wake_parent(self, child: Engine) -> None:
        """Let the parent look: by an alarm in the same transaction, and at once."""
        now = self.clock.now()
        self.ledger.change(child.row.parent, {"alarm": now})
        self._expect_alarm(now)
        parent = self.engines.get(child.row.parent)
        if parent is not None:
            self.ledger.then(parent.poke)

    async def look_after_children(self, engine: Engine) -> None:
        """Ask what became of the children of an instance that is in memory."""
        for step in list(engine.memory.steps.values()):
            if step.key.type != "child" or step.over:
                continue
            try:
                child = await self.engine(self.cache.workflow(step.child[0]), step.child[1])
            except InstanceNotFound:
                engine.child_ended(
                    step.key, "deleted", None, {"name": "InstanceNotFound", "message": "it was deleted"}
                )
                continue
            if child.status.ended:
                output = orjson.loads(child.row.output) if child.row.output else None
                engine.child_ended(step.key, child.status, output, child.notes.get("error"))

    # --- alarms ---------------------------------------------------------------------------------------------------

    def _expect_alarm(self, due: int) -> None:
        if self._next_alarm is None or due < self._next_alarm:
            self._next_alarm = due

    def expect(self, due: int | None) -> None:
        """Hear of an alarm that was set."""
        if due is not None:
            self._expect_alarm(due)

    def look(self) -> None:
        """Look whether an alarm has come. Called several times a second."""
        if (
            not self._looking
            and not self.stopped
            and self._next_alarm is not None
            and self._next_alarm <= self.clock.now()
        ):
            self._looking = True
            self.keep(self.loop.create_task(self._alarms()))

    async def _alarms(self) -> None:
        try:
            more = True
            while more and not self.stopped:
                await self.ledger.durable()
                now = self.clock.now()

                def read(now: int = now) -> tuple[list[tuple[Row, list[bytes | str]]], int | None]:
                    rows = self.store.due(now, ALARMS)
                    needed = [row for row in rows if row.status == Status.WAITING]
                    bodies = {
                        row.seq: [entry.body for entry in self.store.journal(row.seq)] for row in needed
                    }
                    return [(row, bodies.get(row.seq, [])) for row in rows], self.store.next_alarm()

                self._next_alarm = None
                found, following = await self.reader.call(read)
                for row, bodies in found:
                    self._alarm(row, bodies, now)
                self.expect(following)
                more = len(found) == ALARMS
        finally:
            self._looking = False

    def _alarm(self, row: Row, bodies: list[bytes | str], now: int) -> None:
        """Do what an alarm is for. It may come twice."""
        engine = self.engines.get(row.seq)
        status = Status(row.status if engine is None else engine.row.status)
        current = row if engine is None else engine.row
        if current.alarm is not None and current.alarm > now:
            return
        if status.ended:
            if (current.ended or 0) + current.retention <= now:
                self._expire(row, engine)
            else:
                self.ledger.change(row.seq, {"alarm": (current.ended or 0) + current.retention})
        elif status is Status.WAITING:
            (engine or self.take_in(row, bodies)).poke()
        else:
            if engine is not None:
                self._register(engine)
                if engine.execution is not None:
                    engine.poke()
            current.alarm = None
            self.ledger.change(row.seq, {"alarm": None})

    def _expire(self, row: Row, engine: Engine | None) -> None:
        """Forget an instance whose retention is over."""
        if engine is not None:
            engine.delete()
        else:
            self.count(self.by_key[row.workflow], row.status, None)
            self.ledger.remove(row.seq)

    # --- start and stop -------------------------------------------------------------------------------------------

    async def recover(self) -> None:
        """Take over what the last process left: the queues, and the instances that it was running."""
        for (key, number), (queued, woken) in (await self.reader.call(self.store.queues)).items():
            if key in self.by_key:
                self.chef_of(self.by_key[key], max(0, number)).restore(queued, woken)
        self.demand()
        await self.bring_back()

    async def bring_back(self) -> None:
        """Queue what was running in the last process, before all that are new; go on with its rollbacks."""
        after = 0
        while rows := await self.reader.call(partial(self._interrupted, after)):
            for row, bodies in rows:
                after = row.seq
                if row.workflow in self.by_key:
                    self._bring_back(self.take_in(row, bodies))
            await self.ledger.durable()

    def _interrupted(self, after: int) -> list[tuple[Row, list[bytes | str]]]:
        rows = self.store.interrupted(after, INTERRUPTED_AT_ONCE)
        return [(row, [entry.body for entry in self.store.journal(row.seq)]) for row in rows]

    def _bring_back(self, engine: Engine) -> None:
        if engine.execution is not None or engine.rollback is not None or engine.holds_slot:
            return
        if engine.status is Status.WAITING_FOR_PAUSE:
            engine.note(E.WORKFLOW_PAUSED)
            engine.put(Status.PAUSED, alarm=None)
        elif engine.status is Status.ROLLING_BACK and engine.workflow.known:
            self.chef(engine).adopt(engine)
        elif engine.status is Status.RUNNING:
            engine.interrupted()
        self.rest(engine)

    async def stop(self) -> None:
        """Let go of all Engines; what is in the ledger is written."""
        self.stopped = True
        if self._cycle is not None:
            self._cycle.cancel()
        for engine in list(self.engines.values()):
            engine.stop()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=5)
        await asyncio.sleep(0)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.ledger.drain(), STOP_SECONDS)


def _wake_all(events: Iterable[asyncio.Event]) -> None:
    for event in events:
        event.set()
