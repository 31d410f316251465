"""What a user writes: a class with `run(event, step)`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from stagelight_plugins.engine.step import Step

P = TypeVar("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What started an instance on time."""

    cron: str
    scheduled_time: datetime
    """The time that the schedule named, not that at which the instance was created; aware, UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowEvent(Generic[P]):
    """What an instance was started with. Do not change the payload: after a restart it is read again as it was."""

    payload: P
    timestamp: datetime
    """When the instance was created; aware, UTC."""
    instance_id: str
    workflow_name: str
    schedule: Schedule | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedEvent:
    """An event that a step waited for."""

    type: str
    payload: Any
    timestamp: datetime
    """When it was sent; aware, UTC."""


class WorkflowEntrypoint(ABC):
    """A workflow: durable steps in ordinary Python.

    ```python
    class Onboarding(WorkflowEntrypoint):
        async def run(self, event, step):
            user = await step.do("create user", create_user)
            await step.sleep("let them look around", "1 day")
            await step.do("send tips", lambda: send_tips(user))
    ```

    After a crash, a sleep or a wait, `run` is called again from its start; steps that have completed give their results
    without running again. So: what has effects or is not the same each time belongs in a step, and steps have the same
    names in the same order each time. One object of the class is made for each call of `run`, without arguments.
    """

    name: ClassVar[str] = ""
    """The workflow's name; the class's own where it is empty. 64 characters at most."""
    schedules: ClassVar[Sequence[str]] = ()
    """Cron expressions, in UTC; each starts an instance on time."""
    concurrency: ClassVar[int | None] = None
    """How many instances may run at once; others queue. None: as many as the account allows."""
    retention: ClassVar[str | int | None] = None
    """How long an instance is kept after its end; a duration. None: the setting of the engine."""

    @abstractmethod
    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        """Do the work. What it returns, as JSON, is the output of the instance; what it raises fails it."""
