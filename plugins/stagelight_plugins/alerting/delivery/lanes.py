"""Lanes: each receiver has one of its own, so that one that hangs delays no other.

What a group has to say arrives in its order: a later message waits for the earlier one of the same group, and has it
tried again at once. Groups do not wait for each other.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from stagelight_plugins.alerting.delivery.delivery import LONGEST_WAIT
from stagelight_plugins.errors import DeliveryFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from stagelight_plugins.alerting.delivery.delivery import Delivery
    from stagelight_plugins.alerting.state.store import Store
    from stagelight_plugins.hookspecs import Notifier

AT_ONCE: Final = 4
"""Messages under way to one receiver."""
MOST_WAITING: Final = 1_000
"""Messages that wait for one receiver; beyond it the oldest is given up, which is shown."""
PATIENCE_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 30.0
"""Clocks are set now and then: a wait is never longer than this before the clock is looked at again."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Lane:
    """Delivers to one receiver until cancelled."""

    name: str
    notifier: Notifier
    store: Store
    now: Callable[[], float] = time.time
    chance: Callable[[], float] = random.random
    pace: float = 0.0
    """Seconds between two messages, where the receiver wants no more."""
    disabled: str = ""
    """Why nothing is sent any more, until somebody asks for it."""
    on_disabled: Callable[[str], None] = lambda _reason: None
    sent: int = 0
    failures: int = 0
    given_up: int = 0
    _waiting: list[Delivery] = field(default_factory=list["Delivery"])
    _under_way: dict[str, asyncio.Task[None]] = field(default_factory=dict[str, "asyncio.Task[None]"])
    _woken: asyncio.Event = field(default_factory=asyncio.Event)
    _next: float = 0.0

    @property
    def waiting(self) -> int:
        """How many messages wait or are under way."""
        return len(self._waiting)

    def offer(self, deliveries: Iterable[Delivery]) -> None:
        """Take what is durable already."""
        new = list(deliveries)
        groups = {delivery.group for delivery in new} - self._under_way.keys()
        for earlier in self._waiting:
            if earlier.group in groups:
                earlier.due = min(earlier.due, self.now())
        self._waiting += new
        self._woken.set()

    def retry_now(self) -> None:
        """Try everything that waits; a receiver that was disabled is one again."""
        self.disabled, self._next = "", 0.0
        for delivery in self._waiting:
            delivery.due = min(delivery.due, self.now())
        self._woken.set()

    def find(self, identity: str) -> Delivery | None:
        """Return a message that waits or is under way."""
        return next((each for each in self._waiting if each.id == identity), None)

    async def run(self) -> None:
        """Deliver until cancelled; what is under way then is sent again after the next start."""
        try:
            while True:
                await self._give_up()
                self._start_due()
                self._woken.clear()
                wait = max(0.0, min(LOOK_SECONDS, self._next_due() - self.now()))
                try:
                    async with asyncio.timeout(wait):
                        await self._woken.wait()
                except TimeoutError:
                    continue
        finally:
            for task in self._under_way.values():
                task.cancel()
            await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    def _heads(self) -> list[Delivery]:
        """The first message of each group of which none is under way."""
        heads: dict[str, Delivery] = {}
        for delivery in self._waiting:
            heads.setdefault(delivery.group, delivery)
        return [each for group, each in heads.items() if group not in self._under_way]

    def _next_due(self) -> float:
        if len(self._under_way) >= AT_ONCE:
            return float("inf")
        return max(self._next, min((each.due for each in self._heads()), default=float("inf")))

    def _start_due(self) -> None:
        now = self.now()
        for delivery in sorted(self._heads(), key=lambda each: each.due):
            if len(self._under_way) >= AT_ONCE or now < self._next or delivery.due > now:
                return
            self._next = now + self.pace
            self._under_way[delivery.group] = asyncio.create_task(
                self._deliver(delivery), name=f"alert-{self.name}"
            )

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            await self._try(delivery)
            await self.store.update(delivery)
            if delivery.state != "waiting":
                self._waiting.remove(delivery)
        except Exception:  # noqa: BLE001 - a full disk must not end the lane: it is tried again
            _log.exception("how a message to %s stands could not be written down", self.name)
            delivery.due = self.now() + PATIENCE_SECONDS
        finally:
            self._under_way.pop(delivery.group, None)
            self._woken.set()

    async def _try(self, delivery: Delivery) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self.notifier.send(delivery.notification)
        except DeliveryFailed as failure:
            self._failed(delivery, failure)
        except TimeoutError:
            self._failed(delivery, DeliveryFailed(f"took more than {PATIENCE_SECONDS:g} s"))
        except Exception as error:  # noqa: BLE001 - a plugin's notifier may raise anything
            # What it says may hold an address or a key: only its name is shown.
            _log.debug("the notifier of %s raised", self.name, exc_info=True)
            self._failed(delivery, DeliveryFailed(f"its notifier raised {type(error).__name__}"))
        else:
            self._sent(delivery)

    def _sent(self, delivery: Delivery) -> None:
        self.sent += 1
        delivery.sent(self.now())
        for other in self._waiting:  # it is back: what waited for hours need not wait on
            other.due = min(other.due, self.now())

    def _failed(self, delivery: Delivery, failure: DeliveryFailed) -> None:
        self.failures += 1
        _log.warning("receiver %s: %s", self.name, failure)
        if failure.gone and not self.disabled:
            self.disabled = f"{failure} (it wants no more messages)"
            self.on_disabled(self.disabled)
        self._next = max(self._next, self.now() + min(failure.retry_after, LONGEST_WAIT))
        delivery.failed(
            str(failure), failure.status, self.now(),
            wait=failure.retry_after, chance=self.chance(), final=failure.final or failure.gone,
        )  # fmt: skip

    async def _give_up(self) -> None:
        """Give up what is too much, or all where the receiver wants nothing: seen, and there to be retried."""
        idle = [each for each in self._waiting if each.group not in self._under_way]
        over = len(idle) if self.disabled else max(0, len(self._waiting) - MOST_WAITING)
        why = self.disabled or f"more than {MOST_WAITING} messages waited"
        if not over:
            return
        gone = idle[:over]
        for delivery in gone:
            delivery.failed(why, 0, self.now(), wait=0.0, chance=0.0, final=True)
        self.given_up += len(gone)
        known = {delivery.id for delivery in gone}
        self._waiting = [delivery for delivery in self._waiting if delivery.id not in known]
        await self.store.update(*gone)
