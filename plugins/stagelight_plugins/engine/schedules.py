"""Schedules: instances that are created on time.

The id of such an instance is made from its schedule and its time, so a time is never served twice, whatever happens.
Times that passed while nobody was there are served once, by the latest of them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from stagelight_plugins.engine.cron import following
from stagelight_plugins.engine.durations import DAY
from stagelight_plugins.engine.errors import EngineError
from stagelight_plugins.engine.facts import Trigger

if TYPE_CHECKING:
    from stagelight_plugins.engine.control_plane import LocalControlPlane
    from stagelight_plugins.engine.entrypoint import WorkflowEntrypoint
    from stagelight_plugins.engine.house import House
    from stagelight_plugins.engine.timers import Timer
    from stagelight_plugins.engine.workflow import Workflow

LOOK_BACK: Final = 31 * DAY
"""How far back a missed time is looked for, ms."""


@dataclass(slots=True, eq=False)
class Schedules:
    """Creates instances when their time has come."""

    plane: LocalControlPlane
    house: House
    _timers: dict[tuple[int, str], Timer] = field(default_factory=dict[tuple[int, str], "Timer"])
    _served: dict[str, int] | None = None

    def check(self, cls: type[WorkflowEntrypoint]) -> None:
        """Refuse schedules that cannot be understood.

        Raises:
            BadSchedule: One cannot.
        """
        for expression in cls.schedules:
            following(expression, self.house.clock.now())

    def follow(self, workflow: Workflow) -> None:
        """Follow the schedules of a workflow from now on."""
        self.forget(workflow)
        now = self.house.clock.now()
        for expression in workflow.schedules:
            fact = f"schedule {workflow.key} {expression}"
            served = self._facts().get(fact)
            if served is None:
                self._serve(fact, now)
                served = now
            missed = _latest(expression, max(served, now - LOOK_BACK), now)
            if missed is not None:
                self._create(workflow, expression, missed)
            self._arm(workflow, expression, now)

    def forget(self, workflow: Workflow) -> None:
        """Follow the schedules of a workflow no more."""
        for place in [place for place in self._timers if place[0] == workflow.key]:
            self._timers.pop(place).cancel()

    def close(self) -> None:
        """Follow none any more."""
        for timer in self._timers.values():
            timer.cancel()

    def _facts(self) -> dict[str, int]:
        if self._served is None:
            self._served = {
                key: value for key, value in self.house.store.facts().items() if key.startswith("schedule ")
            }
        return self._served

    def _serve(self, fact: str, time: int) -> None:
        self._facts()[fact] = time
        self.house.ledger.edit().facts[fact] = time

    def _arm(self, workflow: Workflow, expression: str, after: int) -> None:
        due = following(expression, after)

        def come() -> None:
            now = self.house.clock.now()
            latest = _latest(expression, due, now) or due
            self._create(workflow, expression, latest)
            self._arm(workflow, expression, max(now, latest))

        self._timers[workflow.key, expression] = self.house.timers.at(due, come)

    def _create(self, workflow: Workflow, expression: str, scheduled: int) -> None:
        """Create the instance of a time; that the time is served is on disk together with it."""
        digest = hashlib.sha256(f"{expression}/{scheduled}".encode()).hexdigest()[:12]
        trigger = Trigger(source="cron", cron=expression, scheduled=scheduled)
        try:
            future = self.house.create(
                workflow, f"cron-{scheduled}-{digest}", None, workflow.retention, trigger
            )
        except (
            EngineError
        ):  # the queue is full, or the disk is: tried again with the next look after a restart
            return
        future.add_done_callback(lambda done: done.exception())
        self._serve(f"schedule {workflow.key} {expression}", scheduled)


def _latest(expression: str, after: int, now: int) -> int | None:
    """Return the latest time of a schedule in a span, None where there is none."""
    found = None
    while (due := following(expression, after)) <= now:
        found = after = due
    return found
