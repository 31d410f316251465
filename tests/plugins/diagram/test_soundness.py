"""Whatever a workflow does when it really runs is a way through the diagram that its code gave."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings, strategies as st
from tests.plugins.diagram.paths import Diagram
from tests.plugins.diagram.programs import programs

from stagelight.conventions import EventType
from stagelight.recorder import recording
from stagelight_plugins.diagram.builder.calls import Calls
from stagelight_plugins.diagram.builder.statements import Statements
from stagelight_plugins.diagram.outline import outline
from stagelight_plugins.diagram.parse import parse

MARKS = {EventType.STEP_STARTED: "+", EventType.STEP_COMPLETED: "-", EventType.STEP_FAILED: "!"}
FLIPS = 40
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
CHAIN: Any = vars(Statements)["_chain"]
TRY: Any = vars(Statements)["_do_try"]


def no_leave(builder: Any, node: Any) -> bool:
    del builder, node
    return True


def first_branch(builder: Any, branches: Any) -> Any:
    return CHAIN(builder, branches[:1])


def no_last_block(builder: Any, node: Any) -> Any:
    return TRY(builder, replace(node, final=None))


def in_a_row(builder: Any, _: str, drawn: Any, value: Any, __: int) -> Any:
    builder.out.extend(drawn)
    return value


PLANTED: dict[str, tuple[type, str, Any]] = {
    "no break leaves a loop": (Statements, "_do_leave", no_leave),
    "only the first branch is drawn": (Statements, "_chain", first_branch),
    "the last block of a try is lost": (Statements, "_do_try", no_last_block),
    "side by side is one after the other": (Calls, "join_drawn", in_a_row),
}
"""Faults of the builder: where, and what is there instead."""


def trace(source: str, seed: int) -> list[str]:
    """Run a program; return what was recorded."""
    chances, flips = random.Random(seed), iter(range(FLIPS))

    def flip() -> bool:
        return next(flips, None) is not None and chances.random() < 0.5

    names: dict[str, Any] = {"flip": flip, "__name__": "program"}
    exec(compile(source, "program.py", "exec"), names)  # noqa: S102 - to run what was drawn is the test
    with recording() as recorder:
        with contextlib.suppress(ValueError):
            asyncio.run(names["main"]())
        return [f"{MARKS[event.type]}{event.step_name}" for event in recorder.events if event.type in MARKS]


def misfit(source: str, seed: int) -> str:
    """Return what is wrong with the diagram of a program; empty if nothing is."""
    answer = parse(source.encode(), "program.py")
    assert answer["success"], answer
    marks = trace(source, seed)
    drawn: list[dict[str, Any]] = answer["workflows"] or [
        {"class_name": "main", "functions": {}, "nodes": []}
    ]
    good = Diagram(drawn[0]).allows(marks)
    if good is None:
        return ""
    return f"{source}\n{outline(drawn[0])}\n{' '.join(marks)}\nonly {good} of {len(marks)} marks fit"


@settings(max_examples=200, deadline=None, suppress_health_check=SLOW)
@given(programs(), st.integers(0, 3))
def test_every_trace_is_a_path_of_its_diagram(source: str, seed: int) -> None:
    wrong = misfit(source, seed)
    assert not wrong, wrong


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place, name, instead = PLANTED[fault]
    monkeypatch.setattr(place, name, instead)
    quickly = settings(
        max_examples=400, deadline=None, phases=[Phase.generate], derandomize=True, database=None,
        suppress_health_check=SLOW,
    )  # fmt: skip
    assert misfit(find(programs(), lambda source: bool(misfit(source, 1)), settings=quickly), 1)
