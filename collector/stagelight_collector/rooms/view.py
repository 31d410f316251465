"""What viewers are shown of a run: the JSON shapes of the API and the feed (see the collector's README)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stagelight.events import Failure
    from stagelight_collector.rooms.registers import Progress
    from stagelight_collector.rooms.state import LogLine, Run
    from stagelight_collector.rooms.step import Attempt, Step


def ms(time: int | None) -> float | None:
    """Return Unix nanoseconds as Unix milliseconds."""
    return None if time is None else time / 1e6


def run_view(run: Run) -> dict[str, Any]:
    """Return a run without its steps."""
    final = run.final
    ended = final.time if final else None
    return {
        "id": run.id,
        "workflow": run.workflow.value,
        "service": run.service.value,
        "status": run.status.value,
        "started_ms": ms(run.started),
        "ended_ms": ms(ended),
        "duration_ms": _duration(run.started, ended),
        "last_event_ms": ms(run.last),
        "error": _error(final.error if final else None),
        "parent_run_id": run.parent_run.value,
        "parent_step_id": run.parent_step.value,
        "trace_ids": run.trace_ids,
        "attributes": run.attributes.values,
        "dropped_by_agent": run.dropped_by_agent,
        "progress": _progress(run.progress),
        "running_step": run.at,
        "steps": {"total": len(run.steps), **{status.value: count for status, count in run.counts.items()}},
    }


def step_view(step: Step) -> dict[str, Any]:
    """Return a step with its attempts."""
    last, started, ended = step.last, step.started, step.ended
    return {
        "id": step.id,
        "name": step.name.value,
        "kind": step.kind.value or "do",
        "parent_id": step.parent.value,
        "status": step.status.value,
        "started_ms": ms(started),
        "ended_ms": ms(ended),
        "duration_ms": _duration(started, ended),
        "attempt": step.attempt,
        "error": _error(last.ending.error if last.ending else None),
        "progress": _progress(step.progress),
        "attributes": step.attributes.values,
        "child_run_id": step.child_run.value,
        "attempts": [_attempt_view(number, step.attempts[number]) for number in sorted(step.attempts)],
    }


def log_view(line: LogLine) -> dict[str, Any]:
    """Return a log line."""
    return {
        "time_ms": ms(line.time),
        "step_id": line.step_id,
        "severity": line.severity,
        "message": line.message,
        "attributes": dict(line.attributes),
    }


def truncated_view(run: Run) -> dict[str, int]:
    """Return 1 for what the bounds of memory left something out of."""
    return {"steps": int(run.steps_left_out), "logs": int(run.logs_left_out)}


def in_order(steps: dict[str, Step]) -> list[Step]:
    """Return steps in order of start; those that have not started come last, in the order they were heard of."""
    return sorted(
        steps.values(), key=lambda step: (step.started is None, step.started or step.heard, step.id)
    )


def snapshot(run: Run) -> dict[str, Any]:
    """Return everything about a run."""
    return {
        "run": run_view(run),
        "steps": [step_view(step) for step in in_order(run.steps)],
        "logs": [log_view(line) for line in run.logs],
        "truncated": truncated_view(run),
    }


def _attempt_view(number: int, attempt: Attempt) -> dict[str, Any]:
    return {
        "attempt": number,
        "status": attempt.status.value,
        "started_ms": ms(attempt.started),
        "ended_ms": ms(attempt.ending.time if attempt.ending else None),
        "error": _error(attempt.ending.error if attempt.ending else None),
    }


def _duration(started: int | None, ended: int | None) -> float | None:
    return None if started is None or ended is None else max(0, ended - started) / 1e6


def _error(error: Failure | None) -> dict[str, str] | None:
    return error.to_dict() if error else None


def _progress(progress: Progress | None) -> dict[str, Any] | None:
    if progress is None:
        return None
    current = None if progress.current < 0 else progress.current
    return {"current": current, "total": progress.total, "message": progress.message}
