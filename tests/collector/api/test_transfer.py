"""One run as a file: out of one collector and into another, through their APIs."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from stagelight import conventions as c
from stagelight.conventions import EventType
from stagelight.events import Event, Failure
from stagelight_collector import runfile
from stagelight_collector.app import Collector
from stagelight_collector.config import Settings
from stagelight_collector.journal import Signal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NOW = time.time_ns()
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TABLES = ("otel_traces", "otel_logs", "stagelight_runs", "stagelight_steps")


def events(run_id: str) -> list[Event]:
    """Make a run that failed."""
    common: dict[str, Any] = {"run_id": run_id, "trace_id": TRACE}
    return [
        Event(
            type=EventType.RUN_STARTED, time=NOW, workflow="etl", attributes={"n": 2**70, "x": 1}, **common
        ),
        Event(type=EventType.PROGRESS, time=NOW + 1, current=3, total=10, **common),
        Event(type=EventType.LOG, time=NOW + 2, message="é", severity="INFO", **common),
        Event(type=EventType.RUN_FAILED, time=NOW + 3, error=Failure(type="E", message="no"), **common),
    ]


def spans() -> ExportTraceServiceRequest:
    """Make two spans that are equal but for their name, with an event and a link each."""
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for name in ("a", "b"):
        span = scope.spans.add(name=name, start_time_unix_nano=NOW, end_time_unix_nano=NOW + 5)
        span.trace_id, span.span_id = bytes.fromhex(TRACE), bytes.fromhex(SPAN)
        span.attributes.add(key=c.RUN_ID).value.string_value = "r"
        span.events.add(name="hello", time_unix_nano=NOW).attributes.add(key="k").value.int_value = 1
        span.links.add(trace_id=b"1" * 16, span_id=b"2" * 8)
    return request


class Place:
    """A collector and its API as a client sees it."""

    def __init__(self, collector: Collector, session: aiohttp.ClientSession) -> None:
        self.collector = collector
        self.session = session

    async def fill(self) -> None:
        """Have a run with events, spans and log lines, received over the journal."""
        await self.collector.accept(events("r"))
        request = spans()
        await self.collector.pipeline.ingest(Signal.TRACES, request.SerializeToString(), request)

    async def export(self, run_id: str, expected: int = 200) -> bytes:
        """Return the file."""
        async with self.session.get(f"{self.collector.url}/api/v1/runs/{run_id}/export") as response:
            assert response.status == expected, await response.text()
            return await response.read()

    async def take(self, data: bytes, expected: int = 200) -> Any:
        """Import a file."""
        async with self.session.post(f"{self.collector.url}/api/v1/runs/import", data=data) as response:
            assert response.status == expected, await response.text()
            return await response.json()

    async def tables(self) -> dict[str, list[Any]]:
        """Return all that is in history, but for when it was received."""
        found = {
            table: (await self.collector.query(f"SELECT * FROM {table} ORDER BY ALL")).rows  # noqa: S608 - of this module
            for table in TABLES
        }
        facts = "SELECT Data FROM stagelight_events FINAL ORDER BY Data"
        found["events"] = (await self.collector.query(facts)).rows
        return {table: list(rows) for table, rows in found.items()}


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    """A collector with nothing in it."""
    settings = Settings.model_validate({"data_dir": tmp_path, "port": 0})
    async with Collector(settings) as collector, aiohttp.ClientSession() as session:
        yield Place(collector, session)


async def exported(folder: Path) -> tuple[bytes, dict[str, list[Any]]]:
    """Return the file of a run, and what the tables have of it, from a collector that is gone then."""
    settings = Settings.model_validate({"data_dir": folder, "port": 0})
    async with Collector(settings) as collector, aiohttp.ClientSession() as session:
        place = Place(collector, session)
        await place.fill()
        return await place.export("r"), await place.tables()


async def test_a_run_is_the_same_in_another_collector_and_twice_is_once(tmp_path: Path) -> None:
    data, before = await exported(tmp_path / "a")
    settings = Settings.model_validate({"data_dir": tmp_path / "b", "port": 0})
    async with Collector(settings) as collector, aiohttp.ClientSession() as session:
        other = Place(collector, session)
        answer = await other.take(data)
        assert answer == {"run": "r", "events": 4, "spans": 2, "logs": len(before["otel_logs"])}
        assert await other.tables() == before
        assert len(before["events"]) == 4
        assert len(before["otel_traces"]) == 2
        assert await other.export("r") == data
        assert await other.take(data) == answer
        assert await other.tables() == before
        room = await collector.pipeline.hub.find("r")
        assert room is not None
        assert room.summary()["status"] == "failed"
        assert [run["id"] for run in collector.runs()] == ["r"]


async def test_a_run_that_is_there_stays_as_it_is(place: Place) -> None:
    await place.fill()
    data = await place.export("r")
    before = await place.tables()
    await place.take(data)
    assert await place.tables() == before


async def test_what_is_missing_comes_back(place: Place) -> None:
    await place.fill()
    data, before = await place.export("r"), await place.tables()
    async with place.session.delete(f"{place.collector.url}/api/v1/runs/r") as response:
        assert response.status == 200
    assert not (await place.tables())["otel_traces"]
    await place.take(data)
    assert await place.tables() == before


async def test_an_unknown_run_has_no_file(place: Place) -> None:
    assert b"There is no run 'nobody'" in await place.export("nobody", 404)


async def test_a_wrong_file_gets_one_clear_line(place: Place) -> None:
    await place.fill()
    head, *rest = (await place.export("r")).splitlines(keepends=True)
    header = json.loads(head)

    async def said(*lines: Any) -> str:
        data = b"".join(
            line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines
        )
        detail = str((await place.take(data, 400))["detail"])
        assert "\n" not in detail
        return detail

    before = await place.tables()
    assert "line 1 of the file: it is no header of a run; make a file with" in await said(b"")
    assert "it is no header" in await said(b"\xff\xfe\n")
    assert "it is no header" in await said([1])
    assert "has version 2, this release reads 1" in await said({**header, "version": 2}, *rest)
    assert "the file was cut off or changed" in await said(head, *rest[:-1])
    assert "line 2 of the file: it is no JSON object" in await said(head, b"[" * 100_000 + b"\n")
    assert "it is no event, span or log" in await said(head, {"event": {}, "log": {}})
    event = json.loads(rest[0])["event"]
    assert "time: Input should be a valid integer" in await said(head, {"event": {**event, "time": "now"}})
    assert "type: Input should be" in await said(head, {"event": {**event, "type": "exploded"}})
    assert "one of another run" in await said(head, {"event": {**event, "run_id": "x"}})
    span = next(json.loads(line)["span"] for line in rest if b'"span":' in line[:9])
    assert "column 'More' is not known" in await said(head, {"span": {**span, "More": 1}})
    assert "column Duration: Input should be" in await said(head, {"span": {**span, "Duration": -1}})
    assert "Links.… are of unequal length" in await said(head, {"span": {**span, "Links.SpanId": []}})
    assert await place.tables() == before


async def test_a_file_is_bounded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await place.fill()
    data = await place.export("r")
    monkeypatch.setattr(runfile, "MAX_BYTES", len(data) - 1)
    assert b"more than" in await place.export("r", 413)
    assert "more than" in (await place.take(data, 413))["detail"]
    monkeypatch.setattr(runfile, "MAX_LINES", 1)
    assert b"the run 'r' has more than 1 events" in await place.export("r", 413)
