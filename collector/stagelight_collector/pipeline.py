"""The way of the data: journal, decode, attribution, then rooms, plugin sinks and the archive."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from stagelight_collector.bus.memory import MemoryBus
from stagelight_collector.decode import (
    Decoded,
    Request,
    as_sent,
    decode_logs,
    decode_metrics,
    decode_traces,
    takes_long,
)
from stagelight_collector.journal import Entry, Journal, Signal
from stagelight_plugins.hookspecs import Batch
from stagelight_plugins.otlp import request_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stagelight.events import Event
    from stagelight_collector.archive import Archive
    from stagelight_collector.attribution import Attribution
    from stagelight_collector.bus.contract import Bus
    from stagelight_collector.rooms.hub import Hub
    from stagelight_collector.sinks import SinkRunner
    from stagelight_plugins.hookspecs import Table

CATCH_UP_SECONDS: Final = 5.0
"""How long a sink may take for what waits for it, while the journal is read again."""
QUEUE: Final = 64
"""How many journaled requests wait to be decoded; beyond it, acknowledgements wait."""

_log = logging.getLogger(__name__)


def decode(entry: Entry, request: Request | None = None, *, redact: bool = True) -> Decoded:
    """Decode a journal entry, from its parsed request where that is at hand."""
    if entry.signal is Signal.TRACES:
        traces = request if isinstance(request, ExportTraceServiceRequest) else ExportTraceServiceRequest()
        if request is None:
            traces.ParseFromString(entry.body)
        return decode_traces(traces, entry.received, entry.body, redact=redact)
    if entry.signal is Signal.METRICS:
        metrics = (
            request if isinstance(request, ExportMetricsServiceRequest) else ExportMetricsServiceRequest()
        )
        if request is None:
            metrics.ParseFromString(entry.body)
        return decode_metrics(metrics, entry.body, redact=redact)
    logs = request if isinstance(request, ExportLogsServiceRequest) else ExportLogsServiceRequest()
    if request is None:
        logs.ParseFromString(entry.body)
    return decode_logs(logs, entry.received, entry.body, redact=redact)


def _check(events: Sequence[Event]) -> None:
    if any(not event.run_id for event in events):
        raise ValueError("an event without a run id belongs to no room; give each event its `run_id`")


@dataclass(slots=True)
class Pipeline:
    """Takes what receivers accepted and hands it to all who want it."""

    journal: Journal
    hub: Hub
    attribution: Attribution
    archive: Archive
    bus: Bus | None = None
    """In memory where none is given."""
    sinks: Sequence[SinkRunner] = ()
    now: Callable[[], int] = time.time_ns
    decode: Callable[[Entry, Request | None], Decoded] = decode
    undecodable: int = 0
    """Journal entries that could not be decoded; their bytes are set aside by the archive."""
    faults: int = 0
    """Journal entries of which a part of the collector raised; they go into history all the same."""
    _queue: asyncio.Queue[tuple[Entry, Request | None]] = field(
        default_factory=asyncio.Queue["tuple[Entry, Request | None]"]
    )
    """Bounded by `ingest`, and by how many requests the receivers let in."""
    _bus: Bus = field(init=False)
    _room: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._bus = MemoryBus(self.hub.epoch, [self.hub]) if self.bus is None else self.bus

    @property
    def queued(self) -> int:
        """How many requests wait to be decoded."""
        return self._queue.qsize()

    async def ingest(self, signal: Signal, body: bytes, request: Request) -> None:
        """Journal a request, then queue it for decoding. When this returns, it may be acknowledged.

        A sender that goes away meanwhile does not stop it: what is journaled is also decoded, for when the sender
        tries again the journal knows the bytes already.

        Raises:
            JournalFull, JournalUnavailable: It may not.
        """
        stored = self.journal.submit(signal, body, self.now())
        # At once, so that the order is the journal's.
        stored.add_done_callback(lambda stored: self._admit(stored, request))
        await asyncio.shield(stored)
        while self._queue.qsize() > QUEUE:
            self._room.clear()
            await self._room.wait()

    def _admit(self, stored: asyncio.Future[Entry | None], request: Request) -> None:
        if not stored.cancelled() and stored.exception() is None and (entry := stored.result()):
            self._queue.put_nowait((entry, request))

    async def accept(self, events: Sequence[Event]) -> None:
        """Journal events that were born here, and queue them for decoding; they are durable when this returns.

        Raises:
            ValueError: An event has no run id; none of them was taken.
            JournalFull, JournalUnavailable: They could not be made durable.
        """
        _check(events)
        request = request_of(events)
        await self.ingest(Signal.LOGS, request.SerializeToString(), request)

    async def publish(self, events: Sequence[Event], logs: Table | None = None) -> None:
        """Hand events that are durable elsewhere to every sink; return when history has them.

        `logs` are rows that go with them, for the sinks alone.

        Raises:
            ValueError: An event has no run id; none of them was taken.
            HistoryError: History refuses them for good.
            ArchiveStopped: The collector is going down.
        """
        _check(events)
        with self.hub.awaiting_history({event.run_id for event in events}):
            await self._spread(Batch(seq=0, events=events, logs=logs or {}))
            await self.archive.store(events)

    async def restore(self, batch: Batch) -> None:
        """Take a run that was exported, of which history may have something already; return when it has all of it.

        It is history: plugin sinks do not hear of it, for nobody wants to be alerted of last year's failure.

        Raises:
            HistoryError: History refuses it for good.
            ArchiveStopped: The collector is going down.
        """
        _check(batch.events)
        await self.archive.restore(batch)
        await self._bus.publish(batch)

    async def replay(self) -> int:
        """Decode again what the journal holds from before a restart. Return the number of entries.

        The clock is the time of receipt, so that events wait for their run as long as they did then. No sender waits yet,
        so sinks are given time to catch up; one that does not is not waited for again.
        """
        count, after, waited_for = 0, self.journal.committed, list(self.sinks)
        while entries := await self.journal.read(after):
            for entry in entries:
                waited_for = [runner for runner in waited_for if await runner.catches_up(CATCH_UP_SECONDS)]
                await self.expire(entry.received)
                await self._handle(entry, None, entry.received)
            count, after = count + len(entries), entries[-1].seq
        return count

    async def run(self) -> None:
        """Decode until cancelled."""
        while True:
            entry, request = await self._queue.get()
            self._room.set()
            try:
                await self._handle(entry, request, self.now())
            finally:
                self._queue.task_done()
            if not self._queue.empty():  # it would never wait: others get their turn after each request
                await asyncio.sleep(0)

    async def drain(self) -> None:
        """Wait until everything that was accepted has been handed over to the rooms and the archive."""
        await self._queue.join()

    async def expire(self, now: int | None = None) -> None:
        """Let go of events that have waited long enough for their run. Call it about once a second."""
        waiting = self.attribution.waiting
        found = self.attribution.expire(self.now() if now is None else now)
        self.archive.add(found)
        if self.attribution.waiting != waiting:
            self.archive.wake()
        if found:
            latest = max(item.seq for item in found)
            await self._spread(Batch(seq=latest, events=[item.event for item in found]))

    async def _handle(self, entry: Entry, request: Request | None, now: int) -> None:
        """Decode an entry and hand it over; whatever goes wrong with it, the next one goes on."""
        try:
            decoded = await self._decode(entry, request)
            if decoded is not None:
                if decoded.events:
                    await asyncio.sleep(0)  # each of the two takes some milliseconds
                await self._hand_over(entry, decoded, now)
        except Exception:  # noqa: BLE001 - one entry must not end the way of all data
            self.faults += 1
            _log.exception("journal entry %d did not reach everyone; history still gets it", entry.seq)
            self.archive.note(entry.seq)

    async def _decode(self, entry: Entry, request: Request | None) -> Decoded | None:
        try:
            if sent := as_sent(request, entry.body):
                return sent
            if takes_long(request, entry.body):
                return await asyncio.to_thread(self.decode, entry, request)
            return self.decode(entry, request)
        except Exception:  # noqa: BLE001 - a batch that breaks the decoder is set aside, the next one goes on
            self.undecodable += 1
            _log.exception("journal entry %d cannot be decoded", entry.seq)
            self.archive.note(entry.seq)
            return None

    async def _hand_over(self, entry: Entry, decoded: Decoded, now: int) -> None:
        found = self.attribution.resolve(decoded.events, now, entry.seq)
        batch = decoded.batch(entry.seq, [item.event for item in found if item.seq == entry.seq])
        self.archive.take(batch, len(entry.body))
        self.archive.add(item for item in found if item.seq != entry.seq)
        await self._spread(replace(batch, events=[item.event for item in found]))

    async def _spread(self, batch: Batch) -> None:
        for runner in self.sinks:
            runner.offer(batch)
        await self._bus.publish(batch)
