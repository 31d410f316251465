"""The migration from control plane V1 to SousChefs, with everything running.

In V1 one AccountOld answered for all instances of a workflow. The tables of an AccountOld and of a SousChef are the same,
so nothing is copied: the AccountOld builds a SousChef inside itself and hands over to it, new instances go to new
SousChefs, and when the retention of its last instance is over the AccountOld retires.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from stagelight_plugins.engine.account import Plane
from stagelight_plugins.engine.errors import WrongControlPlane
from stagelight_plugins.engine.store import WorkflowRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from stagelight_plugins.engine.engine import Engine
    from stagelight_plugins.engine.house import House
    from stagelight_plugins.engine.souschef import SousChef
    from stagelight_plugins.engine.workflow import Workflow

P = ParamSpec("P")
R = TypeVar("R")


def requires_version(
    plane: Plane,
) -> Callable[[Callable[Concatenate[AccountOld, P], R]], Callable[Concatenate[AccountOld, P], R]]:
    """Guard a method of `AccountOld`: it may only be called while this control plane is in force."""

    def guard(method: Callable[Concatenate[AccountOld, P], R]) -> Callable[Concatenate[AccountOld, P], R]:
        @functools.wraps(method)
        def guarded(self: AccountOld, /, *args: P.args, **kwargs: P.kwargs) -> R:
            if self.workflow.plane is not plane:
                raise WrongControlPlane(method.__name__, plane, self.workflow.plane)
            return method(self, *args, **kwargs)

        return guarded

    return guard


@dataclass(slots=True, eq=False)
class AccountOld:
    """What answered for all instances of a workflow under V1, and is a SousChef among others since."""

    house: House
    workflow: Workflow

    @property
    def sous_chef(self) -> SousChef:
        """The SousChef inside; number 0, on the tables that there were."""
        return self.house.chef_of(self.workflow, 0)

    def enqueue(self, engine: Engine, *, woken: bool) -> None:
        """Let an instance wait for a slot; under both control planes."""
        self.sous_chef.enqueue(engine, woken=woken)

    @requires_version(Plane.V1)
    def metadata(self) -> dict[str, int]:
        """Return how many instances there are by status: what only the Account of V1 was asked."""
        return dict(self.workflow.counts)

    @requires_version(Plane.V1)
    def migrate(self) -> None:
        """Put the SousChefs in force: from now on no new instance comes here."""
        workflow = self.workflow
        workflow.plane = Plane.SOUS_CHEFS
        row = WorkflowRow(workflow.key, workflow.id, workflow.name, workflow.created, workflow.plane.value)
        self.house.ledger.edit().workflows.append(row)
        self.house.cache.forget(workflow.name)

    @property
    def retired(self) -> bool:
        """Whether it has nothing to do any more."""
        chef = self.sous_chef
        return self.workflow.plane is Plane.SOUS_CHEFS and not chef.queued and not chef.slots
