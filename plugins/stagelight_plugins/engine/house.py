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
from stagelight_plugins.engine.alarms import START_ALARM, Alarms
from stagelight_plugins.engine.children import Children
from stagelight_plugins.engine.engine import Engine
from stagelight_plugins.engine.errors import InstanceExists, InstanceNotFound, LimitReached, StoreError
from stagelight_plugins.engine.facts import Status, Trigger
from stagelight_plugins.engine.hooks import Hooks
from stagelight_plugins.engine.ledger import BACK_OFF_SECONDS
from stagelight_plugins.engine.memory import Memory, first_record
from stagelight_plugins.engine.recovery import Recovery
from stagelight_plugins.engine.souschef import SousChef
from stagelight_plugins.engine.store import Row
from stagelight_plugins.engine.values import encode
from stagelight_plugins.engine.workflow import Workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from stagelight_plugins.engine.clock import Clock
    from stagelight_plugins.engine.lanes import ThreadLane, Threads
    from stagelight_plugins.engine.ledger import Ledger
    from stagelight_plugins.engine.limits import Limits
    from stagelight_plugins.engine.store import Store
    from stagelight_plugins.engine.timers import Timers

WOKEN: Final = -(1 << 62)
"""The rank of woken instances begins here, so that they go first."""
RESTING: Final = 2_048
"""Instances that nobody runs and that are kept in memory for a while, for the next event or question."""
STOP_SECONDS: Final = 4.0
"""How long a stop waits for a disk that does not take what was said; nobody was told that it is durable."""

_log = logging.getLogger(__name__)


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
    alarms: Alarms = field(init=False)
    children: Children = field(init=False)
    recovery: Recovery = field(init=False)
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

    def __post_init__(self) -> None:
        self.cache = VersionCache(self.account)
        self.alarms, self.children = Alarms(self), Children(self)
        self.recovery = Recovery(self)

    # --- small services -------------------------------------------------------------------------------------------

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Hold on to a task until it is done."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def delay(self, milliseconds: int) -> int:
        """Return how long a retry waits."""
        return self.hooks.delay(milliseconds)

    async def patiently(self, read: Callable[[], Any]) -> Any:
        """Read from the store, again and again where that fails: whoever is looked for must not be forgotten."""
        failures = 0
        while True:
            try:
                return await self.reader.call(read)
            except StoreError as error:
                wait = BACK_OFF_SECONDS[min(failures, len(BACK_OFF_SECONDS) - 1)]
                failures += 1
                _log.warning("the engine's store cannot be read, again in %g s: %s", wait, error)
                await asyncio.sleep(wait)

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
            (engine.rollback is not None and not engine.rollback.waits)
            or (engine.execution is not None and engine.execution.busy)
            for engine in self.engines.values()
        )
        queued = any(
            chef.queued and self.limit_of(chef.workflow)
            for group in self.chefs.values()
            for chef in group.values()
        )
        alarm = self.alarms.next is not None and self.alarms.next <= self.clock.now()
        return bool(active or queued or alarm or self.alarms.looking or self._unregistered or self._cycle)

    def next_due(self) -> int | None:
        """Return when something comes that waits for the clock, Unix milliseconds."""
        found = [due for due in (self.alarms.next, self.timers.next_wall()) if due is not None]
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

        found = await self.patiently(read)
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
        self.ledger.record(row.seq, orjson.dumps(first_record(now)))
        self.alarms.expect(now + START_ALARM)
        return future

    def _created(self, workflow: Workflow, row: Row, future: asyncio.Future[Engine], free: bool) -> None:
        if not free:
            if not future.done():
                future.set_exception(InstanceExists(workflow.name, row.id))
            return
        self.count(workflow, None, row.status)
        engine = self.admit(Engine(self, workflow, row, Memory.of_new(row.created)))
        self._unregistered.add(row.seq)
        self.register_later(engine)
        if not future.done():
            future.set_result(engine)

    def register_later(self, engine: Engine) -> None:
        """Tell the SousChef in the background."""
        self.loop.call_soon(self.register, engine)

    def register(self, engine: Engine) -> None:
        """Tell the SousChef; should this never happen, the alarm does it."""
        if engine.row.seq in self._unregistered:
            self._unregistered.discard(engine.row.seq)
            if engine.status is Status.QUEUED:
                self.chef(engine).enqueue(engine, woken=False)
                self.rest(engine)

    # --- start and stop -------------------------------------------------------------------------------------------

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
