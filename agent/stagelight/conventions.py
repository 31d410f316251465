"""Names on the wire: attribute keys, event names and the values they take.

Standard library only. There is no stable OpenTelemetry convention for general workflows, so these live in a
namespace of our own; the scope schema URL versions them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

SCOPE_NAME: Final = "stagelight"
"""The instrumentation scope of every span and log record that the agent makes."""

SCHEMA_URL: Final = "https://stagelight.dev/schemas/1.0.0"
"""The schema URL of that scope; its version changes when a key below changes its meaning."""

WORKFLOW_NAME: Final = "workflow.name"
WORKFLOW_VERSION: Final = "workflow.version"
"""Which code runs: a hash of the sources where the agent knows them, else whatever the sender calls its release."""
RUN_ID: Final = "workflow.run.id"
PARENT_RUN_ID: Final = "workflow.parent.run.id"
"""On the span of a child run: the run that started it."""
PARENT_STEP_ID: Final = "workflow.parent.step.id"
"""The step that was current when this step or child run began; absent at the top of a run."""
STEP_NAME: Final = "workflow.step.name"
STEP_ID: Final = "workflow.step.id"
"""The same for every attempt of a step: the hexadecimal span id of its first attempt."""
STEP_KIND: Final = "workflow.step.kind"
STEP_ATTEMPT: Final = "workflow.step.attempt"
"""1 for the first try."""
STATUS: Final = "workflow.status"
PROGRESS_CURRENT: Final = "workflow.progress.current"
PROGRESS_TOTAL: Final = "workflow.progress.total"
SOURCE_PATH: Final = "workflow.source.path"
"""On a source: the file whose text is the body, relative to its project."""
SOURCE_MAIN: Final = "workflow.source.main"
"""On a source: the file that defines the workflow."""
SOURCE_COUNT: Final = "workflow.source.count"
"""On a source: how many files its version has."""
SOURCE_OMITTED: Final = "workflow.source.omitted"
"""On a source without a body: why there is none."""
DROPPED: Final = "workflow.agent.dropped"
"""On a heartbeat: how many records the agent has dropped since it started."""

ERROR_TYPE: Final = "error.type"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"

EVENT_NAME_PREFIX: Final = "workflow."
"""An event of type `step_started` travels as the log record with event name `workflow.step_started`."""

SOURCE_EVENT: Final = "workflow.source"
"""The event name of a log record that carries one file of a workflow's code; it belongs to no run."""

PREFIX: Final = "workflow."
"""Attributes under this prefix are ours; all others are the user's."""


class RunStatus(StrEnum):
    """Where a run is."""

    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    TERMINATED = "terminated"


class StepStatus(StrEnum):
    """Where a step, or one attempt of it, is."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"


class StepKind(StrEnum):
    """What a step does. Other values may arrive; they are shown as they are."""

    DO = "do"
    SLEEP = "sleep"
    WAIT_FOR_EVENT = "wait_for_event"
    CHILD = "child"
    SPAN = "span"
    """Any span of an instrumented program: a step only where its trace is a run already."""


class EventType(StrEnum):
    """The past-tense facts about a run."""

    RUN_CREATED = "run_created"
    RUN_QUEUED = "run_queued"
    RUN_STARTED = "run_started"
    RUN_WAITING = "run_waiting"
    RUN_PAUSED = "run_paused"
    RUN_RESUMED = "run_resumed"
    RUN_COMPLETED = "run_completed"
    RUN_FAILED = "run_failed"
    RUN_TERMINATED = "run_terminated"
    STEP_STARTED = "step_started"
    STEP_COMPLETED = "step_completed"
    STEP_FAILED = "step_failed"
    STEP_SKIPPED = "step_skipped"
    ATTEMPT_STARTED = "attempt_started"
    ATTEMPT_FAILED = "attempt_failed"
    SLEEP_STARTED = "sleep_started"
    SLEEP_COMPLETED = "sleep_completed"
    WAIT_STARTED = "wait_started"
    WAIT_COMPLETED = "wait_completed"
    WAIT_TIMED_OUT = "wait_timed_out"
    ROLLBACK_STARTED = "rollback_started"
    ROLLBACK_COMPLETED = "rollback_completed"
    ROLLBACK_FAILED = "rollback_failed"
    ROLLBACK_STEP_STARTED = "rollback_step_started"
    ROLLBACK_STEP_COMPLETED = "rollback_step_completed"
    ROLLBACK_STEP_FAILED = "rollback_step_failed"
    PROGRESS = "progress"
    LOG = "log"
    HEARTBEAT = "heartbeat"


RUN_ENDS: Final = frozenset({EventType.RUN_COMPLETED, EventType.RUN_FAILED, EventType.RUN_TERMINATED})
"""The terminal events of a run; no filter hides them."""
