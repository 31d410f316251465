"""A delivery: one notification on its way to one receiver, and how often it was tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from stagelight_plugins.hookspecs import AlertView, Notification

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEDULE: Final = (0.0, 5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""Seconds before each try, as Standard Webhooks recommends."""
JITTER: Final = 0.1
"""A wait is longer by up to this part of it, so that what failed together is not tried together."""
LONGEST_WAIT: Final = 86_400.0
"""No receiver can ask for more."""


@dataclass(slots=True)
class Delivery:
    """Times are Unix seconds."""

    id: str
    receiver: str
    group: str
    notification: Notification
    created: float
    state: str = "waiting"
    """`waiting`, `sent`, or `failed`: it will not be tried again unless somebody asks."""
    tries: int = 0
    due: float = 0.0
    ended: float = 0.0
    status: int = 0
    """The HTTP status of the last try."""
    problem: str = ""

    def sent(self, now: float) -> None:
        """Note that the receiver took it."""
        self.state, self.ended, self.problem, self.tries = "sent", now, "", self.tries + 1

    def failed(
        self, problem: str, status: int, now: float, *, wait: float, chance: float, final: bool
    ) -> None:
        """Note that a try failed; plan the next one, unless it was the last.

        Args:
            problem: Why, in one line.
            status: The HTTP status, or 0.
            now: The time.
            wait: Seconds that the receiver asked for.
            chance: A random number from 0 to 1.
            final: Whether another try is of no use.
        """
        self.tries += 1
        self.problem, self.status = problem, status
        if final or self.tries >= len(SCHEDULE):
            self.state, self.ended = "failed", now
        else:
            planned = SCHEDULE[self.tries] * (1 + JITTER * chance)
            self.due = now + max(planned, min(wait, LONGEST_WAIT))

    def again(self, now: float) -> None:
        """Try it again, from the start of the schedule."""
        self.state, self.tries, self.due, self.ended = "waiting", 0, now, 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-compatible data, without what it says in detail."""
        return {
            "id": self.id, "receiver": self.receiver, "state": self.state, "tries": self.tries, "due": self.due,
            "created": self.created, "ended": self.ended, "http_status": self.status, "problem": self.problem,
            "title": self.notification.title, "status": self.notification.status,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what the store kept."""
        said = dict(data["notification"])
        said["alerts"] = tuple(AlertView(**alert) for alert in said["alerts"])
        said["links"] = tuple((str(words), str(address)) for words, address in said["links"])
        given: dict[str, Any] = {**data, "notification": Notification(**said)}
        return cls(**given)
