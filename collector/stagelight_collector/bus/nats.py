"""The bus of several collectors: one JetStream stream on a NATS server or cluster.

One subject per room, one message per event; the number of an event is its sequence in the stream. Each collector reads
the whole stream with a consumer of its own, without acknowledgements, and looks at the sequence of every message: what
the client dropped is read again, what the stream has forgotten is told as a gap. A consumer is made anew whenever the
link was lost, so nothing depends on what the server remembers of it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import time
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Self, cast

import nats
from nats.errors import Error as NatsError
from nats.js import api
from nats.js.errors import NotFoundError

from stagelight.events import Event
from stagelight_collector.bus.contract import BusAway, BusCounters, BusUnusable, Told
from stagelight_collector.bus.outbox import Letter, NotTaken, Outbox
from stagelight_collector.encoding import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stagelight_collector.bus.address import Address
    from stagelight_collector.bus.contract import Listener
    from stagelight_plugins.hookspecs import Batch

CONNECT_SECONDS: Final = 5.0
"""How long a start waits for the server."""
ANSWER_SECONDS: Final = 5.0
"""How long the server may take to answer; then it counts as away."""
RECONNECT_SECONDS: Final = 0.25
HEARTBEAT_SECONDS: Final = 1.0
"""How often an idle stream says that it is there; after five of silence the consumer is made anew."""
RECENT: Final = 5_000
"""How many of the latest events a collector reads at its start: those that history may not have yet."""
LOSS_SECONDS: Final = 3.0
"""How long after the last loss it is announced; history has taken what was lost by then."""
DUPLICATES_SECONDS: Final = 120
"""Within this time the stream takes the same event once."""
CLOSE_SECONDS: Final = 2.0
PORTION: Final = 200
"""How many events are told before others get their turn on the event loop."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Link:
    """One consumer: what was heard through it."""

    heard: float
    sequence: int = 0
    broken: asyncio.Event = field(default_factory=asyncio.Event)


class NatsBus:
    """Publishes to a stream, and tells a listener all that is in it."""

    def __init__(
        self,
        address: Address,
        *,
        token: str,
        kept: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counters = BusCounters()
        self.outbox = Outbox(self._send, clock=clock)
        self._address = address
        self._token = token
        self._kept = kept
        self._clock = clock
        # nats-py types only parts of what it gives.
        self._client: Any = nats.NATS()
        self._stream: Any = self._client.jetstream(timeout=ANSWER_SECONDS)
        self._listener: Listener | None = None
        self._epoch = ""
        self._number = 0
        self._link: _Link | None = None
        self._up = asyncio.Event()
        self._reason = ""
        self._announced = 0
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def open(cls, address: Address, *, token: str, kept: Callable[[], int]) -> Self:
        """Connect, and make the stream if there is none.

        Raises:
            BusUnusable: Nobody answers there, or not as JetStream does.
        """
        bus = cls(address, token=token, kept=kept)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await bus._connect()
            await bus._info()
        except (NatsError, OSError, TimeoutError) as error:
            reason = bus._reason or _words(error)
            await bus.close()
            raise BusUnusable(
                f"the bus at {address.place} cannot be used ({reason}); start `nats-server -js` there, or mend `bus`"
            ) from error
        bus._run(bus.outbox.run(), "bus-outbox")
        bus._run(bus._confess(), "bus-losses")
        return bus

    # --- the link -------------------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        await self._client.connect(
            servers=list(self._address.servers),
            name=f"stagelight-{self._token}",
            connect_timeout=2,
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_SECONDS,
            ping_interval=10,
            error_cb=self._on_error,
            disconnected_cb=self._on_lost,
            reconnected_cb=self._on_back,
        )
        self._up.set()

    async def _on_error(self, error: Exception) -> None:
        self._reason = _words(error)
        _log.debug("the bus at %s: %s", self._address.place, self._reason)

    async def _on_lost(self) -> None:
        if self._client.is_closed:
            return
        self._up.clear()
        if self._link is not None:
            self._link.broken.set()
        _log.warning(
            "the bus at %s is away: viewers see nothing new until it is back; what arrives is kept",
            self._address.place,
        )

    async def _on_back(self) -> None:
        self._reason = ""
        self._up.set()
        _log.info("the bus at %s is back", self._address.place)

    @property
    def problem(self) -> str:
        """Why the bus carries nothing at the moment, in words."""
        if self._up.is_set() and not self.outbox.stalled:
            return ""
        reason = self.outbox.stalled if self._up.is_set() else self._reason or "no connection"
        return (
            f"the bus at {self._address.place} is away ({reason}): viewers see nothing new until it is back"
        )

    @property
    def waiting(self) -> int:
        """How many events of this collector the bus has yet to take."""
        return len(self.outbox)

    async def _info(self) -> Any:
        """Return what the server says of the stream, which is made where there is none."""
        try:
            return await self._stream.stream_info(self._address.stream)
        except NotFoundError:
            return await self._stream.add_stream(self._config())

    def _config(self) -> api.StreamConfig:
        address = self._address
        return api.StreamConfig(
            name=address.stream,
            description="Events of Stagelight's collectors, one subject per run",
            subjects=[f"{address.stream}.>"],
            storage=api.StorageType.FILE,
            num_replicas=address.replicas,
            max_age=address.keep_seconds,
            max_bytes=address.keep_bytes,
            duplicate_window=min(DUPLICATES_SECONDS, address.keep_seconds),
        )

    # --- reading --------------------------------------------------------------------------------------------------

    async def subscribe(self, listener: Listener, after: int | None = None) -> None:
        """Tell a listener everything after a number; without one, from a little before now on."""
        self._listener = listener
        try:
            await self._find_place(after)
        except (NatsError, OSError, TimeoutError) as error:
            raise BusUnusable(
                f"the bus at {self._address.place} does not answer ({_words(error)})"
            ) from error
        self._run(self._read(), "bus-reader")

    async def _find_place(self, after: int | None = None) -> None:
        """See where the stream stands, and whether we can go on from where we are."""
        info = await self._info()
        first, last = int(info.state.first_seq), int(info.state.last_seq)
        epoch = f"{int(info.created.timestamp() * 1e6):x}"
        known = self._epoch.partition("r")[0]
        listener = self._heard_by()
        if known != epoch or last < self._number:
            # Another stream; or one that has lost its latest, and will give their numbers to others.
            self._epoch = epoch if known != epoch else f"{epoch}r{secrets.token_hex(2)}"
            start = last - RECENT if after is None else after
            self._number = max(0, first - 1, min(start, last))
            listener.begin(f"{self._epoch}.{self._token}", self._number)
            if after is not None and after < self._number:
                self._tear()
        elif self._number < first - 1:
            self._number = first - 1
            self._tear()

    def _tear(self) -> None:
        self.counters.torn += 1
        _log.warning("the bus has forgotten events that were not read yet; every viewer is given all afresh")
        self._heard_by().tear()

    def _heard_by(self) -> Listener:
        if self._listener is None:
            raise RuntimeError("nobody listens: call `subscribe` first")
        return self._listener

    async def _read(self) -> None:
        """Read until cancelled; whatever breaks, go on from the last event."""
        while True:
            await self._up.wait()
            try:
                await self._find_place()
                await self._follow()
            except (NatsError, OSError, TimeoutError) as error:
                _log.debug("reading from the bus was interrupted: %s", _words(error))
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _follow(self) -> None:
        link = self._link = _Link(self._clock())
        inbox = self._client.new_inbox()
        subscription = await self._client.subscribe(inbox, cb=partial(self._hear, link))
        try:
            await self._stream.add_consumer(
                self._address.stream,
                api.ConsumerConfig(
                    deliver_subject=inbox,
                    deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE,
                    opt_start_seq=self._number + 1,
                    ack_policy=api.AckPolicy.NONE,
                    flow_control=True,
                    idle_heartbeat=HEARTBEAT_SECONDS,
                    inactive_threshold=30,
                    mem_storage=True,
                    num_replicas=1,
                ),
            )
            await self._until_broken(link)
        finally:
            link.broken.set()
            if not self._client.is_closed:
                await subscription.unsubscribe()

    async def _until_broken(self, link: _Link) -> None:
        while not link.broken.is_set():
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await link.broken.wait()
            except TimeoutError:
                if self._clock() - link.heard > 5 * HEARTBEAT_SECONDS:
                    return

    async def _hear(self, link: _Link, message: Any) -> None:
        if link.broken.is_set():
            return
        link.heard = self._clock()
        if not message.reply.startswith("$JS.ACK."):
            await self._answer(message)
            return
        place = message.metadata.sequence
        if place.consumer != link.sequence + 1:
            link.broken.set()  # dropped on this side of the wire: it is read again
            return
        link.sequence = place.consumer
        if place.stream > self._number + 1:
            self._tear()
        self._number = place.stream
        self._take(message.subject, message.data)
        if link.sequence % PORTION == 0:
            await asyncio.sleep(0)

    async def _answer(self, message: Any) -> None:
        """Answer flow control: a request for it, or a heartbeat that says that an answer is missing."""
        stalled = (message.headers or {}).get("Nats-Consumer-Stalled")
        if subject := message.reply or stalled:
            await self._client.publish(subject)

    def _take(self, subject: str, data: bytes) -> None:
        listener = self._heard_by()
        try:
            content = cast("dict[str, Any]", json.loads(data))
            if subject == self._control:
                self._obey(listener, content)
            else:
                listener.take(Event.from_dict(content), 0, self._number)
                self.counters.heard += 1
        except (ValueError, KeyError, TypeError, AttributeError):
            self.counters.unreadable += 1
            _log.warning("message %d on the bus is no event; it is left out", self._number)

    def _obey(self, listener: Listener, content: dict[str, Any]) -> None:
        if run_id := content.get("forget"):
            listener.forget(str(run_id))
        elif content.get("doubt"):
            listener.doubt()

    # --- writing --------------------------------------------------------------------------------------------------

    async def publish(self, batch: Batch) -> None:
        """Hand over the events of a batch; return when they wait in the outbox, or are lost."""
        letters = [self._letter(event) for event in batch.events]
        most = int(self._client.max_payload) - 1_024
        for letter in letters:
            if len(letter.data) > most:
                _log.warning("an event of %d bytes is too long for the bus", len(letter.data))
                self.outbox.lose(batch.seq)
        await self.outbox.put([letter for letter in letters if len(letter.data) <= most], batch.seq)

    def _letter(self, event: Event) -> Letter:
        fact = encode(event.to_dict())
        data = fact[:-1] + b',"received":%d}' % event.received
        return Letter(self._subject(event.run_id), data, blake2b(fact, digest_size=16).hexdigest())

    def _subject(self, run_id: str) -> str:
        plain = _PLAIN.fullmatch(run_id)
        token = (
            run_id if plain else "~" + blake2b(run_id.encode(errors="replace"), digest_size=16).hexdigest()
        )
        return f"{self._address.stream}.room.{token}"

    @property
    def _control(self) -> str:
        return f"{self._address.stream}.control"

    async def _send(self, letters: Sequence[Letter]) -> None:
        if not self._up.is_set():
            raise NotTaken(self._reason or "no connection")
        answers: list[asyncio.Future[Any]] = []
        try:
            for letter in letters:
                headers = {"Nats-Msg-Id": letter.id} if letter.id else None
                answers.append(
                    await self._stream.publish_async(
                        letter.subject, letter.data, stream=self._address.stream, headers=headers
                    )
                )
            async with asyncio.timeout(ANSWER_SECONDS):
                taken = await asyncio.gather(*answers)
        except (NatsError, OSError, TimeoutError) as error:
            raise NotTaken(_words(error)) from error
        finally:
            for answer in answers:
                answer.cancel()
                answer.cancelled() or answer.exception()  # looked at, so that nobody complains of it
        self.counters.published += sum(not answer.duplicate for answer in taken)

    async def doubt(self) -> None:
        """Have every collector look into history, after what was published before."""
        await self.outbox.put([Letter(self._control, b'{"doubt":true}')])

    async def _confess(self) -> None:
        """Say that something was lost, when history has it."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            self.counters.lost = lost = self.outbox.lost
            quiet = self._clock() - self.outbox.lost_at > LOSS_SECONDS
            if lost > self._announced and quiet and self._kept() >= self.outbox.lost_seq and not self.problem:
                self._announced = lost
                _log.warning("%d events never reached the bus; rooms are completed from history", lost)
                await self.doubt()

    # --- rooms ----------------------------------------------------------------------------------------------------

    async def snapshot(self, run_id: str, after: int = 0) -> list[Told] | None:
        """Return what the stream still has of a run after a number; None where it has forgotten some of that.

        Raises:
            BusAway: It cannot be reached.
        """
        if not self._up.is_set():
            raise BusAway(self.problem)
        try:
            info = await self._info()
            if 0 < after < int(info.state.first_seq) - 1:
                return None
            return await self._collect(run_id, after)
        except (NatsError, OSError, TimeoutError) as error:
            raise BusAway(f"the bus at {self._address.place} does not answer ({_words(error)})") from error

    async def _collect(self, run_id: str, after: int) -> list[Told]:
        inbox = self._client.new_inbox()
        subscription = await self._client.subscribe(inbox)
        try:
            consumer = await self._stream.add_consumer(
                self._address.stream,
                api.ConsumerConfig(
                    deliver_subject=inbox,
                    filter_subject=self._subject(run_id),
                    deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE,
                    opt_start_seq=after + 1,
                    ack_policy=api.AckPolicy.NONE,
                    inactive_threshold=5,
                    mem_storage=True,
                    num_replicas=1,
                ),
            )
            count = int(consumer.num_pending) + int(consumer.delivered.consumer_seq)
            found = [await subscription.next_msg(timeout=ANSWER_SECONDS) for _ in range(count)]
        finally:
            if not self._client.is_closed:
                await subscription.unsubscribe()
        return [
            Told(message.metadata.sequence.stream, Event.from_dict(json.loads(message.data)))
            for message in found
        ]

    async def forget(self, run_id: str) -> None:
        """Let go of a deleted run, everywhere; where the bus is away only here."""
        if self._listener is not None:
            self._listener.forget(run_id)
        await self.outbox.put([Letter(self._control, encode({"forget": run_id}))])
        try:
            await self._stream.purge_stream(self._address.stream, subject=self._subject(run_id))
        except (NatsError, OSError, TimeoutError) as error:
            _log.warning("the bus keeps the deleted run %s for a while: %s", run_id, _words(error))

    # --- the end --------------------------------------------------------------------------------------------------

    def _run(self, work: Any, name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    async def close(self) -> None:
        """Hand over what waits, as long as somebody takes it, and disconnect."""
        try:
            if self._up.is_set() and self._tasks:
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self.outbox.drain()
        except TimeoutError:
            _log.warning("%d events did not reach the bus before the end", len(self.outbox))
        finally:
            await self._end_tasks()
            if not self._client.is_closed:
                await self._client.close()

    async def _end_tasks(self) -> None:
        pending, self._tasks = set(self._tasks), []
        while pending:
            for task in pending:
                task.cancel()  # more than once: nats-py swallows a cancellation while it flushes
            _, pending = await asyncio.wait(pending, timeout=0.1)


def _words(error: BaseException) -> str:
    """Return why something failed, without the prefix of the library."""
    text = str(error).removeprefix("nats: ").strip()
    return text or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
