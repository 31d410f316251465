"""The tree of a run on a terminal: every step once, below its own, as much as fits."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from stagelight_collector.cli.tree import StepTree


def step(identity: str, started: float | None, parent: str = "", status: str = "running") -> dict[str, Any]:
    return {
        "id": identity, "name": identity, "parent_id": parent, "status": status, "started_ms": started,
        "ended_ms": None if started is None else started + 5, "duration_ms": 5.0, "progress": None, "attempt": 1, "error": None,
    }  # fmt: skip


def run(status: str = "running", error: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "id": "r1", "workflow": "etl", "status": status, "service": "", "started_ms": None, "ended_ms": None,
        "duration_ms": None, "error": error,
    }  # fmt: skip


def drawn(tree: StepTree, height: int = 40) -> list[str]:
    """Return the lines on a terminal of some height."""
    console = Console(file=io.StringIO(), width=100, height=height, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(tree)
    return [line.rstrip() for line in capture.get().splitlines()]


def tree_of(*steps: dict[str, Any]) -> StepTree:
    tree = StepTree(Console(file=io.StringIO()))
    tree.take("snapshot", {"run": run(), "steps": list(steps)})
    return tree


def test_steps_are_drawn_below_their_own_in_order_of_start() -> None:
    tree = tree_of(
        step("b", 3), step("a", 1), step("a2", 4, "a"), step("a1", 2, "a"), step("lost", 5, "gone")
    )

    assert [line.split()[1] for line in drawn(tree)[1:]] == ["a", "a1", "a2", "b", "lost"]
    assert drawn(tree)[2].startswith("    running   a1")


def test_a_message_replaces_the_state_of_its_step_and_run() -> None:
    tree = tree_of(step("a", 1))
    failed = {"type": "OSError", "message": "no disk\x1b[31m"}
    tree.take("step_failed", {"run": run("failed", failed), "step": step("a", 1, status="failed")})

    assert drawn(tree) == [
        "failed etl r1",
        "  failed    a                                5ms",
        "  OSError: no disk [31m",
    ]


def test_what_does_not_fit_is_counted() -> None:
    tree = tree_of(*[step(f"s{number}", number) for number in range(50)])
    lines = drawn(tree, height=15)

    assert lines[1] == "  … 40 steps before"
    assert [line.split()[1] for line in lines[2:]] == [f"s{number}" for number in range(40, 50)]


def test_what_has_not_started_comes_last_in_the_order_it_was_told() -> None:
    tree = tree_of(step("z", 2), step("y", 3), step("b", None), step("a", None))
    assert [line.split()[1] for line in drawn(tree)[1:]] == ["z", "y", "b", "a"]

    tree.take("step_started", {"step": step("a", 4)})
    assert [line.split()[1] for line in drawn(tree)[1:]] == ["z", "y", "a", "b"]


def test_what_runs_is_in_sight_however_much_is_to_come() -> None:
    tree = tree_of(*[step(f"s{number}", number if number < 30 else None) for number in range(50)])
    shown = drawn(tree, height=15)

    assert [shown[1], shown[-1]] == ["  … 20 steps before", "  … 20 steps after"]
    assert [line.split()[1] for line in shown[2:-1]] == [f"s{number}" for number in range(20, 30)]
    assert len(shown) < 15, "all of it is on the screen"


def test_steps_that_are_each_others_parents_are_no_trap() -> None:
    assert len(drawn(tree_of(step("a", 1, "b"), step("b", 2, "a"), step("c", 3)))) == 2


def test_before_the_first_message_it_says_what_it_waits_for() -> None:
    assert drawn(StepTree(Console())) == ["Waiting for the run …"]
