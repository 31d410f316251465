"""A `run` whose code has changed under its instances: it goes on where that is sound, and else stops with the step named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stagelight_plugins.engine import Status, WorkflowEntrypoint, WorkflowEvent

if TYPE_CHECKING:
    from tests.plugins.engine.conftest import Bench

    from stagelight_plugins.engine.facts import InstanceInfo
    from stagelight_plugins.engine.step import Step
else:
    Bench = Any

ran: list[str] = []


class Does(WorkflowEntrypoint):
    """Does steps by name: `~` sleeps, `?` waits for an event."""

    names: str = ""

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        found: list[str] = []
        for name in type(self).names.split():
            if name.startswith("~"):
                await step.sleep(name, 0)
            elif name.startswith("?"):
                await step.wait_for_event(name, event_type="go")
            else:
                found.append(await step.do(name, _did, name, len(found)))
        return found


def _did(name: str, place: int) -> str:
    ran.append(name)
    return f"{name} at {place}"


def does(names: str) -> type[WorkflowEntrypoint]:
    return type("Does", (Does,), {"names": names})


async def change(bench: Bench, old: str, new: str) -> InstanceInfo:
    """Run `old` to its wait, go on under `new`, and say what became of it."""
    ran.clear()
    plane = await bench.open(does(old))
    made = await plane.create("Does", id="it")
    await bench.until("Does", made.id, frozenset({Status.WAITING}))
    plane = await bench.reopen(does(new))
    await plane.send_event("Does", "it", "go")
    return await bench.until("Does", "it")


@pytest.mark.parametrize(
    ("old", "new", "wanted", "recorded"),
    [
        ("a b ?", "a renamed ?", "renamed-1", "b-1"),
        ("a b ?", "a ?", "", "b-1"),
        ("a a ?", "a ?", "", "a-2"),
        ("a ~ b ?", "a b ?", "", "~-1"),
        ("a b ?", "new a b ?", "new-1", "a-1"),
        ("a ?", "a ~a ?", "~a-1", "?-1"),
        ("a ?", "?", "", "a-1"),
        ("a ?", "", "", "a-1"),
    ],
    ids=[
        "renamed",
        "removed",
        "one of two removed",
        "sleep removed",
        "inserted",
        "made a sleep",
        "first removed",
        "emptied",
    ],
)
async def test_what_was_done_and_is_not_asked_for_stops_the_run_with_the_step_named(
    bench: Bench, old: str, new: str, wanted: str, recorded: str
) -> None:
    info = await change(bench, old, new)

    assert info.status is Status.PAUSED
    assert info.difference
    assert (info.difference.wanted, info.difference.recorded) == (wanted, recorded)
    assert repr(recorded) in info.difference.reason
    assert ran == [name for name in old.split() if name.isalpha()]


@pytest.mark.parametrize(
    ("old", "new", "output"),
    [
        ("a b ?", "b a ?", ["b at 1", "a at 0"]),
        ("a ?", "a ? more", ["a at 0", "more at 1"]),
        ("a a ?", "a a ? a", ["a at 0", "a at 1", "a at 2"]),
    ],
    ids=["reordered", "more at the end", "one more of a name"],
)
async def test_steps_that_only_moved_and_more_steps_at_the_end_are_no_change(
    bench: Bench, old: str, new: str, output: list[str]
) -> None:
    info = await change(bench, old, new)

    assert info.status is Status.COMPLETE
    assert info.output == output
    assert sorted(ran) == sorted(new.replace("?", "").split())


async def test_the_old_code_brought_back_and_resumed_goes_on(bench: Bench) -> None:
    stopped = await change(bench, "a b ?", "a renamed ?")
    assert stopped.difference
    assert "bring the old code back and resume, or restart" in stopped.difference.reason
    plane = await bench.reopen(does("a b ?"))
    assert (await plane.resume("Does", "it")).difference is None
    info = await bench.until("Does", "it", frozenset({Status.COMPLETE}))

    assert info.output == ["a at 0", "b at 1"]
    assert ran == ["a", "b"]


async def test_a_failing_instance_whose_code_has_changed_undoes_nothing_of_another_step(bench: Bench) -> None:
    plane = await bench.open(does("a ?"))
    await plane.create("Does", id="it")
    await bench.until("Does", "it", frozenset({Status.WAITING}))
    plane = await bench.reopen(does("b ?"))
    await plane.terminate("Does", "it", rollback=True)
    info = await bench.until("Does", "it")

    assert info.status is Status.PAUSED
    assert info.difference
    assert info.difference.recorded == "a-1"
    assert (await plane.terminate("Does", "it")).status is Status.TERMINATED
