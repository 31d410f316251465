"""How a scope ends: what is a failure and what is none, and what a failure says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.trace import StatusCode

import stagelight

if TYPE_CHECKING:
    from stagelight.recorder import Recorder


def fail(error: BaseException) -> None:
    """Let an error leave a step and a run, unchanged."""
    with pytest.raises(type(error)) as raised, stagelight.workflow("w"), stagelight.step("s"):
        raise error
    assert raised.value is error


@pytest.mark.parametrize(
    "error",
    [asyncio.CancelledError(), KeyboardInterrupt(), SystemExit(3), SystemExit("why"), SystemExit([])],
)
def test_what_is_no_exception_fails_the_step_and_the_run(
    error: BaseException, stagelight_recorder: Recorder
) -> None:
    fail(error)
    (step,), (run,) = stagelight_recorder.steps, stagelight_recorder.runs
    assert step.error is not None
    assert step.error.type.rpartition(".")[2] == type(error).__name__
    assert (step.status, run.status) == ("failed", "failed")


@pytest.mark.parametrize("code", [0, None, False])
def test_an_exit_without_an_error_code_is_no_failure(code: Any, stagelight_recorder: Recorder) -> None:
    fail(SystemExit(code))
    (step,), (run,) = stagelight_recorder.steps, stagelight_recorder.runs
    assert (step.status, step.error, step.span.events) == ("completed", None, ())
    assert (run.status, run.error, run.span.events) == ("completed", None, ())
    assert (run.span.attributes or {})["workflow.status"] == "completed"


@pytest.mark.parametrize(
    ("error", "description"),
    [
        (ValueError(), None),
        (ValueError(""), None),
        (ValueError("no rows"), "ValueError: no rows"),
        (KeyError("x"), "KeyError: 'x'"),
    ],
)
def test_an_error_is_described_once(
    error: Exception, description: str | None, stagelight_recorder: Recorder
) -> None:
    fail(error)
    (step,) = stagelight_recorder.steps
    assert step.span.status.status_code is StatusCode.ERROR
    assert step.span.status.description == description
    assert step.error is not None
    assert (step.error.type, step.error.message) == (type(error).__name__, str(error))
