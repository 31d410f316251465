"""The bus of several collectors: one JetStream stream on a NATS server or cluster.

One subject per room, one message per event; the number of an event is its sequence in the stream. Publishing never
waits for the server: what it has not taken waits in the outbox.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Self

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import api
from nats.js.errors import NotFoundError

from stagelight.events import Event
from stagelight_collector.bus.contract import BusAway, BusCounters, BusUnusable, Told
from stagelight_collector.bus.outbox import Letter, NotTaken, Outbox
from stagelight_collector.bus.reader import Reader, words
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
LOSS_SECONDS: Final = 3.0
"""How long after the last loss it is announced; history has taken what was lost by then."""
DUPLICATES_SECONDS: Final = 120
"""Within this time the stream takes the same event once."""
LOOK_SECONDS: Final = 1.0
"""How often losses are looked for."""
CLOSE_SECONDS: Final = 2.0
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")

_log = logging.getLogger(__name__)


class NatsBus:
    """Publishes to a stream, and tells a listener all that is in it."""

    def __init__(
        self,
        address: Address,
        *,
        name: str,
        kept: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counters = BusCounters()
        self.outbox = Outbox(self._send, clock=clock)
        self._address = address
        self._name = name
        self._kept = kept
        self._clock = clock
        # nats-py types only parts of what it gives.
        self._client: Any = Client()
        self._stream: Any = self._client.jetstream(timeout=ANSWER_SECONDS)
        self.reader: Reader | None = None
        self.up = asyncio.Event()
        self._reason = ""
        self._announced = 0
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def open(cls, address: Address, *, name: str, kept: Callable[[], int]) -> Self:
        """Connect, and make the stream if there is none.

        Raises:
            BusUnusable: Nobody answers there, or not as JetStream does.
        """
        bus = cls(address, name=name, kept=kept)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await bus._connect()
            await bus._info()
        except (NatsError, OSError, TimeoutError) as error:
            reason = bus._reason or words(error)
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
            name=f"stagelight-{self._name}",
            connect_timeout=2,
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_SECONDS,
            ping_interval=10,
            error_cb=self._on_error,
            disconnected_cb=self._on_lost,
            reconnected_cb=self._on_back,
        )
        self.up.set()

    async def _on_error(self, error: Exception) -> None:
        self._reason = words(error)
        _log.debug("the bus at %s: %s", self._address.place, self._reason)

    async def _on_lost(self) -> None:
        if self._client.is_closed:
            return
        self.up.clear()
        if self.reader is not None:
            self.reader.break_off()
        _log.warning(
            "the bus at %s is away: viewers see nothing new until it is back; what arrives is kept",
            self._address.place,
        )

    async def _on_back(self) -> None:
        self._reason = ""
        self.up.set()
        _log.info("the bus at %s is back", self._address.place)

    @property
    def problem(self) -> str:
        """Why the bus carries nothing at the moment, in words."""
        if self.up.is_set() and not self.outbox.stalled:
            return ""
        reason = self.outbox.stalled if self.up.is_set() else self._reason or "no connection"
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
        self.reader = Reader(
            self._client, self._stream, self._address, f".{self._name}", listener, self.counters, self._info
        )
        try:
            await self.reader.find_place(after)
        except (NatsError, OSError, TimeoutError) as error:
            raise BusUnusable(f"the bus at {self._address.place} does not answer ({words(error)})") from error
        self._run(self._read(self.reader), "bus-reader")

    async def _read(self, reader: Reader) -> None:
        """Read until cancelled; whatever breaks, go on from the last event."""
        while True:
            await self.up.wait()
            try:
                await reader.find_place()
                await reader.follow()
            except (NatsError, OSError, TimeoutError) as error:
                _log.debug("reading from the bus was interrupted: %s", words(error))
                await asyncio.sleep(RECONNECT_SECONDS)

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

    async def _send(self, letters: Sequence[Letter]) -> None:
        if not self.up.is_set():
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
            raise NotTaken(words(error)) from error
        finally:
            for answer in answers:
                answer.cancel()
                if not answer.cancelled():
                    answer.exception()  # looked at, so that nobody complains of it
        self.counters.published += sum(not answer.duplicate for answer in taken)

    async def doubt(self) -> None:
        """Have every collector look into history, after what was published before."""
        await self.outbox.put([Letter(self._address.control, b'{"doubt":true}')])

    async def _confess(self) -> None:
        """Say that something was lost, when history has it."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
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
        if not self.up.is_set():
            raise BusAway(self.problem)
        try:
            info = await self._info()
            if 0 < after < int(info.state.first_seq) - 1:
                return None
            return await self._collect(run_id, after)
        except (NatsError, OSError, TimeoutError) as error:
            raise BusAway(f"the bus at {self._address.place} does not answer ({words(error)})") from error

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
        if self.reader is not None:
            self.reader.listener.forget(run_id)
        await self.outbox.put([Letter(self._address.control, encode({"forget": run_id}))])
        try:
            await self._stream.purge_stream(self._address.stream, subject=self._subject(run_id))
        except (NatsError, OSError, TimeoutError) as error:
            _log.warning("the bus keeps the deleted run %s for a while: %s", run_id, words(error))

    # --- the end --------------------------------------------------------------------------------------------------

    def _run(self, work: Any, name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    async def close(self) -> None:
        """Hand over what waits, as long as somebody takes it, and disconnect."""
        try:
            if self.up.is_set() and self._tasks:
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
