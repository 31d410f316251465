"""A room: the state of one run, and the channel that tells of its changes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stagelight_collector.rooms import view
from stagelight_collector.rooms.channel import Channel

if TYPE_CHECKING:
    from stagelight.events import Event
    from stagelight_collector.rooms.state import Change, Run, Step


def encode(data: Any) -> str:
    """Return one line of JSON. Text that UTF-8 cannot carry (lone surrogates) stays escaped."""
    return json.dumps(data, separators=(",", ":"), default=str)


@dataclass(slots=True)
class Room:
    """One run while it is in memory."""

    run: Run
    channel: Channel = field(default_factory=Channel)
    whole: bool = True
    """Whether memory holds all of the run; False while earlier events may lie in history alone."""
    touched: float = 0.0
    """When the last event came, in seconds of the hub's clock."""
    watched: float = float("-inf")
    """When the last viewer left."""
    _steps: dict[str, str] = field(default_factory=dict[str, str])

    def apply(self, event: Event) -> Change:
        """Take an event; return what changed."""
        change = self.run.apply(event)
        if change.step is not None:
            self._steps.pop(change.step.id, None)
        return change

    def describe(self, event: Event, change: Change) -> str:
        """Return the message of an event: what happened, and the new state of what it happened to."""
        return (
            f'{{"room":{encode(self.run.id)},"run":{encode(view.run_view(self.run))},'
            f'"step":{self._step(change.step) if change.step else "null"},'
            f'"log":{encode(view.log_view(change.log)) if change.log else "null"},'
            f'"event":{encode(event.to_dict())}}}'
        )

    def snapshot(self) -> str:
        """Return the whole state as one message. Unchanged steps are not encoded again."""
        steps = ",".join(self._step(step) for step in view.in_order(self.run.steps))
        logs = encode([view.log_view(line) for line in self.run.logs])
        return (
            f'{{"room":{encode(self.run.id)},"run":{encode(view.run_view(self.run))},"steps":[{steps}],'
            f'"logs":{logs},"truncated":{encode(view.truncated_view(self.run))}}}'
        )

    def _step(self, step: Step) -> str:
        encoded = self._steps.get(step.id)
        if encoded is None:
            encoded = self._steps[step.id] = encode(view.step_view(step))
        return encoded
