"""The Account: as little as possible for all, asked as seldom as possible.

It knows the workflows and their versions, and owns the Gatekeeper. Whoever creates an instance asks a cache; SousChefs
ask for slots once a cycle, all in one call: neither depends on how many instances are created.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from stagelight_plugins.engine.errors import WorkflowNotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stagelight_plugins.engine.gatekeeper import Gatekeeper, SlotRequest
    from stagelight_plugins.engine.workflow import Workflow


class Plane(StrEnum):
    """The versions of the control plane."""

    V1 = "V1"
    """One AccountOld queues all instances."""
    SOUS_CHEFS = "SOUS_CHEFS"
    """Each instance belongs to one of several SousChefs."""


@dataclass(slots=True, eq=False)
class Account:
    """The workflows, and the slots of all of them."""

    gatekeeper: Gatekeeper
    workflows: dict[str, Workflow] = field(default_factory=dict[str, "Workflow"])
    asked: int = 0
    """How often a cache had to ask."""

    def workflow(self, name: str) -> Workflow:
        """Return a workflow.

        Raises:
            WorkflowNotFound: There is none of that name.
        """
        self.asked += 1
        found = self.workflows.get(name)
        if found is None:
            raise WorkflowNotFound(name, sorted(self.workflows))
        return found

    def slots(self, requests: Sequence[SlotRequest]) -> dict[int, int]:
        """Answer the requests of one cycle."""
        return self.gatekeeper.grant(requests)


@dataclass(slots=True, eq=False)
class VersionCache:
    """Where creates look up workflows; it asks the Account for what it does not know yet."""

    account: Account
    _known: dict[str, Workflow] = field(default_factory=dict[str, "Workflow"])

    def workflow(self, name: str) -> Workflow:
        """Return a workflow, or raise `WorkflowNotFound`."""
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = self.account.workflow(name)
        return found

    def forget(self, name: str) -> None:
        """Ask again next time: the workflow has changed."""
        self._known.pop(name, None)
