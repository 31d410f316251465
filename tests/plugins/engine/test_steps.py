"""Steps: what is remembered, tried again, waited for, undone."""

from __future__ import annotations

import asyncio
import sys
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from stagelight_plugins.engine import (
    ChildFailed,
    NonRetryableError,
    Rejected,
    Status,
    StepFailed,
    WaitTimedOut,
    WorkflowEntrypoint,
    WorkflowEvent,
)
from stagelight_plugins.engine.errors import BadDuration, BadName
from stagelight_plugins.engine.facts import EventName

if TYPE_CHECKING:
    from tests.plugins.engine.conftest import Bench

    from stagelight_plugins.engine.calls import RollbackContext, StepContext
    from stagelight_plugins.engine.step import Step
else:
    Bench = Any

QUICK = {"limit": 5, "delay": 1, "backoff": "constant"}
calls: dict[str, int] = {}


@pytest.fixture(autouse=True)
def _fresh() -> None:
    calls.clear()


def seen(name: str) -> int:
    """Count a call."""
    calls[name] = calls.get(name, 0) + 1
    return calls[name]


class Flow(WorkflowEntrypoint):
    """Does what the test says."""

    body: Any = None

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        return await type(self).body(event, step)


def flow(body: Any, **options: Any) -> type[WorkflowEntrypoint]:
    """Return a workflow with this body."""
    return type("Flow", (Flow,), {"body": staticmethod(body), **options})


async def test_a_completed_step_is_reused_by_name_and_count(bench: Bench) -> None:
    async def body(_: Any, step: Step) -> Any:
        first = await step.do("same", lambda: seen("same"))
        second = await step.do("same", lambda: seen("same"))
        await step.sleep("nap", 150)
        return [first, second]

    await bench.open(flow(body))
    assert bench.plane is not None
    made = await bench.plane.create("Flow")
    await bench.until("Flow", made.id, frozenset({Status.WAITING}))
    await bench.reopen()
    info = await bench.until("Flow", made.id)

    assert info.output == [1, 2]
    assert calls == {"same": 2}


async def test_attempts_are_one_more_than_the_limit_of_retries(bench: Bench) -> None:
    async def body(_: Any, step: Step) -> Any:
        def fails(ctx: StepContext) -> None:
            seen("fails")
            assert (ctx.step.name, ctx.step.count, ctx.attempt) == ("fails", 1, calls["fails"])
            raise ValueError("no")

        try:
            await step.do("fails", fails, retries=QUICK)
        except StepFailed as error:
            return [error.type, error.message, error.attempts]

    await bench.open(flow(body))
    info = await bench.run(flow(body))

    assert info.output == ["ValueError", "no", 6]
    assert calls["fails"] == 6


async def test_a_non_retryable_error_ends_retries_and_a_try_can_go_on(bench: Bench) -> None:
    async def body(_: Any, step: Step) -> Any:
        async def fails() -> None:
            seen("fails")
            raise NonRetryableError("bad card")

        try:
            await step.do("fails", fails)
        except StepFailed as error:
            kind = error.type
        else:
            kind = "none"
        return await step.do("after", lambda: kind)

    await bench.open(flow(body))
    info = await bench.run(flow(body))

    assert (info.output, calls["fails"]) == ("NonRetryableError", 1)


async def test_a_timeout_fails_the_attempt_and_a_hanging_thread_harms_nobody(bench: Bench) -> None:
    free = threading.Event()

    async def body(_: Any, step: Step) -> Any:
        def hangs() -> str:
            if seen("hangs") == 1:
                free.wait(20)
            return "done"

        return await step.do("hangs", hangs, retries=QUICK, timeout=50)

    await bench.open(flow(body))
    info = await bench.run(flow(body))
    free.set()

    assert info.output == "done"
    assert calls["hangs"] == 2


async def test_what_a_step_does_to_its_process_fails_only_the_step(bench: Bench) -> None:
    async def body(event: WorkflowEvent[Any], step: Step) -> Any:
        async def leaves() -> None:
            sys.exit(3)

        def leaves_too() -> None:
            sys.exit(4)

        def returns_a_lock() -> Any:
            return threading.Lock()

        kind = event.payload
        function = {"async": leaves, "sync": leaves_too, "lock": returns_a_lock}[kind]
        await step.do("bad", function, retries=0)

    await bench.open(flow(body))
    found = [(await bench.run(flow(body), kind)).error for kind in ("async", "sync", "lock")]

    assert [fault.message.split(":")[0] for fault in found if fault] == [
        "SystemExit",
        "SystemExit",
        "BadValue",
    ]
    assert "of type lock" in (found[2].message if found[2] else "")


async def test_steps_that_are_not_awaited_run_side_by_side(bench: Bench) -> None:
    both = asyncio.Barrier(2)

    async def body(_: Any, step: Step) -> Any:
        async def meets(name: str) -> str:
            await both.wait()
            return name

        first = step.do("a", meets, "a")
        second = step.do("b", meets, "b")
        return await asyncio.gather(first, second)

    await bench.open(flow(body))

    assert (await bench.run(flow(body))).output == ["a", "b"]


async def test_a_blocking_step_never_blocks_the_others(bench: Bench) -> None:
    both = threading.Barrier(2, timeout=10)

    async def body(_: Any, step: Step) -> Any:
        return await asyncio.gather(*(step.do(f"s{n}", lambda: both.wait() >= 0) for n in range(2)))

    await bench.open(flow(body))

    assert (await bench.run(flow(body))).output == [True, True]


async def test_the_decorator_form_runs_dependencies_once(bench: Bench) -> None:
    async def body(_: Any, step: Step) -> Any:
        @step.do("one")
        async def one() -> int:
            return seen("one")

        @step.do("two", depends=[one])
        async def two(first: int) -> int:
            return first + 1

        @step.do("sum", depends=[one, two], concurrent=True)
        async def total(first: int, second: int) -> int:
            return first + second

        return await total()

    await bench.open(flow(body))

    assert (await bench.run(flow(body))).output == 3
    assert calls == {"one": 1}


async def test_an_event_sent_before_the_wait_is_kept_and_each_feeds_one_waiter(bench: Bench) -> None:
    async def body(_: Any, step: Step) -> Any:
        await step.wait_for_event("gate", event_type="open")
        got = [await step.wait_for_event(f"n{n}", event_type="number") for n in range(3)]
        return [event.payload for event in got]

    plane = await bench.open(flow(body))
    made = await plane.create("Flow")
    for number in range(3):
        await plane.send_event("Flow", made.id, "number", number)
    await bench.until("Flow", made.id, frozenset({Status.WAITING}))
    await bench.reopen()
    assert bench.plane is not None
    await bench.plane.send_event("Flow", made.id, "open")

    assert (await bench.until("Flow", made.id)).output == [0, 1, 2]


async def test_a_waiter_that_timed_out_does_not_eat_the_next_event(bench: Bench) -> None:
    async def body(_: Any, step: Step) -> Any:
        try:
            await step.wait_for_event("first", event_type="go", timeout=20)
        except WaitTimedOut as error:
            missed = error.event_type
        else:
            missed = "nothing"
        got = await step.wait_for_event("second", event_type="go", timeout="1 minute")
        return [missed, got.payload]

    plane = await bench.open(flow(body))
    made = await plane.create("Flow")

    async for event in plane.subscribe("Flow", made.id, types=[EventName.WAIT_STARTED]):
        if event.step == "second":
            break
    await plane.send_event("Flow", made.id, "go", "late")

    assert (await bench.until("Flow", made.id)).output == ["go", "late"]


async def test_a_sleep_is_found_again_whatever_its_duration_says_now(bench: Bench) -> None:
    async def long(_: Any, step: Step) -> Any:
        await step.sleep("nap", 300)
        return "awake"

    async def longer(_: Any, step: Step) -> Any:
        await step.sleep("nap", "30 days")
        return "awake"

    plane = await bench.open(flow(long))
    made = await plane.create("Flow")
    await bench.until("Flow", made.id, frozenset({Status.WAITING}))
    await bench.reopen(flow(longer))

    assert (await bench.until("Flow", made.id)).output == "awake"


async def test_sleeping_until_the_past_raises(bench: Bench) -> None:
    async def body(_: Any, step: Step) -> Any:
        await step.sleep_until("back then", datetime.now(UTC) - timedelta(days=1))

    await bench.open(flow(body))
    info = await bench.run(flow(body))

    assert info.status is Status.ERRORED
    assert info.error
    assert info.error.name == BadDuration.__name__


async def test_an_approval_gives_its_metadata_and_a_rejection_raises(bench: Bench) -> None:
    async def body(_: Any, step: Step) -> Any:
        try:
            return await step.wait_for_approval("boss")
        except Rejected as error:
            return error.reason

    plane = await bench.open(flow(body))
    yes, no = await plane.create("Flow"), await plane.create("Flow")
    await plane.approve("Flow", yes.id, metadata={"by": "ann"})
    await plane.reject("Flow", no.id, reason="too dear")

    assert (await bench.until("Flow", yes.id)).output == {"by": "ann"}
    assert (await bench.until("Flow", no.id)).output == "too dear"


async def test_a_rollback_undoes_in_reverse_order_of_start_with_the_failed_step_too(bench: Bench) -> None:
    undone: list[tuple[str, Any]] = []

    def undo(context: RollbackContext) -> None:
        undone.append((context.step.name, context.output))

    async def body(_: Any, step: Step) -> Any:
        await step.do("a", lambda: "A", rollback=undo)
        await step.do("no handler", lambda: None)
        await step.do("b", lambda: 1 / 0, retries=0, rollback=undo)

    await bench.open(flow(body))
    info = await bench.run(flow(body))

    assert undone == [("b", None), ("a", "A")]
    assert info.status is Status.ERRORED
    assert info.rollback
    assert info.rollback.outcome == "complete"


async def test_a_rollback_stops_at_the_first_handler_that_fails(bench: Bench) -> None:
    async def body(_: Any, step: Step) -> Any:
        await step.do("a", lambda: "A", rollback=lambda: seen("a"))
        await step.do("b", lambda: "B", rollback=lambda: 1 / 0, rollback_retries=0)
        raise RuntimeError("all is lost")

    await bench.open(flow(body))
    info = await bench.run(flow(body))

    assert info.rollback
    assert info.rollback.outcome == "failed"
    assert info.error
    assert info.error.message == "all is lost"
    assert calls == {}


async def test_a_child_runs_once_and_its_output_or_failure_comes_back(bench: Bench) -> None:
    class Child(WorkflowEntrypoint):
        async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
            await step.sleep("nap", 120)
            if event.payload < 0:
                raise ValueError("negative")
            return event.payload * 2

    async def body(_: Any, step: Step) -> Any:
        good = await step.child("good", Child, 21)
        try:
            await step.child("bad", Child, -1)
        except ChildFailed as error:
            return [good, error.status, error.message]

    await bench.open(flow(body), Child)

    assert (await bench.run(flow(body))).output == [42, "errored", "negative"]


async def test_sensitive_output_is_shown_to_nobody_but_run(bench: Bench) -> None:
    async def body(_: Any, step: Step) -> Any:
        secret = await step.do("secret", lambda: "s3cret", sensitive="output")
        return len(secret)

    plane = await bench.open(flow(body))
    info = await bench.run(flow(body))
    (told,) = await plane.steps("Flow", info.id)
    events = [event async for event in plane.subscribe("Flow", info.id)]

    assert info.output == 6
    assert told.output == "[REDACTED]"
    assert "s3cret" not in repr(events)


async def test_names_with_control_characters_are_refused(bench: Bench) -> None:
    async def body(_: Any, step: Step) -> Any:
        await step.do("a\nb", lambda: 1)

    await bench.open(flow(body))
    info = await bench.run(flow(body))

    assert info.error
    assert info.error.name == BadName.__name__


async def test_a_step_that_nobody_awaits_is_still_run_and_its_error_is_not_lost(bench: Bench) -> None:
    async def body(_: Any, step: Step) -> Any:
        _unseen = step.do("lonely", lambda: 1 / 0, retries=0)
        return "fine"

    await bench.open(flow(body))
    info = await bench.run(flow(body))

    assert info.status is Status.ERRORED
    assert info.error
    assert "ZeroDivisionError" in info.error.message


async def test_a_run_stops_with_the_differing_step_named_when_its_code_has_changed(bench: Bench) -> None:
    async def old(_: Any, step: Step) -> Any:
        await step.do("a", lambda: seen("a"))
        await step.do("b", lambda: seen("b"))
        await step.wait_for_event("w", event_type="go")

    async def new(_: Any, step: Step) -> Any:
        await step.do("a", lambda: seen("a"))
        await step.do("renamed", lambda: seen("renamed"))
        await step.wait_for_event("w", event_type="go")
        return "new"

    plane = await bench.open(flow(old))
    made = await plane.create("Flow")
    await bench.until("Flow", made.id, frozenset({Status.WAITING}))
    await bench.reopen(flow(new))
    assert bench.plane is not None
    await bench.plane.send_event("Flow", made.id, "go")
    info = await bench.until("Flow", made.id)

    assert info.status is Status.PAUSED
    assert info.difference
    assert (info.difference.wanted, info.difference.recorded) == ("renamed-1", "b-1")
    assert "renamed" not in calls

    await bench.plane.restart("Flow", made.id)
    await bench.plane.send_event("Flow", made.id, "go")
    assert (await bench.until("Flow", made.id)).output == "new"
