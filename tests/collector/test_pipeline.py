"""What is accepted reaches the rooms and history, in order, whatever happens to one request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from stagelight_collector.attribution import PATIENCE_NS, Attribution
from stagelight_collector.journal import Signal

if TYPE_CHECKING:
    import pytest


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
