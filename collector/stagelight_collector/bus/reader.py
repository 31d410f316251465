"""The reader: all of a JetStream stream, from one place on, in order.

It reads with a consumer of its own, without acknowledgements, and looks at the sequence of every message: what the
client dropped is read again, what the stream has forgotten is told as a gap. The consumer is made anew whenever the link
was lost, so nothing depends on what the server remembers of it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from nats.js import api

from stagelight.events import Event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from stagelight_collector.bus.address import Address
    from stagelight_collector.bus.contract import BusCounters, Listener

HEARTBEAT_SECONDS: Final = 1.0
"""How often an idle stream says that it is there; after five of silence the consumer is made anew."""
RECENT: Final = 5_000
"""How many of the latest events a collector reads at its start: those that history may not have yet."""
PORTION: Final = 200
"""How many events are told before others get their turn on the event loop."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Link:
    """One consumer: what was heard through it."""

    heard: float
    sequence: int = 0
    broken: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True, eq=False)
class Reader:
    """Tells a listener what is in the stream."""

    client: Any
    stream: Any
    """nats-py types only parts of what it gives."""
    address: Address
    suffix: str
    """What tells this collector's epoch from others'."""
    listener: Listener
    counters: BusCounters
    info: Callable[[], Awaitable[Any]]
    """Returns what the server says of the stream."""
    clock: Callable[[], float] = time.monotonic
    number: int = 0
    """The latest that was read."""
    link: Link | None = None
    _epoch: str = ""

    async def find_place(self, after: int | None = None) -> None:
        """See where the stream stands, and whether we can go on from where we are."""
        info = await self.info()
        first, last = int(info.state.first_seq), int(info.state.last_seq)
        epoch = f"{int(info.created.timestamp() * 1e6):x}"
        known = self._epoch.partition("r")[0]
        if known != epoch or last < self.number:
            # Another stream; or one that has lost its latest, and will give their numbers to others.
            self._epoch = epoch if known != epoch else f"{epoch}r{secrets.token_hex(2)}"
            start = last - RECENT if after is None else after
            self.number = max(0, first - 1, min(start, last))
            self.listener.begin(self._epoch + self.suffix, self.number)
            if after is not None and after < self.number:
                self._tear()
        elif self.number < first - 1:
            self.number = first - 1
            self._tear()

    def _tear(self) -> None:
        self.counters.torn += 1
        _log.warning("the bus has forgotten events that were not read yet; every viewer is given all afresh")
        self.listener.tear()

    def break_off(self) -> None:
        """Stop following: the link is gone."""
        if self.link is not None:
            self.link.broken.set()

    async def follow(self) -> None:
        """Read on until the link breaks."""
        link = self.link = Link(self.clock())
        inbox = self.client.new_inbox()
        subscription = await self.client.subscribe(inbox, cb=partial(self._hear, link))
        try:
            await self.stream.add_consumer(self.address.stream, self._consumer(inbox))
            await self._until_broken(link)
        finally:
            link.broken.set()
            if not self.client.is_closed:
                await subscription.unsubscribe()

    def _consumer(self, inbox: str) -> api.ConsumerConfig:
        return api.ConsumerConfig(
            deliver_subject=inbox,
            deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self.number + 1,
            ack_policy=api.AckPolicy.NONE,
            flow_control=True,
            idle_heartbeat=HEARTBEAT_SECONDS,
            inactive_threshold=30,
            mem_storage=True,
            num_replicas=1,
        )

    async def _until_broken(self, link: Link) -> None:
        while not link.broken.is_set():
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await link.broken.wait()
            except TimeoutError:
                if self.clock() - link.heard > 5 * HEARTBEAT_SECONDS:
                    return

    async def _hear(self, link: Link, message: Any) -> None:
        if link.broken.is_set():
            return
        link.heard = self.clock()
        if not message.reply.startswith("$JS.ACK."):
            await self._answer(message)
            return
        place = message.metadata.sequence
        if place.consumer != link.sequence + 1:
            link.broken.set()  # dropped on this side of the wire: it is read again
            return
        link.sequence = place.consumer
        if place.stream > self.number + 1:
            self._tear()
        self.number = place.stream
        self._tell(message.subject, message.data)
        if link.sequence % PORTION == 0:
            await asyncio.sleep(0)

    async def _answer(self, message: Any) -> None:
        """Answer flow control: a request for it, or a heartbeat that says that an answer is missing."""
        headers = cast("dict[str, str]", message.headers or {})
        if subject := message.reply or headers.get("Nats-Consumer-Stalled"):
            await self.client.publish(subject)

    def _tell(self, subject: str, data: bytes) -> None:
        try:
            content = cast("dict[str, Any]", json.loads(data))
            run_id = content.get("forget")
            event = None if subject == self.address.control else Event.from_dict(content)
        except (ValueError, KeyError, TypeError, AttributeError):
            self.counters.unreadable += 1
            _log.warning("message %d on the bus is no event; it is left out", self.number)
            return
        if event is not None:
            self.counters.heard += 1
            self.listener.take(event, 0, self.number)
        elif run_id:
            self.listener.forget(str(run_id))
        else:
            self.listener.doubt()


def words(error: BaseException) -> str:
    """Return why something failed, without the prefix of the library."""
    text = str(error).removeprefix("nats: ").strip()
    return text or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
