"""The monitor: workflows and their stages, as *Workflow Live* defines them, and what happened to them as events.

The status rules, the times and the texts of errors are those of the article "Workflow Live: real-time workflow monitoring
on the edge"; where its code contradicts its own page, the page is followed (see the README).
"""

from __future__ import annotations

import time
import uuid
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from stagelight.conventions import EventType
from stagelight.events import Event, Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Status = Literal["pending", "running", "completed", "failed"]
MAX_STAGES: Final = 1_000
MAX_NAME: Final = 1_024
MS: Final = 1_000_000
"""Nanoseconds."""
MAX_WORKFLOWS: Final = 10_000
"""How many workflows are remembered; the run of each stays in history."""
MAX_BYTES: Final = 32 << 20
"""Length of all of them as JSON; as objects they take several times that."""

Name = Annotated[str, Field(max_length=MAX_NAME)]


class NotFound(Exception):
    """There is no such workflow, or no such stage in it; the message is the article's."""


class Changes(BaseModel):
    """What may be changed of a stage; a key that is left out stays as it is. A whole stage may be sent."""

    model_config = ConfigDict(extra="forbid")

    id: str | None = None
    name: Name | None = None
    status: Status | None = None
    startTime: int | float | None = None  # noqa: N815 - the wire's names
    endTime: int | float | None = None  # noqa: N815
    duration: int | float | None = None
    error: str | None = None
    data: JsonValue = None


class NewStage(BaseModel):
    """A stage as it is created: all but the id and the status."""

    model_config = ConfigDict(extra="ignore")

    name: Name
    startTime: int | float | None = None  # noqa: N815
    endTime: int | float | None = None  # noqa: N815
    duration: int | float | None = None
    error: str | None = None
    data: JsonValue = None


class Stage(BaseModel):
    """One stage; times in Unix milliseconds, durations in milliseconds."""

    id: str
    name: str
    status: Status = "pending"
    startTime: int | float | None = None  # noqa: N815
    endTime: int | float | None = None  # noqa: N815
    duration: int | float | None = None
    error: str | None = None
    data: JsonValue = None
    attempt: int = 1
    """How often it has begun; not on the wire."""


class Workflow(BaseModel):
    """One workflow and its stages."""

    id: str
    name: str
    status: Status = "pending"
    stages: list[Stage]
    startTime: int  # noqa: N815
    endTime: int | None = None  # noqa: N815
    duration: int | None = None
    error: str | None = None
    metadata: JsonValue = None

    def to_json(self) -> dict[str, Any]:
        """Return the wire's shape, without what is not set."""
        return self.model_dump(exclude_none=True, exclude={"stages": {"__all__": {"attempt"}}})

    def stage(self, stage_id: object) -> Stage:
        """Return a stage.

        Raises:
            NotFound: There is none of that id.
        """
        for stage in self.stages:
            if stage.id == stage_id:
                return stage
        raise NotFound(f"Stage {stage_id} not found in workflow {self.id}")

    def own(self, stage: Stage) -> Stage:
        """Put a copy in the place of a stage that another copy of this workflow shares; return it."""
        mine = stage.model_copy()
        self.stages = [mine if each is stage else each for each in self.stages]
        return mine

    def status_of_stages(self) -> Status:
        """Return the status that the stages make together: the first rule that holds."""
        statuses = [stage.status for stage in self.stages]
        if all(status == "completed" for status in statuses):
            return "completed"
        if "failed" in statuses:
            return "failed"
        return "running" if "running" in statuses else "pending"


@dataclass(slots=True)
class Monitor:
    """All workflows by id. A change returns the workflow as it will be, and the events that say so; `keep` makes it so.

    Nothing is written to a workflow that is kept, so one whose change could not be made durable is as it was.
    """

    now: Callable[[], int] = time.time_ns
    new_id: Callable[[], str] = lambda: str(uuid.uuid4())
    capacity: int = MAX_WORKFLOWS
    capacity_bytes: int = MAX_BYTES
    forgotten: int = 0
    """How many workflows had to make place for others."""
    _workflows: OrderedDict[str, Workflow] = field(default_factory=OrderedDict[str, Workflow])
    _texts: dict[str, str] = field(default_factory=dict[str, str])
    """Each as JSON, so that a list of all of them costs nobody else any time."""
    _bytes: int = 0
    _gone: list[str] = field(default_factory=list[str])

    def keep(self, workflow: Workflow, text: str) -> None:
        """Remember a workflow and what it is as JSON; the oldest make place."""
        self._bytes += len(text) - len(self._texts.get(workflow.id, ""))
        self._workflows[workflow.id], self._texts[workflow.id] = workflow, text
        while len(self._workflows) > self.capacity or self._bytes > self.capacity_bytes:
            oldest, _ = self._workflows.popitem(last=False)
            self._bytes -= len(self._texts.pop(oldest))
            self._gone.append(oldest)
            self.forgotten += 1

    def take_gone(self) -> list[str]:
        """Return which workflows have made place since the last call."""
        gone, self._gone = self._gone, []
        return gone

    def create(
        self, name: str, stages: list[NewStage], metadata: JsonValue = None
    ) -> tuple[Workflow, list[Event]]:
        """Return a new workflow, everything pending."""
        now = self.now()
        made = [Stage(id=self.new_id(), **stage.model_dump(exclude_unset=True)) for stage in stages]
        workflow = Workflow(id=self.new_id(), name=name, stages=made, startTime=now // MS, metadata=metadata)
        telling = _Telling(workflow, now)
        return workflow, [telling.of_run(EventType.RUN_CREATED), *telling.pending()]

    def start(self, workflow_id: str) -> tuple[Workflow, list[Event]]:
        """Say that a workflow runs."""
        workflow = self._known(workflow_id)
        now, before = self.now(), workflow.status
        workflow.status = "running"
        return workflow, list(_Telling(workflow, now).transition(before))

    def update_stage(
        self, workflow_id: str, stage_id: object, changes: Changes
    ) -> tuple[Workflow, Stage, list[Event]]:
        """Merge changes into a stage; times, and the workflow's status, follow."""
        workflow = self._known(workflow_id)
        stage = workflow.own(workflow.stage(stage_id))
        now, before, stage_before = self.now(), workflow.status, stage.status
        if changes.status == "running" and stage.status in {"completed", "failed"}:
            stage.attempt += 1
        for key in changes.model_fields_set:
            value = getattr(changes, key)
            if key != "id" and (value is not None or key in {"error", "data"}):
                setattr(stage, key, value)
        if changes.status == "running" and not stage.startTime:
            stage.startTime = now // MS
        if changes.status in {"completed", "failed"}:
            stage.endTime = now // MS
            stage.duration = stage.endTime - (stage.startTime or stage.endTime)
        workflow.status = workflow.status_of_stages()
        telling = _Telling(workflow, now)
        return workflow, stage, [*telling.of_stage(stage, stage_before), *telling.transition(before)]

    def complete(self, workflow_id: str, error: str | None) -> tuple[Workflow, list[Event]]:
        """End a workflow, failed where there is an error."""
        workflow = self._known(workflow_id)
        now = self.now()
        workflow.status = "failed" if error else "completed"
        workflow.endTime = now // MS
        workflow.duration = workflow.endTime - workflow.startTime
        workflow.error = error or None
        return workflow, [_Telling(workflow, now).ending()]

    def get(self, workflow_id: str) -> Workflow | None:
        """Return a workflow, None if it is not known."""
        return self._workflows.get(workflow_id)

    def text(self, workflow_id: str) -> str | None:
        """Return a workflow as JSON, None if it is not known."""
        return self._texts.get(workflow_id)

    def texts(self) -> Sequence[str]:
        """Return all workflows as JSON, the oldest first."""
        return [self._texts[each] for each in self._workflows]

    def _known(self, workflow_id: str) -> Workflow:
        workflow = self._workflows.get(workflow_id)
        if workflow is None:
            raise NotFound(f"Workflow {workflow_id} not found")
        return workflow.model_copy()


@dataclass(slots=True)
class _Telling:
    """Makes the events of one change of a workflow."""

    workflow: Workflow
    now: int

    def of_run(self, kind: EventType, error: str | None = None) -> Event:
        return Event(
            type=kind,
            run_id=self.workflow.id,
            time=self.now,
            workflow=self.workflow.name,
            service="workflow-live",
            error=Failure(message=error) if error else None,
        )

    def ending(self) -> Event:
        failed = self.workflow.status == "failed"
        return self.of_run(EventType.RUN_FAILED if failed else EventType.RUN_COMPLETED, self._error())

    def _error(self) -> str | None:
        if self.workflow.status != "failed":
            return None
        first = next((stage.error for stage in self.workflow.stages if stage.status == "failed"), None)
        return self.workflow.error or first or "failed"

    def transition(self, before: Status) -> Iterator[Event]:
        """Say what became of the run, where its status has changed."""
        status = self.workflow.status
        if status == before:
            return
        if status in {"completed", "failed"}:
            yield self.ending()
        elif before in {"completed", "failed"}:
            yield self.of_run(EventType.RUN_RESUMED)
        elif status == "running":
            yield self.of_run(EventType.RUN_STARTED)

    def pending(self) -> Iterator[Event]:
        """Name the stages, a microsecond apart, so that they are shown in their order before they start."""
        for place, stage in enumerate(self.workflow.stages, start=1):
            yield self._step(EventType.PROGRESS, stage, time=self.now + place * 1_000, message="pending")

    def of_stage(self, stage: Stage, before: Status) -> Iterator[Event]:
        """Say what became of a stage; a stage that never said that it runs still has a start."""
        if stage.status == before:
            yield self._step(EventType.PROGRESS, stage, message=stage.status)
            return
        if stage.status == "running" or (before == "pending" and stage.status != "pending"):
            yield self._step(EventType.STEP_STARTED, stage)
        if stage.status == "completed":
            yield self._step(EventType.STEP_COMPLETED, stage)
        elif stage.status == "failed":
            yield self._step(EventType.STEP_FAILED, stage, error=Failure(message=stage.error or "failed"))

    def _step(self, kind: EventType, stage: Stage, *, time: int | None = None, **more: Any) -> Event:
        return Event(
            type=kind,
            run_id=self.workflow.id,
            time=self.now if time is None else time,
            workflow=self.workflow.name,
            service="workflow-live",
            step_id=stage.id,
            step_name=stage.name,
            step_kind="do",
            attempt=stage.attempt,
            **more,
        )
