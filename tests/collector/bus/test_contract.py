"""What every bus does, whatever is behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stagelight_plugins.hookspecs import Batch

from .conftest import Ear, events

if TYPE_CHECKING:
    from .conftest import House

LETTERS = "abcdefgh"


async def say(house: House, *texts: str, run_id: str = "r") -> None:
    await (await house.bus()).publish(Batch(seq=1, events=events(*texts, run_id=run_id)))


async def test_everybody_hears_everything_in_one_order_and_with_the_same_numbers(house: House) -> None:
    one, other = Ear(), Ear()
    await (await house.bus()).subscribe(one)
    await (await house.bus()).subscribe(other)
    for text in LETTERS:
        await say(house, text)
    await one.count(len(LETTERS))
    await other.count(len(LETTERS))

    assert one.heard == other.heard
    assert sorted(one.texts) == list(LETTERS)
    assert one.numbers == list(range(one.begun[0][1] + 1, one.begun[0][1] + len(LETTERS) + 1))
    assert one.begun[0][0].partition(".")[0] == other.begun[0][0].partition(".")[0]


async def test_the_events_of_one_collector_stay_in_their_order(house: House) -> None:
    ear = Ear()
    bus = await house.bus()
    await bus.subscribe(ear)
    await bus.publish(
        Batch(seq=1, events=[*events(*"abc", run_id="r"), *events(*"def", run_id="an.odd id *")])
    )
    await bus.publish(Batch(seq=2, events=events(*"gh")))
    await ear.count(len(LETTERS))

    assert ear.texts == list(LETTERS)


async def test_who_subscribes_after_a_number_hears_exactly_what_came_after_it(house: House) -> None:
    first, late = Ear(), Ear()
    bus = await house.bus()
    await bus.subscribe(first)
    await bus.publish(Batch(seq=1, events=events(*"abcd")))
    await first.count(4)

    await (await house.bus()).subscribe(late, after=first.numbers[1])
    await bus.publish(Batch(seq=2, events=events("e")))
    await late.count(3)

    assert late.heard == [*first.heard[2:4], (first.numbers[3] + 1, "e")]
    assert late.begun[-1][1] == first.numbers[1]
    assert late.torn == []


async def test_who_subscribes_after_a_forgotten_number_is_told_of_the_gap(house: House) -> None:
    first, late = Ear(), Ear()
    bus = await house.bus()
    await bus.subscribe(first)
    await bus.publish(Batch(seq=1, events=events(*LETTERS)))
    await first.count(len(LETTERS))
    await house.trim(4)
    await first.count(len(LETTERS) + 1)

    await (await house.bus()).subscribe(late, after=first.numbers[0])
    await late.count(1)

    assert late.torn == [0], "before anything else is heard"
    assert late.heard[0][0] > first.numbers[1]
    await late.until(lambda: late.texts[-1] == "latest")


async def test_a_snapshot_is_what_the_bus_has_of_one_run(house: House) -> None:
    ear = Ear()
    bus = await house.bus()
    await bus.subscribe(ear)
    for number, text in enumerate("abcd"):
        await bus.publish(Batch(seq=1, events=events(text, run_id=f"r{number % 2}")))
    await ear.count(4)

    found = await bus.snapshot("r1")
    assert found is not None
    assert [(told.number, told.event.message) for told in found] == [ear.heard[1], ear.heard[3]]
    later = await bus.snapshot("r1", ear.numbers[1])
    assert later is not None
    assert [told.event.message for told in later] == ["d"]
    assert await bus.snapshot("nobody") == []


async def test_a_snapshot_after_a_forgotten_number_is_none(house: House) -> None:
    ear = Ear()
    bus = await house.bus()
    await bus.subscribe(ear)
    await bus.publish(Batch(seq=1, events=events(*LETTERS)))
    await ear.count(len(LETTERS))
    await house.trim(4)
    await ear.count(len(LETTERS) + 1)

    assert await bus.snapshot("r", ear.numbers[0]) is None
    whole = await bus.snapshot("r")
    assert whole is not None, "without a number it is what there is"
    assert whole[-1].event.message == "latest"
    assert len(whole) < len(LETTERS) + 1
    assert await bus.snapshot("r", ear.numbers[-1]) == []


async def test_a_deleted_run_is_forgotten(house: House) -> None:
    ear = Ear()
    bus = await house.bus()
    await bus.subscribe(ear)
    await bus.publish(Batch(seq=1, events=[*events(*"ab"), *events("c", run_id="other")]))
    await ear.count(3)
    await bus.forget("r")
    await ear.until(lambda: "r" in ear.forgotten)

    assert await bus.snapshot("r") == []
    other = await bus.snapshot("other")
    assert other is not None
    assert [told.event.message for told in other] == ["c"]


async def test_a_bus_that_is_well_says_nothing(house: House) -> None:
    ear = Ear()
    bus = await house.bus()
    await bus.subscribe(ear)
    await bus.publish(Batch(seq=1, events=events("a")))
    await ear.count(1)

    assert bus.problem == ""
    assert (bus.counters.heard, bus.counters.lost, bus.counters.torn) == (1, 0, 0)
    await bus.close()
    await bus.close()
    assert bus.waiting == 0
