"""What a bus on NATS does when servers die, streams are made anew, and people send junk."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from stagelight_collector.bus.address import open_bus
from stagelight_collector.bus.contract import BusAway, BusUnusable
from stagelight_plugins.hookspecs import Batch

from .conftest import PATIENCE_SECONDS, Ear, events

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .conftest import NatsHouse


async def until(condition: Callable[[], object]) -> None:
    """Wait until something holds of a process that tells nobody."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - as it says
            await asyncio.sleep(0.01)


async def test_a_server_that_is_killed_and_started_again_costs_nothing(
    nats_house: NatsHouse, nats_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    here, there = await nats_house.bus(), await nats_house.bus()
    ear = Ear()
    await there.subscribe(ear)
    await here.publish(Batch(seq=1, events=events("before")))
    await ear.count(1)

    with caplog.at_level(logging.WARNING, "stagelight_collector.bus"):
        await nats_server.kill()
        await until(lambda: here.problem and there.problem)
    await here.publish(Batch(seq=2, events=events(*(f"meanwhile {number}" for number in range(600)))))
    assert f"the bus at {nats_server.url} is away" in here.problem
    assert here.waiting == 600
    with pytest.raises(BusAway):
        await there.snapshot("r")
    assert [record.getMessage() for record in caplog.records] == [
        f"the bus at {nats_server.url} is away: viewers see nothing new until it is back; what arrives is kept"
    ] * 2, "one line for each, however often it is tried again"

    await nats_server.start()
    await ear.count(601)

    assert ear.texts == ["before", *(f"meanwhile {number}" for number in range(600))]
    assert ear.numbers == list(range(ear.numbers[0], ear.numbers[0] + 601))
    assert (len(ear.begun), ear.torn) == (1, [])
    await until(lambda: not here.problem and not here.waiting)


async def test_the_same_fact_is_taken_once(nats_house: NatsHouse) -> None:
    here, again = await nats_house.bus(), await nats_house.bus()
    ear = Ear()
    await here.subscribe(ear)
    await here.publish(Batch(seq=1, events=events("a", "b")))
    await ear.count(2)
    await again.publish(Batch(seq=1, events=events("a", "b")))  # as after a restart
    await again.publish(Batch(seq=2, events=events("c")))
    await ear.count(3)

    assert ear.texts == ["a", "b", "c"]


async def test_what_was_dropped_on_this_side_is_read_again(nats_house: NatsHouse) -> None:
    bus = await nats_house.bus()
    ear = Ear()
    await bus.subscribe(ear)
    await bus.publish(Batch(seq=1, events=events("a")))
    await ear.count(1)
    bus.reader.link.sequence -= 1  # as if one that the server sent had never come
    await bus.publish(Batch(seq=2, events=events("b", "c")))
    await ear.count(3)

    assert ear.texts == ["a", "b", "c"]
    assert ear.torn == []


async def test_a_stream_that_is_made_anew_begins_other_numbers(
    nats_house: NatsHouse, nats_server: Any
) -> None:
    bus = await nats_house.bus()
    ear = Ear()
    await bus.subscribe(ear)
    await bus.publish(Batch(seq=1, events=events(*"abc")))
    await ear.count(3)
    await (await nats_house.stream()).delete_stream("stagelight")
    await nats_server.kill()
    await nats_server.start()
    await ear.until(lambda: len(ear.begun) == 2)
    await bus.publish(Batch(seq=2, events=events("d")))
    await ear.count(4)

    assert ear.begun[0][0] != ear.begun[1][0]
    assert ear.heard[-1] == (1, "d")


async def test_events_that_were_trimmed_before_they_were_read_are_a_gap(
    nats_house: NatsHouse,
) -> None:
    writer, reader = await nats_house.bus(), await nats_house.bus()
    ear = Ear()
    await reader.subscribe(ear)
    await writer.publish(Batch(seq=1, events=events("a")))
    await ear.count(1)
    reader.up.clear()  # it has lost its link,
    reader.reader.link.broken.set()
    await writer.publish(Batch(seq=2, events=events(*"bcd")))
    await writer.outbox.drain()
    await (await nats_house.stream()).purge_stream(
        "stagelight", seq=4
    )  # and "b" and "c" are forgotten meanwhile
    reader.up.set()
    await ear.count(2)

    assert ear.texts == ["a", "d"]
    assert ear.torn == [1]
    assert reader.counters.torn == 1


async def test_what_does_not_fit_is_lost_counted_and_announced_when_history_has_it(
    nats_house: NatsHouse, nats_server: Any
) -> None:
    kept = [0]
    here, there = await nats_house.bus(lambda: kept[0]), await nats_house.bus()
    ear = Ear()
    await there.subscribe(ear)
    here.outbox.capacity = 2
    await nats_server.kill()
    await until(lambda: here.problem)
    here.outbox.stalled = "away"
    async with asyncio.timeout(PATIENCE_SECONDS):
        await here.publish(Batch(seq=7, events=events(*"abcde")))  # and nobody waits
    await nats_server.start()
    await ear.count(2)
    await until(lambda: here.counters.lost == 3)
    assert (ear.texts, ear.doubts) == (["a", "b"], 0)

    kept[0] = 7
    await ear.until(lambda: ear.doubts == 1)


async def test_an_event_that_is_too_long_is_lost_and_holds_up_nobody(nats_house: NatsHouse) -> None:
    bus = await nats_house.bus()
    ear = Ear()
    await bus.subscribe(ear)
    await bus.publish(Batch(seq=1, events=events("a", "x" * (2 << 20), "b")))
    await ear.count(2)

    assert ear.texts == ["a", "b"]
    assert bus.outbox.lost == 1


async def test_junk_is_counted_and_left_out(nats_house: NatsHouse) -> None:
    bus = await nats_house.bus()
    ear = Ear()
    await bus.subscribe(ear)
    stream = await nats_house.stream()
    for junk in (
        b"",
        b"\xff",
        b"[]",
        b'{"type":"no such","run_id":"r","time":1}',
        b'{"type":"log"}',
        b"1" * 5_000,
    ):
        await stream.publish("stagelight.room.r", junk)
    await stream.publish("stagelight.control", b'["doubt"]')
    await bus.publish(Batch(seq=1, events=events("a")))
    await ear.count(1)

    assert ear.texts == ["a"]
    assert bus.counters.unreadable == 7
    assert ear.torn == []


@pytest.mark.parametrize("options", [("--user", "me", "--pass", "right", "-js"), ("-m", "-1")])
async def test_a_server_that_cannot_be_used_is_told_in_one_line_without_credentials(
    new_nats: Callable[..., Awaitable[Any]], options: tuple[str, ...]
) -> None:
    server = await new_nats(*options)
    dsn = server.url.replace("nats://", "nats://me:wrong-secret@")
    with pytest.raises(BusUnusable) as caught:
        await open_bus(dsn, name="t", kept=int)

    text = str(caught.value)
    assert text.startswith(f"the bus at {server.url} cannot be used (")
    assert text.endswith("); start `nats-server -js` there, or mend `bus`")
    assert "secret" not in text
    assert "\n" not in text


async def test_nobody_there_is_told_in_one_line(nats_server: Any) -> None:
    await nats_server.kill()
    with pytest.raises(BusUnusable, match="cannot be used") as caught:
        await open_bus(nats_server.url, name="t", kept=int)

    assert "Connect call failed" in str(caught.value)


async def test_the_right_credentials_let_in(new_nats: Callable[..., Awaitable[Any]]) -> None:
    server = await new_nats("--user", "me", "--pass", "right", "-js")
    bus = await open_bus(server.url.replace("nats://", "nats://me:right@"), name="t", kept=int)
    ear = Ear()
    await bus.subscribe(ear)
    await bus.publish(Batch(seq=1, events=events("a")))
    await ear.count(1)
    await bus.close()
