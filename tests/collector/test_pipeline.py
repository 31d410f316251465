"""What is accepted reaches the rooms and history, in order, whatever happens to one request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from stagelight.conventions import EventType
from stagelight.events import Event
from stagelight_collector import pipeline, sinks
from stagelight_collector.attribution import PATIENCE_NS, Attribution
from stagelight_collector.journal import Signal
from stagelight_collector.sinks import SinkRunner

if TYPE_CHECKING:
    from stagelight_plugins.hookspecs import Batch


class Breaking:
    """A place for a sink that raises where none should."""

    def offer(self, batch: Any) -> None:
        """Raise."""
        raise OSError(batch.seq)


async def test_an_entry_that_breaks_a_part_does_not_end_the_pipeline(house: Any) -> None:
    house.pipeline.sinks = [Breaking()]
    await house.send(house.started("a"), house.started("b", trace=2))
    await house.archive.drain()

    assert house.pipeline.faults == 2
    assert house.memory.events == [("a", "run_started"), ("b", "run_started")]


async def test_an_entry_that_cannot_be_attributed_still_gets_into_history(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise OSError

    monkeypatch.setattr(Attribution, "resolve", broken)
    await house.send(house.started("a"))
    await house.archive.drain()

    assert house.memory.events == [("a", "run_started")]


class Writer:
    """A sink that gives others their turn before it has written; or never does."""

    name = "writer"

    def __init__(self, *, hanging: bool = False) -> None:
        self.hanging = hanging
        self.seen: list[str] = []

    async def write(self, batch: Batch) -> None:
        """Take a batch."""
        await (asyncio.Event().wait() if self.hanging else asyncio.sleep(0))
        self.seen += [event.run_id for event in batch.events]


async def test_what_is_read_again_after_a_restart_waits_for_sinks_that_keep_up(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "QUEUE", 2)
    monkeypatch.setattr(pipeline, "CATCH_UP_SECONDS", 60.0)
    names = [f"run-{number}" for number in range(10)]
    await house.journal_only(*(house.started(name, trace=number) for number, name in enumerate(names, 1)))
    writer = Writer()
    runner = SinkRunner(writer)
    house.pipeline.sinks = [runner]
    async with asyncio.TaskGroup() as group:
        feeding = group.create_task(runner.run())
        assert await house.pipeline.replay() == 10
        await runner.drain(60)
        feeding.cancel()

    assert (writer.seen, runner.dropped) == (names, 0)


async def test_what_is_read_again_does_not_wait_for_a_sink_that_hangs(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "QUEUE", 2)
    monkeypatch.setattr(pipeline, "CATCH_UP_SECONDS", 0.01)
    await house.journal_only(*(house.started(f"run-{number}", trace=number) for number in range(1, 11)))
    runner = SinkRunner(Writer(hanging=True))
    house.pipeline.sinks = [runner]
    async with asyncio.TaskGroup() as group:
        feeding = group.create_task(runner.run())
        assert await house.pipeline.replay() == 10
        feeding.cancel()

    assert runner.dropped == 10 - runner.queued - 1


async def test_what_is_journaled_is_decoded_although_its_sender_went_away(house: Any) -> None:
    request = house.started("a")
    sending = asyncio.ensure_future(house.pipeline.ingest(Signal.LOGS, request.SerializeToString(), request))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    sending.cancel()
    async with house.running("pipeline"):
        await house.until(lambda: house.pipeline.hub.rooms)

    assert list(house.pipeline.hub.rooms) == ["a"]


async def test_acknowledgements_wait_while_too_much_is_to_be_decoded(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stagelight_collector.pipeline.QUEUE", 1)
    requests = [house.started(name) for name in "abc"]
    sending = [
        asyncio.ensure_future(house.pipeline.ingest(Signal.LOGS, request.SerializeToString(), request))
        for request in requests
    ]
    await house.until(lambda: house.pipeline.queued == 3)
    assert not all(task.done() for task in sending)

    async with house.running("pipeline"), asyncio.timeout(10):
        await asyncio.gather(*sending)
        await house.pipeline.drain()
    assert list(house.pipeline.hub.rooms) == ["a", "b", "c"]


async def test_a_restart_finds_runs_as_they_were_found_then(house: Any) -> None:
    await house.journal_only(house.step("load"))
    await house.journal_only(house.started("r"), received=house.now + PATIENCE_NS - 1)
    await house.journal_only(house.step("other", trace=2))
    await house.journal_only(house.started("late", trace=2), received=house.now + PATIENCE_NS)
    house.now += 100 * PATIENCE_NS
    assert await house.pipeline.replay() == 4
    await house.archive.drain()

    assert house.memory.events == [
        ("r", "step_started"),
        ("r", "run_started"),
        (f"{2:032x}", "step_started"),
        ("late", "run_started"),
    ]


async def test_a_room_stays_until_history_has_what_the_pipeline_gave_it(house: Any) -> None:
    hub = house.pipeline.hub
    hub.limits.rooms, hub.eviction.kept = 1, lambda: house.journal.committed
    async with house.running("pipeline"):
        await house.send(house.started("a"))
        await house.send(house.started("b", trace=2))
        assert list(hub.rooms) == ["a", "b"]
        async with house.running("archive"):
            house.archive.wake()
            await house.until_archived()
        await house.send(house.started("c", trace=3))

    assert list(hub.rooms) == ["c"]
    assert hub.counters.evicted_early == 0


async def test_published_events_keep_their_room_until_history_has_them(house: Any) -> None:
    hub = house.pipeline.hub
    hub.limits.rooms = 1
    publishing = asyncio.ensure_future(house.pipeline.publish([_begun("a")]))
    await house.until(lambda: "a" in hub.rooms)
    hub.take(_begun("b"))
    assert list(hub.rooms) == ["a", "b"]

    async with house.running("archive"), asyncio.timeout(10):
        await publishing
    hub.take(_begun("c"))

    assert list(hub.rooms) == ["c"]
    assert house.memory.events == [("a", "run_started")]


async def test_accepted_events_survive_a_crash_before_they_are_decoded(make_house: Any) -> None:
    async with make_house() as house:
        await house.pipeline.accept([_begun("a")])
    async with make_house() as house:
        assert await house.pipeline.replay() == 1
        await house.archive.drain()

    assert house.memory.events == [("a", "run_started")]


async def test_a_published_event_without_a_run_is_refused_with_the_remedy(house: Any) -> None:
    with pytest.raises(ValueError, match="give each event its `run_id`"):
        await house.pipeline.publish([_begun("a"), _begun("")])

    assert list(house.pipeline.hub.rooms) == []


def _begun(run_id: str) -> Event:
    return Event(type=EventType.RUN_STARTED, run_id=run_id, time=1)


async def test_a_plan_from_before_a_crash_waits_until_the_rooms_have_it(make_house: Any) -> None:
    async with make_house() as house:
        seqs = await house.journal_only(house.started("a"), house.started("b", trace=2))
        await house.journal.plan(seqs[-1])
    async with make_house() as house, house.running("archive"):
        house.archive.wake()
        await house.until(lambda: house.slept)
        await house.archive.drain()
        assert house.memory.batches == []
        assert await house.pipeline.replay() == 2
        await house.until_archived()

    assert list(house.pipeline.hub.rooms) == ["a", "b"]
    assert house.memory.events == [("a", "run_started"), ("b", "run_started")]
