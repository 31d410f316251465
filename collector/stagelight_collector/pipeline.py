"""The way of the data: journal, decode, attribution, then rooms, plugin sinks and the archive."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from stagelight_collector.decode import Decoded, decode_logs, decode_traces
from stagelight_collector.journal import Entry, Journal, Signal
from stagelight_plugins.hookspecs import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stagelight.events import Event
    from stagelight_collector.archive import Archive
    from stagelight_collector.attribution import Attribution
    from stagelight_collector.rooms.hub import Hub
    from stagelight_collector.sinks import SinkRunner

Request: TypeAlias = ExportTraceServiceRequest | ExportLogsServiceRequest

QUEUE: Final = 64
"""How many journaled requests wait to be decoded; beyond it, acknowledgements wait."""
LARGE_BYTES: Final = 64 << 10
"""A larger request is decoded in a thread, so that the event loop stays free."""

_log = logging.getLogger(__name__)


def decode(entry: Entry, request: Request | None = None) -> Decoded:
    """Decode a journal entry, from its parsed request where that is at hand."""
    if entry.signal is Signal.TRACES:
        traces = request if isinstance(request, ExportTraceServiceRequest) else ExportTraceServiceRequest()
        if request is None:
            traces.ParseFromString(entry.body)
        return decode_traces(traces, entry.received)
    logs = request if isinstance(request, ExportLogsServiceRequest) else ExportLogsServiceRequest()
    if request is None:
        logs.ParseFromString(entry.body)
    return decode_logs(logs, entry.received)


@dataclass(slots=True)
class Pipeline:
    """Takes what receivers accepted and hands it to all who want it."""

    journal: Journal
    hub: Hub
    attribution: Attribution
    archive: Archive
    sinks: Sequence[SinkRunner] = ()
    now: Callable[[], int] = time.time_ns
    undecodable: int = 0
    """Journal entries that could not be decoded; their bytes are set aside by the archive."""
    _queue: asyncio.Queue[tuple[Entry, Request | None]] = field(
        default_factory=lambda: asyncio.Queue["tuple[Entry, Request | None]"](QUEUE)
    )

    @property
    def queued(self) -> int:
        """How many requests wait to be decoded."""
        return self._queue.qsize()

    async def ingest(self, signal: Signal, body: bytes, request: Request) -> None:
        """Journal a request, then queue it for decoding. When this returns, it may be acknowledged.

        Raises:
            JournalFull, JournalUnavailable: It may not.
        """
        entry = await self.journal.append(signal, body, self.now())
        if entry is not None:
            await self._queue.put((entry, request))

    async def publish(self, events: Sequence[Event]) -> None:
        """Hand events that are durable elsewhere to every sink; return when history has them."""
        await self._spread(Batch(seq=0, events=events))
        await self.archive.store(events)

    async def replay(self) -> int:
        """Decode again what the journal holds from before a restart. Return the number of entries."""
        count, after = 0, self.journal.committed
        while entries := await self.journal.read(after):
            for entry in entries:
                await self._decode(entry, None)
            count, after = count + len(entries), entries[-1].seq
        return count

    async def run(self) -> None:
        """Decode until cancelled."""
        while True:
            entry, request = await self._queue.get()
            try:
                await self._decode(entry, request)
            finally:
                self._queue.task_done()

    async def drain(self) -> None:
        """Wait until everything that was accepted has been handed over to the rooms and the archive."""
        await self._queue.join()

    async def expire(self) -> None:
        """Let go of events that have waited long enough for their run. Call it about once a second."""
        events = self.attribution.expire(self.now())
        if events:
            await self._spread(Batch(seq=0, events=events))
            self.archive.add(events)

    async def _decode(self, entry: Entry, request: Request | None) -> None:
        try:
            if len(entry.body) > LARGE_BYTES:
                decoded = await asyncio.to_thread(decode, entry, request)
            else:
                decoded = decode(entry, request)
        except Exception:  # noqa: BLE001 - a batch that breaks the decoder is set aside, the next one goes on
            self.undecodable += 1
            _log.exception("journal entry %d cannot be decoded", entry.seq)
            self.archive.refuse(entry)
            return
        events = self.attribution.resolve(decoded.events, self.now(), entry.seq)
        batch = Batch(seq=entry.seq, events=events, traces=decoded.traces, logs=decoded.logs)
        self.archive.take(batch, len(entry.body))
        await self._spread(batch)

    async def _spread(self, batch: Batch) -> None:
        for runner in self.sinks:
            runner.offer(batch)
        await self.hub.write(batch.events, batch.seq)
