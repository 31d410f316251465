"""Errors on their way into the journal and back: what a step raises is the same just now and after a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stagelight_plugins.engine.errors import ChildFailed, StepError, StepFailed, WaitTimedOut

if TYPE_CHECKING:
    from stagelight_plugins.engine.memory import StepMemory

MAX_MESSAGE: Final = 10_000
TIMED_OUT: Final = "StepTimedOut"


def described(error: BaseException) -> dict[str, Any]:
    """Return what is remembered of an error; one whose text cannot be made does not hurt."""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - a user's __str__
        message = "(its text could not be read)"
    text = message[:MAX_MESSAGE].encode("utf-8", "replace").decode()
    return {"name": type(error).__name__[:200], "message": text}


def raised(step: StepMemory) -> StepError:
    """Return the error that a remembered step raises inside `run`."""
    error = step.error or {}
    name, count, message = step.key.name, step.key.number, error.get("message", "")
    match step.key.type:
        case "wait_for_event" if error.get("name") == "WaitTimedOut":
            return WaitTimedOut(name, count, step.event_type)
        case "child":
            workflow, instance_id = step.child
            return ChildFailed(name, count, workflow, instance_id, error.get("status", "errored"), message)
        case _:
            return StepFailed(name, count, error.get("name", "Exception"), message, len(step.attempts))
