"""Actions: what people can do to an instance from an alert's links."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stagelight_plugins.engine.errors import EngineError
from stagelight_plugins.engine.facts import APPROVAL, From, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stagelight_plugins.engine.contract import ControlPlane
    from stagelight_plugins.engine.facts import StepInfo

_QUESTION: Final = ("approve", "reject")
_FAILURE: Final = ("retry", "skip")


@dataclass(slots=True)
class InstanceActions:
    """Offers approve and reject to an instance that waits for them, retry and skip to one that failed."""

    plane_of: Callable[[], ControlPlane | None]

    async def offered(self, workflow: str, run_id: str) -> Sequence[str]:
        """Return what can be done now; nothing for a run that is no instance."""
        plane = self.plane_of()
        if plane is None:
            return ()
        try:
            info = await plane.get(workflow, run_id)
            steps = await plane.steps(workflow, run_id)
        except EngineError:
            return ()
        if info.status is Status.ERRORED:
            return _FAILURE if _failed(steps) else ("retry",)
        waits = info.status is Status.WAITING and any(
            step.state == "waiting" and step.event_type == APPROVAL for step in steps
        )
        return _QUESTION if waits else ()

    async def act(self, action: str, workflow: str, run_id: str, *, step: str = "", reason: str = "") -> str:
        """Do it, and say what was done."""
        del step  # the instance knows best which one failed
        plane = self.plane_of()
        if plane is None:
            raise ValueError("the engine does not run")
        try:
            return await _act(plane, action, workflow, run_id, reason)
        except EngineError as error:
            raise ValueError(str(error)) from error


async def _act(plane: ControlPlane, action: str, workflow: str, run_id: str, reason: str) -> str:
    if action == "approve":
        await plane.approve(workflow, run_id, reason=reason)
        return f"{workflow} {run_id} was approved and goes on."
    if action == "reject":
        await plane.reject(workflow, run_id, reason=reason)
        return f"{workflow} {run_id} was rejected."
    failed = _failed(await plane.steps(workflow, run_id))
    if action == "retry":
        again = From(failed.name, failed.count, failed.type) if failed else None
        await plane.restart(workflow, run_id, again)
        return f"{workflow} {run_id} tries again" + (f" from {failed.name}." if failed else ".")
    if failed is None:
        raise ValueError("no step of it has failed")
    await plane.skip(workflow, run_id, failed.name, count=failed.count)
    return f"{workflow} {run_id} goes on without {failed.name}."


def _failed(steps: Sequence[StepInfo]) -> StepInfo | None:
    """Return the step that failed last."""
    return next((step for step in reversed(steps) if step.state == "failed"), None)
