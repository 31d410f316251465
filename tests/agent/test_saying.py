"""What is said inside a run: log lines, progress, and what happens to values that are none."""

from __future__ import annotations

import logging
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

import stagelight
from stagelight.conventions import EventType

if TYPE_CHECKING:
    from stagelight.events import Event
    from stagelight.recorder import Recorder


@pytest.fixture(autouse=True)
def _nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stagelight.guard._said", set[str]())


def lines(recorder: Recorder, kind: EventType) -> list[Event]:
    """Return what was said of one kind."""
    return [event for event in recorder.events if event.type is kind]


@pytest.mark.parametrize(
    ("severity", "expected"),
    [
        ("ERROR", "ERROR"),
        ("warn", "WARN"),
        (logging.ERROR, "ERROR"),
        (logging.WARNING, "WARNING"),
        (35, "WARNING"),
        (60, "CRITICAL"),
        (5, "TRACE"),
        (None, "INFO"),
        ("", "INFO"),
        (object, "INFO"),
    ],
)
def test_a_severity_is_a_name_or_a_level_by_keyword_or_position(
    severity: Any, expected: str, stagelight_recorder: Recorder
) -> None:
    with stagelight.workflow("w") as run:
        stagelight.log("by keyword", severity=severity, rows=3)
        stagelight.log("by position", severity)
        run.log("by the run", severity=severity)
    said = lines(stagelight_recorder, EventType.LOG)
    assert [(line.message, line.severity) for line in said] == [
        ("by keyword", expected),
        ("by position", expected),
        ("by the run", expected),
    ]
    assert said[0].attributes == {"rows": 3}


def test_a_message_attribute_does_not_collide_with_the_message(stagelight_recorder: Recorder) -> None:
    with stagelight.workflow("w"):
        stagelight.log("x", message="an attribute")
    assert lines(stagelight_recorder, EventType.LOG)[0].attributes == {"message": "an attribute"}


def test_progress_takes_its_numbers_by_name(stagelight_recorder: Recorder) -> None:
    with stagelight.workflow("w") as run:
        stagelight.progress(current=1, total=2, message="half")
        run.progress(current=2, total=2)
    said = lines(stagelight_recorder, EventType.PROGRESS)
    assert [(line.current, line.total, line.message) for line in said] == [(1, 2, "half"), (2, 2, "")]


@pytest.mark.parametrize("bad", ["3", None, object(), float("nan"), float("inf"), 10**400, [1]])
def test_what_is_no_number_is_left_out_of_the_report_and_said_once(
    bad: Any, stagelight_recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    with stagelight.workflow("w"):
        for _ in range(3):
            stagelight.progress(bad, 4, "on")
    said = lines(stagelight_recorder, EventType.PROGRESS)
    assert [(line.current, line.total, line.message) for line in said] == [(None, 4, "on")] * 3
    assert len(caplog.messages) == 1
    assert "progress(current=" in caplog.text
    assert "is no finite number" in caplog.text


def test_a_total_that_is_no_number_leaves_the_current_one(
    stagelight_recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    with stagelight.workflow("w"):
        stagelight.progress(1, "many")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the bug of the test
    (said,) = lines(stagelight_recorder, EventType.PROGRESS)
    assert (said.current, said.total) == (1, None)
    assert "progress(total='many')" in caplog.text


def test_numbers_of_other_kinds_are_numbers(stagelight_recorder: Recorder) -> None:
    with stagelight.workflow("w"):
        stagelight.progress(Decimal("0.5"), Fraction(3, 2))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # users do
    (said,) = lines(stagelight_recorder, EventType.PROGRESS)
    assert (said.current, said.total) == (0.5, 1.5)
