"""What we tell, in the words of the public Workflows API: times are ISO 8601 in UTC, `None` where there is none yet."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from stagelight_plugins.engine.cron import following
from stagelight_plugins.engine.facts import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stagelight_plugins.engine.facts import (
        AttemptInfo,
        Fault,
        InstanceInfo,
        StepInfo,
        VersionInfo,
        WorkflowInfo,
    )

SCRIPT: Final = "stagelight"
"""The API's `script_name`, which has no sense here."""
SHOWN: Final = 4_096
"""Characters of a step's output in the list of steps; `…/step` has it whole."""

_SUCCESS: Final = {Status.COMPLETE: True, Status.ERRORED: False, Status.TERMINATED: False}
_STATUSES: Final = [status for status in Status if status is not Status.UNKNOWN]
_STEP_STATUS: Final = {
    "running": "running",
    "waiting": "waiting",
    "completed": "complete",
    "failed": "errored",
    "skipped": "complete",
}
_NO_CONFIG: Final = {"retries": {"limit": 0, "delay": 0, "backoff": "constant"}, "timeout": 0}


def when(ms: int) -> str | None:
    """Return a time."""
    if not ms:
        return None
    return _iso(datetime.fromtimestamp(ms / 1000, UTC))


def now() -> str:
    """Return the time at which an answer is made."""
    return _iso(datetime.now(UTC))


def workflow(info: WorkflowInfo, triggered: int = 0) -> dict[str, Any]:
    """Return a workflow."""
    return {
        "id": info.id,
        "name": info.name,
        "class_name": info.class_name,
        "script_name": SCRIPT,
        "created_on": when(info.created),
        "modified_on": when(info.modified),
        "triggered_on": when(triggered),
        "instances": {str(status): info.counts.get(status, 0) for status in _STATUSES},
        "schedules": [
            {
                "cron": cron,
                "next_instance": when(following(cron, round(datetime.now(UTC).timestamp() * 1000))),
            }
            for cron in info.schedules
        ],
        "version_id": info.version_id,
    }


def version(info: VersionInfo, workflow_id: str) -> dict[str, Any]:
    """Return a version."""
    return {
        "id": info.id,
        "class_name": info.class_name,
        "created_on": when(info.created),
        "modified_on": when(info.created),
        "workflow_id": workflow_id,
        "language": "python",
        "has_dag": bool(info.source),
    }


def created(info: InstanceInfo, workflow_id: str) -> dict[str, Any]:
    """Return what `create` answers."""
    return {
        "id": info.id,
        "status": str(info.status),
        "version_id": info.version_id,
        "workflow_id": workflow_id,
        "trigger_source": info.trigger.source,
    }


def listed(info: InstanceInfo, workflow_id: str) -> dict[str, Any]:
    """Return an instance as a list has it."""
    return {
        **created(info, workflow_id),
        "created_on": when(info.created),
        "modified_on": when(info.modified),
        "started_on": when(info.started),
        "ended_on": when(info.ended),
    }


def instance(info: InstanceInfo, steps: Sequence[StepInfo], *, simple: bool) -> dict[str, Any]:
    """Return an instance with its steps; with `simple`, with their number."""
    shape: dict[str, Any] = {
        "id": info.id,
        "status": str(info.status),
        "success": _SUCCESS.get(info.status),
        "queued": when(info.created),
        "start": when(info.started),
        "end": when(info.ended),
        "trigger": {"source": info.trigger.source},
        "versionId": info.version_id,
        "params": info.params,
        "output": info.output,
        "error": fault(info.error),
        "rollback": None,
        "step_count": len(steps),
        "steps": [] if simple else [step(found) for found in steps],
    }
    if info.rollback:
        shape["rollback"] = {"outcome": info.rollback.outcome, "error": fault(info.rollback.error)}
    if info.trigger.cron:
        shape["schedule"] = {"cron": info.trigger.cron, "scheduledTime": info.trigger.scheduled}
    if info.difference:
        shape["difference"] = {
            "wanted": info.difference.wanted,
            "recorded": info.difference.recorded,
            "reason": info.difference.reason,
        }
    if info.status is Status.TERMINATED and not simple:
        shape["steps"].append({"type": "termination", "trigger": {"source": "api"}})
    return shape


def step(info: StepInfo) -> dict[str, Any]:
    """Return a step. A child is a step of the type `step` with its instance named."""
    shape: dict[str, Any] = {
        "name": f"{info.name}-{info.count}",
        "start": when(info.started),
        "end": when(info.ended),
    }
    if info.type in {"sleep", "wait_for_event"}:
        shape.update(
            type="sleep" if info.type == "sleep" else "waitForEvent",
            end=when(info.ended or info.due),
            finished=bool(info.ended),
            error=fault(info.error),
        )
        if info.type == "wait_for_event":
            shape.update(event_type=info.event_type, output=_text(info.output))
        if info.state == "skipped":
            shape["skipped"] = True
        return shape
    shape.update(
        type="step",
        success=True if info.state in {"completed", "skipped"} else False if info.state == "failed" else None,
        output=_text(info.output),
        config={**_NO_CONFIG, **info.config},
        attempts=[_attempt(found) for found in info.attempts],
    )
    if info.state == "skipped":
        shape["skipped"] = True
    if info.child_instance:
        shape["child"] = {"workflow": info.child_workflow, "instance": info.child_instance}
    return shape


def step_output(info: StepInfo, attempt: int) -> dict[str, Any]:
    """Return a step with its whole output, or one of its attempts."""
    if attempt:
        found = next((one for one in info.attempts if one.number == attempt), None)
        last = found is not None and found.number == info.attempts[-1].number
        wrong = found.error if found else None
        status = "errored" if wrong else _STEP_STATUS[info.state]
        return {
            "status": status,
            "output": info.output if last and not wrong else None,
            "error": fault(wrong),
        }
    shape: dict[str, Any] = {
        "status": _STEP_STATUS[info.state],
        "output": info.output,
        "error": fault(info.error),
    }
    if info.type == "wait_for_event":
        shape["event_type"] = info.event_type
    return shape


def fault(error: Fault | None) -> dict[str, str] | None:
    """Return an error."""
    return None if error is None else {"name": error.name, "message": error.message}


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _attempt(info: AttemptInfo) -> dict[str, Any]:
    success = None if not info.ended else info.error is None
    return {
        "start": when(info.started),
        "end": when(info.ended),
        "success": success,
        "error": fault(info.error),
    }


def _text(output: Any) -> str | None:
    """Return an output as the list of steps has it: text as it is, everything else as JSON, not more than `SHOWN`."""
    if output is None:
        return None
    text = output if isinstance(output, str) else orjson.dumps(output).decode()
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
