"""How everything outside talks to the engine: one Protocol, `ControlPlane`; `facts` has the data that it takes and gives.

Every method that changes something returns when the change is durable, and raises an error of `errors` before
anything was changed. All methods belong to one event loop, that of the engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

from stagelight_plugins.engine.facts import APPROVAL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

    from stagelight_plugins.engine.entrypoint import WorkflowEntrypoint
    from stagelight_plugins.engine.facts import (
        BatchResult,
        EventName,
        From,
        Health,
        InstanceEvent,
        InstanceInfo,
        InstancePage,
        NewInstance,
        QueueFigures,
        Status,
        StepInfo,
        Trigger,
        VersionInfo,
        WorkflowInfo,
    )


class ControlPlane(Protocol):
    """Everything that can be asked of the engine.

    Whatever names a workflow raises `WorkflowNotFound`, whatever names an instance `InstanceNotFound`.
    """

    # --- workflows ------------------------------------------------------------------------------------------------

    async def register(self, *classes: type[WorkflowEntrypoint]) -> list[WorkflowInfo]:
        """Make workflows known, or known anew after their code has changed; instances that wait go on under the new code.

        Raises:
            BadWorkflow, BadName, BadSchedule: A class cannot be used; none of them was registered.
        """
        ...

    async def workflows(self) -> list[WorkflowInfo]:
        """Return all workflows that were ever registered, by name."""
        ...

    async def workflow(self, name: str) -> WorkflowInfo:
        """Return one workflow."""
        ...

    async def versions(self, workflow: str) -> list[VersionInfo]:
        """Return the versions of a workflow, the newest first."""
        ...

    async def delete_workflow(self, workflow: str) -> None:
        """Forget a workflow, its instances and its versions. Running instances are terminated first, without rollback."""
        ...

    # --- instances ------------------------------------------------------------------------------------------------

    async def create(
        self,
        workflow: str,
        params: Any = None,
        *,
        id: str | None = None,  # noqa: A002 - the word of the public API
        retention: str | int | None = None,
        trigger: Trigger | None = None,
    ) -> InstanceInfo:
        """Create an instance; when this returns it exists, and will run whatever happens.

        Raises:
            InstanceExists: The id is in use.
            BadName, BadValue, TooLarge, BadDuration: An argument is wrong.
            LimitReached: The queue is full, or instances are created faster than allowed (`retry_after`).
            StoreUnavailable: The disk cannot be written.
        """
        ...

    async def create_batch(self, workflow: str, instances: Sequence[NewInstance]) -> BatchResult:
        """Create 1 to 100 instances in one transaction; those that cannot be created do not hinder the others.

        Raises:
            LimitReached: There are none, or more than 100; or the queue is full.
        """
        ...

    async def get(self, workflow: str, instance_id: str) -> InstanceInfo:
        """Return an instance. The id `latest` is the one that was created last, unless an instance has this id."""
        ...

    async def steps(self, workflow: str, instance_id: str) -> list[StepInfo]:
        """Return the steps of an instance in the order in which they began, since its last restart."""
        ...

    async def list(
        self,
        workflow: str,
        *,
        status: Collection[Status] = (),
        created_from: int = 0,
        created_to: int = 0,
        direction: Literal["asc", "desc"] = "desc",
        limit: int = 50,
        cursor: str = "",
    ) -> InstancePage:
        """Return instances in the order of their creation.

        Pages are consistent while instances come and go: none that exists all the while is left out or comes twice.

        Args:
            workflow: The workflow's name.
            status: Only these; empty for all.
            created_from: Only those created at or after this time; 0 for all.
            created_to: Only those created before this time; 0 for all.
            direction: The newest first, or the oldest.
            limit: How many a page has, 1 to 100.
            cursor: `next` or `previous` of a page; carries the filters of that page.

        Raises:
            Invalid: The cursor is none of ours, or the limit is out of range.
        """
        ...

    async def pause(self, workflow: str, instance_id: str) -> InstanceInfo:
        """Pause: what runs in a step ends first (`waitingForPause`); sleeps and waits for a retry are cut at once.

        Raises:
            WrongState: It has ended, is paused already, or rolls back.
        """
        ...

    async def resume(self, workflow: str, instance_id: str) -> InstanceInfo:
        """Resume a paused instance, or take back a pause that has not come yet.

        Raises:
            WrongState: It is not paused.
        """
        ...

    async def restart(self, workflow: str, instance_id: str, from_step: From | None = None) -> InstanceInfo:
        """Begin again with the same params, in whatever state it is; or from a step, reusing what was done before it.

        Raises:
            StepNotFound: There is no such step; nothing was changed.
        """
        ...

    async def terminate(self, workflow: str, instance_id: str, *, rollback: bool = False) -> InstanceInfo:
        """End an instance, after running its rollback handlers where asked for (status `rollingBack` until they are done).

        Raises:
            WrongState: It has ended already.
        """
        ...

    async def terminate_all(self, workflow: str) -> int:
        """Terminate every instance that has not ended, without rollback. Return how many there were."""
        ...

    async def send_event(self, workflow: str, instance_id: str, event_type: str, payload: Any = None) -> None:
        """Send an event; it is kept in the queue of its type until a step waits for it, and feeds one waiter.

        Raises:
            WrongState: The instance has ended.
            BadName, BadValue, TooLarge: The type or the payload is wrong.
            LimitReached: Too many events wait.
        """
        ...

    async def skip(
        self, workflow: str, instance_id: str, step: str, output: Any = None, *, count: int = 1
    ) -> InstanceInfo:
        """Give a step this output without running it.

        One that failed (the instance goes on from there), one that runs, sleeps or waits now, or, by its name, one
        that has not begun. For a wait, the output is the payload of the event.

        Raises:
            WrongState: The step has completed, or the instance is complete or terminated.
            BadName, BadValue, TooLarge: An argument is wrong.
        """
        ...

    async def approve(
        self,
        workflow: str,
        instance_id: str,
        *,
        reason: str = "",
        metadata: Any = None,
        event_type: str = APPROVAL,
    ) -> None:
        """Send the event `{"approved": true, "reason", "metadata"}`, for which `wait_for_approval` waits."""
        ...

    async def reject(
        self,
        workflow: str,
        instance_id: str,
        *,
        reason: str = "",
        metadata: Any = None,
        event_type: str = APPROVAL,
    ) -> None:
        """Send the event `{"approved": false, "reason", "metadata"}`: `wait_for_approval` raises `Rejected`."""
        ...

    async def delete(self, workflow: str, instance_id: str) -> None:
        """Forget an instance; one that has not ended is stopped, without rollback."""
        ...

    async def delete_batch(self, workflow: str, instance_ids: Sequence[str]) -> BatchResult:
        """Forget 1 to 100 instances; those that are not there are reported with code 10400.

        Raises:
            LimitReached: There are none, or more than 100.
        """
        ...

    # --- what is seen ---------------------------------------------------------------------------------------------

    async def queue(self, workflow: str) -> QueueFigures:
        """Return the figures of a workflow's queue and slots."""
        ...

    def subscribe(
        self, workflow: str, instance_id: str, *, cursor: int = 0, types: Collection[EventName] = ()
    ) -> AsyncIterator[InstanceEvent]:
        """Yield what happened to an instance after the cursor, then what happens, until it has ended or is deleted.

        Events that the filter leaves out are not yielded, but for the last one (`LAST_EVENTS`). An instance that was
        restarted goes on being told. Closing the iterator ends the subscription.
        """
        ...

    def health(self) -> Health:
        """Return whether the engine can do its work, and its counters."""
        ...
