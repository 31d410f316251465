"""The limits of the public API: names, steps, pages; and the words that it uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import pytest

from stagelight_plugins.engine import NewInstance, Status, WorkflowEntrypoint, WorkflowEvent
from stagelight_plugins.engine.durations import DAY
from stagelight_plugins.engine.errors import BadName, InstanceNotFound, Invalid
from stagelight_plugins.engine.facts import EventName, Source
from stagelight_plugins.engine.limits import (
    MAX_BATCH,
    Limits,
    check_event,
    check_instance,
    check_step,
    check_workflow,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.plugins.engine.conftest import Bench

    from stagelight_plugins.engine.step import Step
else:
    Bench = Any


def test_the_defaults_are_the_numbers_of_the_article_and_of_the_public_api() -> None:
    limits = Limits()

    assert (limits.slots, limits.queued) == (50_000, 2_000_000)
    assert (limits.steps, limits.output_bytes, limits.payload_bytes) == (10_000, 1 << 20, 1 << 20)
    assert (limits.state_bytes, limits.retention, MAX_BATCH) == (1 << 30, 7 * DAY, 100)


def test_statuses_and_sources_are_the_words_of_the_public_api() -> None:
    words = "queued running paused errored terminated complete waiting waitingForPause rollingBack unknown"

    assert {status.value for status in Status} == set(words.split())
    assert set(get_args(Source)) == {"api", "binding", "event", "cron", "unknown"}


def test_events_are_called_as_in_the_public_feed() -> None:
    words = {
        "workflow": "queued started running paused waiting_for_pause waiting completed errored terminated",
        "step": "started completed errored",
        "attempt": "started completed errored",
        "sleep": "started completed",
        "wait": "started completed timed_out",
        "rollback": "started completed errored",
        "rollback_step": "started completed errored",
        "rollback_attempt": "started completed errored",
    }
    public = {f"{what}_{how}" for what, hows in words.items() for how in hows.split()}

    assert {name.value for name in EventName} - public == {
        "workflow_restarted",
        "step_skipped",
        "event_received",
        "child_started",
        "child_completed",
        "child_errored",
    }
    assert public <= {name.value for name in EventName}


@pytest.mark.parametrize(
    ("check", "longest"), [(check_workflow, 64), (check_instance, 100), (check_event, 100)]
)
def test_names_have_their_lengths_and_their_letters(check: Callable[[str], str], longest: int) -> None:
    for good in ("a", "_", "0", "a-b_C9", "x" * longest):
        assert check(good) == good
    for bad in ("", "-a", "a b", "a.b", "a/b", "ä", "a\n", "a\0", "x" * (longest + 1)):
        with pytest.raises(BadName, match=f"write 1 to {longest} of"):
            check(bad)


@pytest.mark.parametrize("bad", ["", "x" * 257, "a\nb", "a\x1b[31m", "a\x7f", "a\x85", "a\ud800", 7])
def test_a_step_has_1_to_256_characters_and_no_control_characters(bad: Any) -> None:
    assert check_step("load: π / 1 of 2" + "x" * 240) == "load: π / 1 of 2" + "x" * 240
    with pytest.raises(BadName):
        check_step(bad)


class Many(WorkflowEntrypoint):
    """As many steps as asked for, and as many sleeps."""

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        for number in range(event.payload):
            await step.sleep("nap", 0)
            await step.do("same", lambda: None)
            if number == 2:
                await step.wait_for_event("w", event_type="go")


async def test_an_instance_has_so_many_steps_and_sleeps_do_not_count(bench: Bench) -> None:
    plane = await bench.open(Many, limits=Limits(steps=5))
    for name, count in (("fits", 5), ("does-not", 6)):
        await plane.create("Many", count, id=name)
        await bench.until("Many", name, frozenset({Status.WAITING}))
    plane = await bench.reopen(limits=Limits(steps=5))
    for name in ("fits", "does-not"):
        await plane.send_event("Many", name, "go")
    fits, too_many = await bench.until("Many", "fits"), await bench.until("Many", "does-not")

    assert fits.status is Status.COMPLETE
    assert too_many.error
    assert too_many.error.message.startswith("steps of one instance: the limit is 5; do less in one instance")


async def test_ids_that_were_made_longer_are_addressed_all_the_same(bench: Bench) -> None:
    plane = await bench.open(Many)
    with pytest.raises(InstanceNotFound):
        await plane.get("Many", "x" * 271)


async def test_a_page_has_50_instances_unless_told_otherwise_and_100_at_most(bench: Bench) -> None:
    plane = await bench.open(Many)
    await plane.create_batch("Many", [NewInstance(params=0)] * 60)

    assert len((await plane.list("Many")).instances) == 50
    assert len((await plane.list("Many", limit=100)).instances) == 60
    for limit in (0, 101):
        with pytest.raises(Invalid, match="ask for 1 to 100"):
            await plane.list("Many", limit=limit)
