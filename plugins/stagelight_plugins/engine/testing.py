"""For tests of workflows: an engine of its own, a clock that only moves when told, and steps that do as told.

```python
async def test_nobody_is_let_in_unasked():
    async with engine_for_tests(Onboarding) as engine:
        engine.mock_step_result("create user", {"id": 1})
        engine.force_event_timeout("approval")
        run = await engine.create(Onboarding, {"name": "ann"})
        info = await run.status("errored")
        assert info.error.name == "WaitTimedOut"
```

Everything is real but the clock and what is mocked: the store is a file that is synced, in a directory that is removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stagelight_plugins.engine.durations import Duration, at, milliseconds
from stagelight_plugins.engine.facts import EventName, InstanceInfo, Status, StepInfo
from stagelight_plugins.engine.hooks import Hooks, Mock
from stagelight_plugins.engine.opening import open_control_plane
from stagelight_plugins.engine.registry import name_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from datetime import datetime

    from stagelight_plugins.engine.control_plane import LocalControlPlane
    from stagelight_plugins.engine.engine import Engine
    from stagelight_plugins.engine.entrypoint import WorkflowEntrypoint
    from stagelight_plugins.engine.limits import Limits
    from stagelight_plugins.engine.memory import StepKey

START: Final = 1_800_000_000_000
"""Where a virtual clock begins, Unix milliseconds: January 2027."""
PATIENCE_SECONDS: Final = 60.0
"""How long is waited, on the real clock, for what should come."""

__all__ = ["EngineForTests", "Run", "VirtualClock", "engine_for_tests"]


@dataclass(slots=True)
class VirtualClock:
    """A clock that stands still until it is moved."""

    time: int = START
    passed: float = 0.0

    def now(self) -> int:
        """Return Unix milliseconds."""
        return self.time

    def steady(self) -> float:
        """Return the seconds that have passed."""
        return self.passed

    def move(self, length: int) -> None:
        """Let time pass, ms."""
        self.time += length
        self.passed += length / 1_000

    def set(self, time: int) -> None:
        """Set the wall clock, as somebody may set a machine's: the steady clock does not move."""
        self.time = time


@dataclass(slots=True, eq=False)
class _Script(Hooks):
    """What the test has said about steps and events, by name."""

    no_sleeps: set[str] | None = None
    """Which sleeps end at once; empty for all."""
    no_delays: bool = False
    steps: dict[str, deque[tuple[int, Mock]]] = field(default_factory=dict[str, "deque[tuple[int, Mock]]"])
    """For each step: mocks, and how often each is left; -1 for ever."""
    events: dict[str, Mock] = field(default_factory=dict[str, Mock])

    def cuts(self, engine: Engine, key: StepKey) -> bool:
        """Return whether a wait ends at once."""
        if key.type == "wait_for_event":
            mock = self.events.get(engine.memory.steps[key].event_type)
            return mock is not None and mock.timeout
        return (
            key.type == "sleep"
            and self.no_sleeps is not None
            and (not self.no_sleeps or key.name in self.no_sleeps)
        )

    def delay(self, milliseconds: int) -> int:
        """Return how long a retry waits."""
        return 0 if self.no_delays else milliseconds

    def attempt(self, key: StepKey) -> Mock | None:
        """Return what an attempt does instead of running."""
        mocks = self.steps.get(key.name)
        if not mocks:
            return None
        left, mock = mocks[0]
        if left == 1:
            mocks.popleft()
        elif left > 1:
            mocks[0] = (left - 1, mock)
        return mock

    def event(self, event_type: str) -> Mock | None:
        """Return what a wait gets instead of an event."""
        return self.events.get(event_type)

    def say(self, step: str, times: int, mock: Mock) -> None:
        self.steps.setdefault(step, deque()).append((times, mock))


@dataclass(frozen=True, slots=True)
class Run:
    """One instance under test."""

    engine: EngineForTests
    workflow: str
    id: str

    async def info(self) -> InstanceInfo:
        """Return where it is."""
        return await self.engine.plane.get(self.workflow, self.id)

    async def steps(self) -> list[StepInfo]:
        """Return its steps."""
        return await self.engine.plane.steps(self.workflow, self.id)

    async def status(self, *wanted: Status | str) -> InstanceInfo:
        """Wait until it has one of these statuses.

        Raises:
            AssertionError: It has not, and nothing happens any more: the clock must be moved, or it has ended otherwise.
        """
        statuses = {Status(status) for status in wanted}
        quiet = False  # one more look then: what was recorded during the last one counts, too
        while (info := await self.info()).status not in statuses:
            if quiet:
                raise AssertionError(
                    f"{self.id} is {info.status}, not {' or '.join(statuses)}: {info.error or info.difference or ''}"
                )
            quiet = not await self.engine.something_happens(self.workflow, self.id)
        return info

    async def step(self, name: str, count: int = 1) -> StepInfo:
        """Wait until a step has ended.

        Raises:
            AssertionError: It has not, and nothing happens any more.
        """
        quiet = False
        while True:
            for step in await self.steps():
                if (step.name, step.count) == (name, count) and step.state not in {"running", "waiting"}:
                    return step
            if quiet:
                have = ", ".join(f"{step.name} ({step.state})" for step in await self.steps())
                raise AssertionError(f"step {name!r} number {count} has not ended; there are: {have}")
            quiet = not await self.engine.something_happens(self.workflow, self.id)

    async def send_event(self, event_type: str, payload: Any = None) -> None:
        """Send it an event."""
        await self.engine.plane.send_event(self.workflow, self.id, event_type, payload)

    async def events(self) -> list[EventName]:
        """Return what has happened to it so far, by name."""
        found: list[EventName] = []
        stream = aiter(self.engine.plane.subscribe(self.workflow, self.id))
        patience = 5.0  # there is a first event always; the others are there with it
        with contextlib.suppress(TimeoutError, StopAsyncIteration):
            while True:
                async with asyncio.timeout(patience):
                    found.append((await anext(stream)).type)
                patience = 0.2
        return found


@dataclass(slots=True, eq=False)
class EngineForTests:
    """An engine that does as told; made by `engine_for_tests`."""

    plane: LocalControlPlane
    """The real thing: all that `contract.ControlPlane` can do."""
    clock: VirtualClock
    _script: _Script

    # --- what is told ---------------------------------------------------------------------------------------------

    def disable_sleeps(self, *names: str) -> None:
        """Let sleeps end at once: these, or all."""
        self._script.no_sleeps = {*names, *(self._script.no_sleeps or ())} if names else set()

    def disable_retry_delays(self) -> None:
        """Let steps be tried again at once."""
        self._script.no_delays = True

    def mock_step_result(self, step: str, result: Any) -> None:
        """Let a step give this instead of running."""
        self._script.say(step, -1, Mock(result=result))

    def mock_step_error(self, step: str, error: Exception, times: int = -1) -> None:
        """Let so many attempts of a step raise this, then run; -1 for all."""
        self._script.say(step, times, Mock(error=error))

    def force_step_timeout(self, step: str, times: int = -1) -> None:
        """Let so many attempts of a step time out at once, then run; -1 for all."""
        self._script.say(step, times, Mock(timeout=True))

    def mock_event(self, event_type: str, payload: Any = None) -> None:
        """Let every wait for events of this type get this at once."""
        self._script.events[event_type] = Mock(result=payload)

    def force_event_timeout(self, event_type: str) -> None:
        """Let every wait for events of this type time out at once."""
        self._script.events[event_type] = Mock(timeout=True)

    # --- what is done ---------------------------------------------------------------------------------------------

    async def create(
        self,
        workflow: type[WorkflowEntrypoint] | str,
        params: Any = None,
        *,
        id: str | None = None,  # noqa: A002 - the word of the public API
    ) -> Run:
        """Create an instance."""
        name = workflow if isinstance(workflow, str) else name_of(workflow)
        info = await self.plane.create(name, params, id=id)
        return Run(self, name, info.id)

    @property
    def now(self) -> datetime:
        """The time that the engine sees, UTC."""
        return at(self.clock.time)

    async def advance(self, duration: Duration) -> None:
        """Let time pass; all that becomes due happens in order, each at its time."""
        end = self.clock.time + milliseconds(duration, longest=100 * 365 * 86_400_000)
        while True:
            await self.settled()
            due = self.plane.house.next_due()
            if due is None or due > end:
                break
            self.clock.move(max(0, due - self.clock.time))
            self._poke()
        self.clock.move(max(0, end - self.clock.time))
        self._poke()
        await self.settled()

    def _poke(self) -> None:
        self.plane.house.timers.poke()
        self.plane.house.alarms.look()

    async def settled(self) -> None:
        """Wait until nothing happens any more but for the clock or an event.

        Raises:
            TimeoutError: A step runs and does not end.
        """
        async with asyncio.timeout(PATIENCE_SECONDS):
            calm = 0
            while calm < 3:
                await self.plane.house.ledger.drain()
                await asyncio.sleep(0)
                calm = 0 if self.plane.house.busy else calm + 1
                if not calm:
                    await asyncio.sleep(0.0005)

    async def something_happens(self, workflow: str, instance_id: str) -> bool:
        """Wait until something was recorded of an instance; False where everything waits for the clock or an event."""
        engine = await self.plane.house.engine(self.plane.house.account.workflow(workflow), instance_id)
        before = engine.writes
        await self.settled()
        return engine.writes != before


@contextlib.asynccontextmanager
async def engine_for_tests(
    *workflows: type[WorkflowEntrypoint], limits: Limits | None = None, clock: VirtualClock | None = None
) -> AsyncGenerator[EngineForTests]:
    """Open an engine for one test, with these workflows; it is gone with its file at the end."""
    script, time = _Script(), clock or VirtualClock()
    with tempfile.TemporaryDirectory(prefix="stagelight-engine-") as directory:
        plane = await open_control_plane(
            Path(directory) / "engine.sqlite", limits=limits, clock=time, hooks=script
        )
        try:
            await plane.register(*workflows)
            yield EngineForTests(plane, time, script)
        finally:
            await plane.close()
