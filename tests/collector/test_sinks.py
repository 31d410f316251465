"""A sink that raises, hangs or lags harms only itself (invariant I6)."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

import pytest

from stagelight_collector.sinks import FAULTS, MINUTE, QUEUE, SinkRunner
from stagelight_plugins.hookspecs import Batch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Writer:
    """A sink that does what it is told."""

    name = "writer"

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.failing = False
        self.hanging = False
        self.cancelling = False

    async def write(self, batch: Batch) -> None:
        if self.failing:
            raise ValueError("broken")
        if self.cancelling:
            raise asyncio.CancelledError
        if self.hanging:
            await asyncio.Event().wait()
        self.seen.append(batch.seq)


@pytest.fixture
async def running() -> AsyncIterator[Callable[[SinkRunner], SinkRunner]]:
    """Run sinks until the test ends."""
    async with AsyncExitStack() as stack:

        def run(runner: SinkRunner) -> SinkRunner:
            task = asyncio.create_task(runner.run())

            async def stop() -> None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

            stack.push_async_callback(stop)
            return runner

        yield run


async def test_a_sink_gets_every_batch_in_order(running: Callable[[SinkRunner], SinkRunner]) -> None:
    sink = Writer()
    runner = running(SinkRunner(sink))
    for seq in range(5):
        runner.offer(Batch(seq=seq))
    await runner.drain(5)

    assert sink.seen == list(range(5))


async def test_a_sink_that_keeps_failing_is_benched_for_a_minute(
    running: Callable[[SinkRunner], SinkRunner],
) -> None:
    now = [0.0]
    sink = Writer()
    sink.failing = True
    runner = running(SinkRunner(sink, clock=lambda: now[0]))
    for seq in range(FAULTS):
        runner.offer(Batch(seq=seq))
    await runner.drain(5)
    assert runner.benched
    assert runner.reason == "ValueError: broken"

    sink.failing = False
    runner.offer(Batch(seq=100))
    now[0] += MINUTE + 1
    runner.offer(Batch(seq=101))
    await runner.drain(5)

    assert sink.seen == [101]
    assert (runner.faults, runner.dropped) == (FAULTS, FAULTS + 1)


async def test_a_sink_that_hangs_loses_that_batch_only(running: Callable[[SinkRunner], SinkRunner]) -> None:
    sink = Writer()
    sink.hanging = True
    runner = running(SinkRunner(sink, patience=0.01))
    runner.offer(Batch(seq=1))
    await runner.drain(5)
    sink.hanging = False
    runner.offer(Batch(seq=2))
    await runner.drain(5)

    assert sink.seen == [2]
    assert runner.faults == 1


async def test_a_sink_that_lets_a_cancellation_out_goes_on(
    running: Callable[[SinkRunner], SinkRunner],
) -> None:
    sink = Writer()
    sink.cancelling = True
    runner = running(SinkRunner(sink))
    runner.offer(Batch(seq=1))
    await runner.drain(5)
    sink.cancelling = False
    runner.offer(Batch(seq=2))
    await runner.drain(5)

    assert sink.seen == [2]
    assert runner.faults == 1


async def test_what_a_slow_sink_cannot_take_is_dropped_and_counted() -> None:
    runner = SinkRunner(Writer())
    for seq in range(QUEUE + 3):
        runner.offer(Batch(seq=seq))

    assert runner.dropped == 3
