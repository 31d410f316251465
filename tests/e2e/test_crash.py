"""`kill -9` loses nothing that was acknowledged, and doubles nothing (invariant I1)."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import aiohttp
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from stagelight import conventions as c

if TYPE_CHECKING:
    from .processes import CollectorProcess

KILLS: Final = 25
SENDERS: Final = 4
SPANS: Final = 20
"""Steps in one request."""

pytestmark = [pytest.mark.crash, pytest.mark.timeout(400)]


@dataclass
class Tally:
    """How many requests have been acknowledged, over all senders."""

    count: int = 0
    _goals: dict[int, asyncio.Event] = field(default_factory=dict[int, asyncio.Event])

    def add(self) -> None:
        """Count one."""
        self.count += 1
        if goal := self._goals.pop(self.count, None):
            goal.set()

    async def more(self, requests: int) -> None:
        """Return when so many more have been acknowledged."""
        await self._goals.setdefault(self.count + requests, asyncio.Event()).wait()


@dataclass
class Sender:
    """Sends requests one after the other, each again with the same bytes until it is acknowledged."""

    collector: CollectorProcess
    session: aiohttp.ClientSession
    tally: Tally
    run_id: str
    acknowledged: set[str] = field(default_factory=set[str])
    again: int = 0
    stopping: bool = False

    async def run(self) -> None:
        """Send until told to stop; the last request too is sent until it is acknowledged."""
        for number in itertools.count():
            if self.stopping:
                return
            body, ids = request(self.run_id, number)
            while not await self._post(body):
                self.again += 1
                await self.collector.ready.wait()
            self.acknowledged |= ids
            self.tally.add()

    async def _post(self, body: bytes) -> bool:
        headers = {"Content-Type": "application/x-protobuf"}
        with suppress(aiohttp.ClientError, ConnectionError, TimeoutError):
            async with self.session.post(
                f"{self.collector.url}/v1/traces",
                data=body,
                headers=headers,
                timeout=aiohttp.ClientTimeout(10),
            ) as response:
                return response.status == 200
        return False


def request(run_id: str, number: int) -> tuple[bytes, set[str]]:
    """Return one request of finished steps, and the steps' ids."""
    message = ExportTraceServiceRequest()
    scope = message.resource_spans.add().scope_spans.add()
    ids: set[str] = set()
    for index in range(SPANS):
        span_id = os.urandom(8)
        ids.add(span_id.hex())
        start = 1_790_000_000_000_000_000 + number * 1_000_000 + index
        attributes = {
            c.RUN_ID: run_id,
            c.WORKFLOW_NAME: "crash",
            c.STEP_NAME: "step",
            c.STEP_ID: span_id.hex(),
        }
        scope.spans.add(
            trace_id=run_id.encode().ljust(16, b"\1")[:16],
            span_id=span_id,
            parent_span_id=b"12345678",
            name="step",
            start_time_unix_nano=start,
            end_time_unix_nano=start + 500,
            attributes=[KeyValue(key=k, value=AnyValue(string_value=v)) for k, v in attributes.items()],
        )
    return message.SerializeToString(), ids


async def test_every_acknowledged_step_is_in_history_once_after_25_kills(
    collector: CollectorProcess, session: aiohttp.ClientSession
) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    tally = Tally()
    senders = [Sender(collector, session, tally, f"run-{number}") for number in range(SENDERS)]
    async with asyncio.TaskGroup() as group:
        for sender in senders:
            group.create_task(sender.run())
        for number in range(KILLS):
            await tally.more(chance.randrange(1, 60))
            if number % 2:  # the moment that doubles: history has rows that the journal still holds
                await collector.insert_under_way()
            await collector.kill()
            await collector.start()
        for sender in senders:
            sender.stopping = True
    assert await collector.stop() == 0

    acknowledged = set[str]().union(*(sender.acknowledged for sender in senders))
    spans = [str(row[0]) for row in await collector.sql("SELECT SpanId FROM otel_traces")]
    ended = await collector.sql("SELECT StepId, Status FROM stagelight_steps")

    assert sum(sender.again for sender in senders) >= KILLS, "the kills did not hit the senders"
    assert len(spans) == len(set(spans)), "spans were doubled"
    assert set(spans) == acknowledged
    assert {step_id for step_id, status in ended if status == "completed"} == acknowledged


async def test_a_restarted_collector_knows_its_runs(
    collector: CollectorProcess, session: aiohttp.ClientSession
) -> None:
    body, ids = request("run", 1)
    headers = {"Content-Type": "application/x-protobuf"}
    async with session.post(f"{collector.url}/v1/traces", data=body, headers=headers) as response:
        assert response.status == 200
    await collector.kill()
    await collector.start()

    async with session.get(f"{collector.url}/api/v1/runs/run") as response:
        snapshot = await response.json()

    assert {step["id"] for step in snapshot["steps"]} == ids
    assert {step["status"] for step in snapshot["steps"]} == {"completed"}


async def test_sigterm_leaves_nothing_in_the_journal(
    collector: CollectorProcess, session: aiohttp.ClientSession
) -> None:
    body, ids = request("run", 1)
    headers = {"Content-Type": "application/x-protobuf"}
    async with session.post(f"{collector.url}/v1/traces", data=body, headers=headers) as response:
        assert response.status == 200

    assert await collector.stop() == 0

    assert {str(row[0]) for row in await collector.sql("SELECT SpanId FROM otel_traces")} == ids
