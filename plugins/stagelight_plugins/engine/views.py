"""Engines as the outside sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from stagelight_plugins.engine.facts import (
    AttemptInfo,
    Difference,
    Fault,
    InstanceInfo,
    RollbackInfo,
    Status,
    StepInfo,
    Trigger,
)
from stagelight_plugins.engine.memory import fresh
from stagelight_plugins.engine.values import REDACTED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stagelight_plugins.engine.memory import Attempt, StepMemory
    from stagelight_plugins.engine.store import Row


def fault_of(error: Mapping[str, Any] | None) -> Fault | None:
    """Return an error as the outside sees it."""
    return None if error is None else Fault(name=error.get("name", ""), message=error.get("message", ""))


def instance_of(row: Row, workflow: str, version_id: str) -> InstanceInfo:
    """Return what a row says."""
    notes: dict[str, Any] = orjson.loads(row.notes) if row.notes else {}
    status = Status(row.status)
    rollback, difference = notes.get("rollback"), notes.get("difference")
    return InstanceInfo(
        workflow=workflow,
        id=row.id,
        status=status,
        version_id=version_id,
        created=row.created,
        modified=row.modified,
        started=row.started,
        ended=row.ended,
        expires=row.ended + row.retention if status.ended else 0,
        trigger=Trigger(**orjson.loads(row.origin)) if row.origin else Trigger(),
        params=orjson.loads(row.params) if row.params is not None else None,
        output=orjson.loads(row.output) if row.output is not None else None,
        error=fault_of(notes.get("error")),
        rollback=None
        if not rollback
        else RollbackInfo(outcome=rollback["outcome"], error=fault_of(rollback.get("error"))),
        difference=Difference(**difference) if difference else None,
        wakes=(row.alarm or 0) if status is Status.WAITING else 0,
    )


def step_of(step: StepMemory) -> StepInfo:
    """Return what is remembered of a step."""
    return StepInfo(
        name=step.key.name,
        count=step.key.number,
        type=step.key.type,
        state=step.state,
        started=step.started,
        ended=step.ended,
        config=step.config,
        attempts=tuple(_attempt_of(attempt) for attempt in step.attempts),
        output=REDACTED if step.sensitive and step.output is not None else fresh(step.output),
        error=fault_of(step.error),
        due=step.due,
        event_type=step.event_type,
        child_workflow=step.child[0],
        child_instance=step.child[1],
        rollback=step.rollback,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - the memory writes no other words
    )


def _attempt_of(attempt: Attempt) -> AttemptInfo:
    return AttemptInfo(
        number=attempt.number,
        started=attempt.started,
        ended=attempt.ended,
        error=fault_of(attempt.error),
        retry_at=attempt.retry_at,
    )
