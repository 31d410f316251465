"""The API answers from memory and history as if they were one, in one shape, page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from stagelight.conventions import RUN_ID, WORKFLOW_NAME, EventType
from stagelight.events import Event, Failure
from stagelight_collector import past
from stagelight_collector.api import runs
from stagelight_collector.app import Collector
from stagelight_collector.config import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

T = EventType
SECOND: Final = 1_000_000_000
NOW: Final = 1_764_000_000 * SECOND
LOBBY: Final = 3
ROOMS: Final = 2


class Api:
    """The collector's API as a client sees it."""

    def __init__(self, collector: Collector, session: aiohttp.ClientSession) -> None:
        self.collector = collector
        self.hub = collector.pipeline.hub
        self._session = session

    async def get(self, path: str, expected: int = 200, **query: Any) -> Any:
        """Get a path below `/api/v1`; the answer must have the expected status, and be JSON."""
        async with self._session.get(f"{self.collector.url}/api/v1{path}", params=query) as response:
            assert response.status == expected, await response.text()
            return await response.json()

    async def post_trace(self, request: ExportTraceServiceRequest) -> None:
        """Send spans as any OpenTelemetry SDK does."""
        headers = {"Content-Type": "application/x-protobuf"}
        url = f"{self.collector.url}/v1/traces"
        async with self._session.post(url, data=request.SerializeToString(), headers=headers) as response:
            assert response.status == 200, await response.text()

    async def ids(self, **query: Any) -> list[str]:
        """Return the ids of the first page of runs."""
        return [run["id"] for run in (await self.get("/runs", **query))["runs"]]

    async def kept(self, *events: Event) -> None:
        """Have events in memory and in history."""
        await self.collector.publish(events)
        self.hub.flush()

    def heard(self, *events: Event) -> None:
        """Have events in memory that history does not have yet."""
        for event in events:
            self.hub.take(event, seq=self.hub.kept() + 1)
        self.hub.flush()


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """A collector whose memory is small."""
    settings = {"data_dir": tmp_path, "port": 0, "limits": {"lobby": LOBBY, "rooms": ROOMS}}
    async with Collector(Settings.model_validate(settings)) as collector, aiohttp.ClientSession() as session:
        yield Api(collector, session)


def event(kind: EventType, run_id: str = "r", second: float = 0, **fields: Any) -> Event:
    return Event(type=kind, run_id=run_id, time=NOW + round(second * SECOND), workflow="etl", **fields)


def started(run_id: str, second: float) -> Event:
    return event(T.RUN_STARTED, run_id, second)


# --- the list -----------------------------------------------------------------------------------------------------


async def test_a_run_is_listed_once_as_memory_knows_it(api: Api) -> None:
    await api.kept(started("r", 0))
    api.heard(event(T.RUN_FAILED, "r", 2, error=Failure(type="OSError", message="disk full")))

    (run,) = (await api.get("/runs"))["runs"]

    assert (run["status"], run["duration_ms"], run["error"]["message"]) == ("failed", 2000.0, "disk full")
    assert await api.ids(status="running") == []
    assert await api.ids(status="failed", q="DISK") == ["r"]


async def test_a_run_that_history_does_not_have_yet_is_listed(api: Api) -> None:
    await api.kept(started("old", 0))
    api.heard(started("new", 1))

    assert await api.ids() == ["new", "old"]


async def test_pages_show_every_run_once_although_runs_keep_arriving(api: Api) -> None:
    for number in range(9):
        await api.kept(started(f"r{number}", number))
    assert len(api.hub.lobby.runs()) == LOBBY

    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = await api.get("/runs", **query)
        seen += [run["id"] for run in page["runs"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
        api.heard(started(f"late{len(seen)}", 100 + len(seen)))

    assert seen == [f"r{number}" for number in range(8, -1, -1)]


async def test_a_page_that_memory_fills_leaves_nothing_of_history_out(api: Api) -> None:
    await api.kept(*[started(f"h{number}", 10 * number) for number in range(6)])
    api.heard(*[started(f"m{number}", 10 * number + 5) for number in range(3, 6)])

    first = await api.get("/runs", limit=4)
    second = await api.get("/runs", limit=8, cursor=first["next_cursor"])

    shown = [run["id"] for run in [*first["runs"], *second["runs"]]]
    assert shown == ["m5", "h5", "m4", "h4", "m3", "h3", "h2", "h1", "h0"]
    assert second["next_cursor"] is None


async def test_a_page_that_a_filter_thins_out_brings_nothing_forward(api: Api) -> None:
    await api.kept(*[started(f"h{number}", 10 * number) for number in range(6)])
    api.heard(event(T.RUN_COMPLETED, "h5", 60), event(T.RUN_COMPLETED, "h4", 60), started("m0", 5))

    first = await api.get("/runs", limit=4, status="running")
    second = await api.get("/runs", limit=4, status="running", cursor=first["next_cursor"])

    shown = [run["id"] for run in [*first["runs"], *second["runs"]]]
    assert shown == ["h3", "h2", "h1", "m0", "h0"]


async def test_a_run_that_left_memory_before_history_had_it_is_listed(api: Api) -> None:
    api.heard(*[started(f"r{number}", number) for number in range(4)], event(T.RUN_COMPLETED, "r3", 4))
    api.heard(started("r4", 5))
    assert "r3" not in api.hub.rooms

    assert await api.ids() == ["r4", "r3", "r2", "r1", "r0"]


async def test_filters_hold_for_memory_and_history_alike(api: Api) -> None:
    await api.kept(*[started(f"h{number}", number) for number in range(5)])
    api.heard(started("m5", 5))
    since, until = (NOW + 2 * SECOND) / 1e6, (NOW + 5 * SECOND) / 1e6

    assert await api.ids(since=since) == ["m5", "h4", "h3", "h2"]
    assert await api.ids(since=since, until=until) == ["h4", "h3", "h2"]
    assert await api.ids(workflow="other") == []
    assert await api.ids(q="H3") == ["h3"]


async def test_duration_error_and_attributes_hold_for_memory_and_history_alike(api: Api) -> None:
    failure = Failure(type="OSError", message="Disk full")
    blue = {"colour": "blue", "count": 3, "on": True}
    slow = [started("slow", 0), event(T.RUN_FAILED, "slow", 60, error=failure, attributes=blue)]
    quick = [started("quick", 1), event(T.RUN_COMPLETED, "quick", 2)]
    await api.kept(*slow, *quick, started("on", 3))

    for _ in range(2):
        assert await api.ids(min_duration_ms=60_000) == ["slow"]
        assert await api.ids(min_duration_ms=60_001) == []
        assert await api.ids(max_duration_ms=1_000) == ["quick"]
        assert await api.ids(error="oserror: disk") == ["slow"]
        assert await api.ids(error="broken") == []
        api.hub.rooms.clear()  # from here on only history and the lobby know them

    assert await api.ids(attribute="colour=blue") == ["slow"]
    assert await api.ids(attribute="count=3", status="failed") == ["slow"]
    assert await api.ids(attribute="on=true") == ["slow"]
    assert await api.ids(attribute="colour=red") == []


async def test_an_attribute_that_only_history_knows_is_found(api: Api) -> None:
    await api.post_trace(root_span("r", {"customer": "acme"}, {"region": "eu"}))
    await api.collector.settle()
    await api.collector.pipeline.archive.drain()

    assert await api.ids(attribute="region=eu") == ["r"]
    assert await api.ids(attribute="customer=acme") == ["r"]
    assert await api.ids(attribute="customer=other") == []


def root_span(run_id: str, attributes: dict[str, str], resource: dict[str, str]) -> ExportTraceServiceRequest:
    """Make the own span of a run."""
    request = ExportTraceServiceRequest()
    of_resource = request.resource_spans.add()
    span = of_resource.scope_spans.add().spans.add()
    span.name, span.trace_id, span.span_id = "etl", b"t" * 16, b"s" * 8
    span.start_time_unix_nano, span.end_time_unix_nano = NOW, NOW + SECOND
    for key, value in {RUN_ID: run_id, WORKFLOW_NAME: "etl", **attributes}.items():
        span.attributes.add(key=key).value.string_value = value
    for key, value in resource.items():
        of_resource.resource.attributes.add(key=key).value.string_value = value
    return request


# --- one run ------------------------------------------------------------------------------------------------------


async def test_a_run_that_has_left_memory_is_served_from_history_in_the_same_shape(api: Api) -> None:
    failure = Failure(type="OSError", message="disk full")
    await api.kept(
        started("r", 0),
        event(T.STEP_STARTED, "r", 1, step_id="a", step_name="load", attempt=1, attributes={"rows": 3}),
        event(T.ATTEMPT_FAILED, "r", 2, step_id="a", attempt=1, error=failure),
        event(T.STEP_STARTED, "r", 3, step_id="a", attempt=2),
        event(T.LOG, "r", 3.5, step_id="a", message="half", severity="INFO"),
        event(T.STEP_COMPLETED, "r", 4, step_id="a", attempt=2),
        event(T.RUN_COMPLETED, "r", 5),
    )
    live = await api.get("/runs/r")
    await api.kept(*[started(f"other{number}", 10 + number) for number in range(5)])
    assert "r" not in api.hub.rooms

    assert await api.get("/runs/r") == live
    (step,) = live["steps"]
    assert (step["name"], step["attempt"], step["status"]) == ("load", 2, "completed")
    assert [attempt["status"] for attempt in step["attempts"]] == ["failed", "completed"]


async def test_a_run_too_long_to_be_read_back_does_not_look_as_if_it_went_on(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past, "MAX_EVENTS", 40)
    monkeypatch.setattr(past, "PAGE_EVENTS", 20)
    lines = [event(T.LOG, "r", 1 + number / 100, message=str(number)) for number in range(100)]
    await api.kept(started("r", 0), *lines, event(T.RUN_FAILED, "r", 9, error=Failure(message="disk full")))
    await api.kept(*[started(f"other{number}", 10 + number) for number in range(5)])
    assert "r" not in api.hub.rooms

    run = (await api.get("/runs/r"))["run"]

    assert (run["status"], run["duration_ms"], run["error"]["message"]) == ("failed", 9000.0, "disk full")


async def test_events_come_page_by_page_each_once(api: Api) -> None:
    await api.kept(*[event(T.LOG, "r", number, message=str(number)) for number in range(5)])

    first = await api.get("/runs/r/events", limit=3)
    second = await api.get("/runs/r/events", limit=3, cursor=first["next_cursor"])

    assert [item["message"] for item in [*first["events"], *second["events"]]] == list("01234")
    assert second["next_cursor"] is None


async def test_the_spans_of_a_run_are_those_that_were_sent(api: Api) -> None:
    await api.post_trace(root_span("r", {}, {}))
    await api.collector.settle()
    await api.collector.pipeline.archive.drain()

    answer = await api.get("/runs/r/spans")
    (found,) = answer["spans"]

    assert (found["name"], found["duration"], found["attributes"][RUN_ID]) == ("etl", SECOND, "r")
    assert answer["truncated"] is False


async def test_it_is_said_that_spans_are_left_out(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.post_trace(root_span("r", {}, {}))
    await api.collector.settle()
    await api.collector.pipeline.archive.drain()
    monkeypatch.setattr(runs, "MAX_SPANS", 0)

    assert await api.get("/runs/r/spans") == {"spans": [], "truncated": True}


async def test_workflows_are_counted(api: Api) -> None:
    await api.kept(started("a", 0), started("b", 1), event(T.RUN_FAILED, "b", 2))

    (workflow,) = (await api.get("/workflows"))["workflows"]

    assert (workflow["name"], workflow["runs"], workflow["running"], workflow["failed"]) == ("etl", 2, 1, 1)
    found = (await api.get("/workflows/etl"))["workflow"]
    assert (found["runs"], found["running"], found["error_rate"], found["duration_ms"]) == (2, 1, 1, None)
    assert [(group["run_id"], group["runs"]) for group in (await api.get("/errors"))["errors"]] == [("b", 1)]
    assert "no run of a workflow 'x'" in (await api.get("/workflows/x", 404))["detail"]


# --- what cannot be answered --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/runs/nobody", "/runs/nobody/events", "/runs/nobody/spans"])
async def test_a_run_that_nobody_knows_is_a_problem_with_the_remedy(api: Api, path: str) -> None:
    answer = await api.get(path, expected=404)

    assert "There is no run 'nobody'." in answer["detail"]
    assert "GET /api/v1/runs" in answer["detail"]


@pytest.mark.parametrize(
    ("query", "remedy"),
    [
        ({"limit": "0"}, "a number from 1 to 500"),
        ({"limit": "501"}, "a number from 1 to 500"),
        ({"limit": "²"}, "a number from 1 to 500"),
        ({"status": "done"}, "completed"),
        ({"since": "yesterday"}, "number of milliseconds"),
        ({"until": "inf"}, "number of milliseconds"),
        ({"cursor": "made up"}, "cursor"),
        ({"stauts": "failed"}, "workflow, status"),
    ],
)
async def test_a_bad_parameter_is_refused_with_the_remedy(
    api: Api, query: dict[str, str], remedy: str
) -> None:
    answer = await api.get("/runs", expected=400, **query)

    assert remedy in answer["detail"]
