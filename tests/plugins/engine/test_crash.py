"""Never lose, never repeat: crashes at every durable write, and processes that are really killed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stagelight_plugins.engine import (
    NonRetryableError,
    Status,
    StepFailed,
    WaitTimedOut,
    WorkflowEntrypoint,
    WorkflowEvent,
)
from stagelight_plugins.engine.opening import open_control_plane
from stagelight_plugins.engine.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from stagelight_plugins.engine.control_plane import LocalControlPlane
    from stagelight_plugins.engine.step import Step
    from stagelight_plugins.engine.store import Batch

WORKER = Path(__file__).with_name("worker_to_kill.py")
INSTANCES = int(os.environ.get("STAGELIGHT_TEST_INSTANCES", "1000"))
KILLS = int(os.environ.get("STAGELIGHT_TEST_KILLS", "6"))
"""`STAGELIGHT_TEST_INSTANCES=5000 STAGELIGHT_TEST_KILLS=15 pytest tests/plugins/engine/test_crash.py -k killed` is what was promised."""
effects: Counter[str] = Counter()


def did(name: str) -> str:
    """Have an effect."""
    effects[name] += 1
    return name


class CrashingStore(SqliteStore):
    """Dies at the Nth write: before it, or after it but before anybody hears of it."""

    def __init__(self, path: Path, at: int, *, after: bool) -> None:
        super().__init__(path)
        self.left, self.after = at, after
        self.dead = False
        self.crashed = asyncio.Event()
        self.loop = asyncio.get_running_loop()

    def write(self, batch: Batch) -> list[int]:
        self.left -= 1
        if self.left == 0:
            if self.after:
                super().write(batch)
            self.dead = True
            self.loop.call_soon_threadsafe(self.crashed.set)
        if self.dead:
            raise OSError("the process is dead")
        return super().write(batch)


class Everything(WorkflowEntrypoint):
    """Every kind of step: alone, side by side, retried, failed, asleep, waiting, a child."""

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        async def flaky(ctx: Any) -> str:
            if ctx.attempt < 2:
                raise ValueError("again")
            return did("flaky")

        async def fails() -> None:
            did("fails")
            raise NonRetryableError("no")

        one = await step.do("one", lambda: did("one"))
        left, right = await asyncio.gather(
            step.do("left", lambda: did("left")), step.do("right", lambda: did("right"))
        )
        await step.sleep("nap", 3)
        flaked = await step.do("flaky", flaky, retries={"limit": 3, "delay": 1})
        try:
            await step.do("fails", fails)
        except StepFailed as error:
            kind = error.type
        else:
            kind = "none"
        message = await step.wait_for_event("message", event_type="go", timeout="1 hour")
        child = await step.child("child", Child, 20)
        return [one, left, right, flaked, kind, message.payload, child]


class Child(WorkflowEntrypoint):
    """A child."""

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        doubled = await step.do("double", lambda: event.payload * 2)
        await step.sleep("nap", 1)
        return doubled + len(did("child"))


class Saga(WorkflowEntrypoint):
    """Fails, and undoes what it did."""

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        await step.do("a", lambda: did("a"), rollback=lambda: did("undo a"))
        await step.do("b", lambda: did("b"), rollback=lambda: did("undo b"))
        await step.do("c", lambda: 1 / 0, retries=0, rollback=lambda: did("undo c"))


class Odds(WorkflowEntrypoint):
    """What is left: decorators, a step nobody awaits, a time, a wait that times out, something sensitive, an approval."""

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        @step.do("base")
        async def base() -> int:
            return len(did("base"))

        @step.do("sum", depends=[base, base], concurrent=True)
        def total(left: int, right: int) -> int:
            did("sum")
            return left + right

        async def lonely() -> None:
            did("lonely")

        _unseen = step.do("lonely", lonely)
        found = [await total()]
        await step.sleep_until("soon", step.now() + timedelta(milliseconds=60))
        try:
            await step.wait_for_event("nobody", event_type="never", timeout=2)
        except WaitTimedOut as error:
            found.append(len(error.event_type))
        secret = await step.do("secret", lambda: did("secret"), sensitive="output")
        return [*found, secret, await step.wait_for_approval("boss", event_type="go")]


class Cancelled(WorkflowEntrypoint):
    """Is terminated while it waits, and undoes what it did."""

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        await step.do("a", lambda: did("a"), rollback=lambda: did("undo a"))
        await step.wait_for_event("message", event_type="end", timeout="1 hour")


EXPECTED: dict[str, Any] = {
    "Everything": (Status.COMPLETE, ["one", "left", "right", "flaky", "NonRetryableError", "hello", 45]),
    "Saga": (Status.ERRORED, None),
    "Odds": (Status.COMPLETE, [8, 5, "secret", "hello"]),
    "Cancelled": (Status.TERMINATED, None),
}


async def finish(plane: LocalControlPlane, name: str) -> tuple[Status, Any]:
    """Bring an instance to its end, whatever it has done already."""
    await plane.register(Everything, Child, Saga, Odds, Cancelled)
    if not (await plane.list(name)).instances:
        await plane.create(name, id="it")
    while True:
        info = await plane.get(name, "it")
        if info.status.ended or info.status is Status.PAUSED:
            (listed,) = (await plane.list(name)).instances
            assert listed.status is info.status
            assert (await plane.workflow(name)).counts == {info.status: 1}
            return info.status, info.output
        engine = await plane.house.engine(plane.house.account.workflow(name), "it")
        waits = [step for step in engine.memory.steps.values() if step.event_type]
        if not waits or waits[-1].over:
            pass
        elif waits[-1].event_type == "end":
            if info.status is not Status.ROLLING_BACK:
                await plane.terminate(name, "it", rollback=True)
        elif waits[-1].event_type == "go":
            said = {"approved": True, "metadata": "hello"} if name == "Odds" else "hello"
            await plane.send_event(name, "it", "go", said)
        await asyncio.sleep(0.001)


async def until_crash(path: Path, name: str, at: int, *, after: bool) -> tuple[Status, Any] | None:
    """Run until the Nth write; return the ending where there are fewer."""
    store = CrashingStore(path, at, after=after)
    plane = await open_control_plane(path, store=store)
    work = asyncio.ensure_future(finish(plane, name))
    crash = asyncio.ensure_future(store.crashed.wait())
    await asyncio.wait([work, crash], return_when=asyncio.FIRST_COMPLETED)
    untouched = work.done() and not store.dead
    for task in (work, crash):
        task.cancel()
    await asyncio.wait([work, crash])
    plane.house.ledger.abandon()
    await plane.close()
    return work.result() if untouched else None


@pytest.mark.timeout(110)
@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("after", [False, True])
async def test_a_crash_at_every_durable_write_changes_nothing_of_the_end(
    tmp_path: Path, name: str, *, after: bool
) -> None:
    at, ending = 0, None
    while ending is None:
        at += 1
        path = tmp_path / f"{at}.sqlite"
        effects.clear()
        ending = await until_crash(path, name, at, after=after)
        if ending is None:
            plane = await open_control_plane(path)
            found = await asyncio.wait_for(finish(plane, name), 60)
            await plane.close()
            assert found == EXPECTED[name], f"crash at write {at}"
            twice = {effect: count for effect, count in effects.items() if count > 2}
            assert not twice, f"crash at write {at}"
            assert sum(effects.values()) - len(effects) <= 2, f"crash at write {at}: {effects}"

    assert ending == EXPECTED[name]
    assert at > 8


@pytest.mark.crash
@pytest.mark.timeout(100 + INSTANCES // 20)
def test_instances_survive_a_process_that_is_killed_again_and_again(tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    count, kills = INSTANCES, 0
    command = [
        sys.executable,
        str(WORKER),
        str(tmp_path / "engine.sqlite"),
        str(tmp_path / "effects"),
        str(count),
    ]
    end = time.monotonic() + 80 + INSTANCES // 20
    while time.monotonic() < end:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            out, _ = process.communicate(
                timeout=chance.uniform(0.2, 0.6) if kills < KILLS else 60 + INSTANCES // 50
            )
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
            continue
        assert process.returncode == 0, out
        break
    print(f"{count} instances, {kills} kills")
    outputs = asyncio.run(_outputs(tmp_path / "engine.sqlite"))
    done = Counter((tmp_path / "effects").read_text().splitlines())

    assert kills >= 1
    assert outputs == {f"w{n}": [f"{n}-first", n, f"{n}-left", f"{n}-right"] for n in range(count)}
    assert set(done) == {f"{n} {name}" for n in range(count) for name in ("first", "left", "right")}
    assert max(done.values()) <= 1 + kills


async def _outputs(path: Path) -> dict[str, Any]:
    plane = await open_control_plane(path)
    found: dict[str, Any] = {}
    cursor = ""
    while True:
        page = await plane.list("Work", limit=100, cursor=cursor)
        for info in page.instances:
            found[info.id] = (await plane.get("Work", info.id)).output
        if not (cursor := page.next):
            break
    await plane.close()
    return found
