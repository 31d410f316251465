"""A disk that is full: nothing is acknowledged that is then lost, and it goes on by itself once there is space."""

from __future__ import annotations

import asyncio
import resource
import time
from typing import TYPE_CHECKING, Final

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

if TYPE_CHECKING:
    import aiohttp

    from .processes import CollectorProcess

SPANS: Final = 50
FULL: Final = 200_000
"""Bytes beyond which no file of the collector can grow while its disk is full."""
PATIENCE_SECONDS: Final = 60

pytestmark = [pytest.mark.crash, pytest.mark.timeout(240)]


def request(number: int) -> bytes:
    made = ExportTraceServiceRequest()
    spans = made.resource_spans.add().scope_spans.add().spans
    for index in range(SPANS):
        span = spans.add(name="work", trace_id=number.to_bytes(16), start_time_unix_nano=time.time_ns())
        span.span_id = (number * SPANS + index + 1).to_bytes(8)
        span.attributes.add(key="text").value.string_value = f"{number} {index} " + "x" * 200
    return made.SerializeToString()


def fill(collector: CollectorProcess, most: int) -> None:
    """Let no file grow beyond so many bytes; what has the limit of file sizes has a full disk, error by error."""
    assert collector.process is not None
    resource.prlimit(collector.process.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


class Sender:
    """Sends each request until it is acknowledged."""

    def __init__(self, collector: CollectorProcess, session: aiohttp.ClientSession) -> None:
        self.collector, self._session = collector, session
        self.number = 0
        self.refused: list[int] = []

    async def send(self) -> bool:
        """Send the next; return whether it was acknowledged."""
        headers = {"Content-Type": "application/x-protobuf"}
        async with self._session.post(
            f"{self.collector.url}/v1/traces", data=request(self.number), headers=headers
        ) as answer:
            if answer.status == 200:
                self.number += 1
                return True
            self.refused.append(answer.status)
            assert answer.headers["Retry-After"] == "1"
            return False

    async def until(self, acknowledged: bool) -> float:
        """Send until the next answer is this one; return how long that took."""
        began = time.monotonic()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await self.send() is not acknowledged:  # noqa: ASYNC110 - each look is a request
                await asyncio.sleep(0.05)
        return time.monotonic() - began


async def test_a_full_disk_refuses_and_serves_again_once_there_is_space(
    collector: CollectorProcess, session: aiohttp.ClientSession
) -> None:
    sender = Sender(collector, session)
    for _ in range(5):
        assert await sender.send()
    fill(collector, FULL)
    await sender.until(acknowledged=False)
    for _ in range(5):
        await sender.send()
    async with session.get(f"{collector.url}/api/v1/runs") as answer:  # what is not about writing goes on
        assert answer.status in {200, 503}
    assert set(sender.refused) == {503}

    fill(collector, resource.RLIM_INFINITY)
    print(f"served again after {await sender.until(acknowledged=True):.2f} s")
    for _ in range(20):
        assert await sender.send()
    await _drained(collector, session)
    assert await collector.stop() == 0

    ((rows, different),) = await collector.sql("SELECT count(), uniqExact(SpanId) FROM otel_traces")
    assert (rows, different) == (sender.number * SPANS, sender.number * SPANS)


async def _drained(collector: CollectorProcess, session: aiohttp.ClientSession) -> None:
    """Wait until history has everything."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            async with session.get(f"{collector.url}/metrics") as answer:
                if "\nstagelight_journal_entries 0.0\n" in await answer.text():
                    return
            await asyncio.sleep(0.1)
