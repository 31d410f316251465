"""A ClickHouse server that refuses, hangs, or fails after it committed: nothing is lost or doubled, and rooms go on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import aiohttp
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from stagelight_collector import archive
from stagelight_collector.app import Collector
from stagelight_collector.config import Settings

from .stand_in import StandIn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

PATIENCE_SECONDS: Final = 60
SPANS: Final = 20
NOW: Final = 1_764_000_000_000_000_000


@pytest.fixture
async def server(engine_path: Path, dsn: str) -> AsyncIterator[StandIn]:
    stand_in = StandIn(engine_path, dsn.partition("database=")[2])
    await stand_in.up()
    yield stand_in
    await stand_in.close()


class Sender:
    """Sends runs of many steps, and counts what was acknowledged."""

    def __init__(self, collector: Collector, session: aiohttp.ClientSession) -> None:
        self.collector = collector
        self._session = session
        self.acknowledged: set[str] = set()
        self.runs: list[str] = []

    async def send(self, count: int) -> None:
        for _ in range(count):
            run_id = f"run-{len(self.runs)}"
            body, ids = _request(run_id, len(self.runs))
            await self._post("/v1/traces", body)
            await self._post("/v1/metrics", _metric(len(self.runs)))
            self.acknowledged |= ids
            self.runs.append(run_id)

    async def _post(self, path: str, body: bytes) -> None:
        headers = {"Content-Type": "application/x-protobuf"}
        async with self._session.post(f"{self.collector.url}{path}", data=body, headers=headers) as answer:
            assert answer.status == 200

    async def health(self) -> list[str]:
        async with self._session.get(f"{self.collector.url}/healthz") as answer:
            return list((await answer.json())["problems"])

    async def live(self) -> None:
        """The rooms have every run, whatever history does."""
        await self.collector.settle()
        assert {run["id"]: run["status"] for run in self.collector.runs()} == dict.fromkeys(
            self.runs, "completed"
        )


def _request(run_id: str, number: int) -> tuple[bytes, set[str]]:
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    ids: set[str] = set()
    for index in range(SPANS):
        span = spans.add(name="step", trace_id=number.to_bytes(16), start_time_unix_nano=NOW + index)
        span.span_id, span.end_time_unix_nano = (number * SPANS + index + 1).to_bytes(8), NOW + index + 5
        if index:
            span.parent_span_id = (number * SPANS + 1).to_bytes(8)
            span.attributes.add(key="workflow.step.name").value.string_value = "step"
        else:
            span.attributes.add(key="workflow.status").value.string_value = "completed"
        span.attributes.add(key="workflow.name").value.string_value = "outage"
        span.attributes.add(key="workflow.run.id").value.string_value = run_id
        ids.add(span.span_id.hex())
    return request.SerializeToString(), ids


def _metric(number: int) -> bytes:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="m")
    metric.gauge.data_points.add(time_unix_nano=NOW, as_int=number)
    return request.SerializeToString()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - of anything
            await asyncio.sleep(0.01)


@pytest.fixture
async def sender(server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sender]:
    monkeypatch.setattr(archive, "BACK_OFF_SECONDS", (0.25,))  # each retry is a part: merges must keep up
    monkeypatch.setattr(archive, "LINGER_SECONDS", 0.01)
    settings = Settings.model_validate({"data_dir": tmp_path, "port": 0, "history": server.dsn})
    async with Collector(settings) as collector, aiohttp.ClientSession() as session:
        yield Sender(collector, session)


async def all_once(server: StandIn, sender: Sender) -> None:
    """Every acknowledged row is in history, once; nothing else is."""
    await until(lambda: not sender.collector.pipeline.journal.entries)
    await until(lambda: not sender.collector.pipeline.archive.problem)
    assert await sender.health() == []
    assert (await server.ask("SELECT count(), uniqExact(SpanId) FROM otel_traces")).split() == [
        str(len(sender.acknowledged))
    ] * 2
    runs = len(sender.runs)
    assert (await server.ask("SELECT count(), uniqExact(Value) FROM otel_metrics_gauge")).split() == [
        str(runs)
    ] * 2
    assert await server.ask("SELECT countIf(Status = 'completed') FROM stagelight_runs") == str(runs)
    assert await server.ask("SELECT countIf(Status = 'completed') FROM stagelight_steps") == str(
        runs * (SPANS - 1)
    )


async def test_a_server_that_is_away_costs_nothing_but_time(server: StandIn, sender: Sender) -> None:
    retries = sender.collector.pipeline.archive
    await sender.send(3)
    await server.down()
    await sender.send(20)
    await until(lambda: retries.retries > 2)
    await sender.live()
    assert "history does not take batches" in (await sender.health())[0]
    assert retries.behind > 0
    await server.up()
    await sender.send(3)
    await all_once(server, sender)
    await sender.live()


async def test_a_server_that_hangs_costs_nothing_but_time(server: StandIn, sender: Sender) -> None:
    server.hanging = asyncio.Event()
    await sender.send(10)
    await until(lambda: server.hung and sender.collector.pipeline.archive.retries)
    await sender.live()
    hanging, server.hanging = server.hanging, None
    hanging.set()
    await all_once(server, sender)


async def test_a_server_that_fails_after_it_committed_doubles_nothing(
    server: StandIn, sender: Sender
) -> None:
    server.fails_after_commit = True
    await sender.send(10)
    await until(lambda: server.inserts > 5 and sender.collector.pipeline.archive.retries > 3)
    await sender.live()
    server.fails_after_commit = False
    await sender.send(3)
    await all_once(server, sender)


async def test_a_start_while_the_server_is_away_says_so_in_one_line(server: StandIn, tmp_path: Path) -> None:
    await server.down()
    settings = Settings.model_validate({"data_dir": tmp_path, "port": 0, "history": server.dsn})
    with pytest.raises(
        Exception, match=r"^cannot reach ClickHouse at 127.0.0.1:\d+ \(connection refused\); start it"
    ):
        await Collector(settings).start()
