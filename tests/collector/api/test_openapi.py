"""The OpenAPI document is one, names every route, and is true of what is answered."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # its stubs are a package of their own
from openapi_spec_validator import validate

from stagelight.conventions import EventType
from stagelight.events import Event, Failure
from stagelight_collector.api import openapi
from stagelight_collector.app import Collector
from stagelight_collector.config import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

DOCUMENT: Final = openapi.document()
NOW: Final = time.time_ns()
RUN: Final[dict[str, Any]] = {"run_id": "r", "workflow": "etl", "trace_id": "ab" * 16, "service": "s"}
STEP: Final[dict[str, Any]] = {**RUN, "step_id": "x", "step_name": "load", "step_kind": "do", "attempt": 1}
EVENTS: Final = (
    Event(type=EventType.RUN_STARTED, time=NOW, attributes={"a": 1}, **RUN),
    Event(type=EventType.STEP_STARTED, time=NOW + 1, **STEP),
    Event(type=EventType.PROGRESS, time=NOW + 2, current=1, total=2, message="half", **RUN),
    Event(type=EventType.LOG, time=NOW + 3, message="line", severity="INFO", **RUN),
    Event(type=EventType.STEP_FAILED, time=NOW + 4, error=Failure(type="E", message="m"), **STEP),
    Event(type=EventType.RUN_FAILED, time=NOW + 5, error=Failure(type="E", message="m"), **RUN),
    Event(type=EventType.RUN_STARTED, time=NOW + 6, run_id="open", workflow="etl"),
    Event(type=EventType.RUN_STARTED, time=NOW + 6, run_id="gone", workflow="other"),
    Event(type=EventType.RUN_COMPLETED, time=NOW + 6, run_id="gone", workflow="other"),
    Event(type=EventType.RUN_STARTED, time=NOW + 7, run_id="done", workflow="etl"),
    Event(type=EventType.RUN_COMPLETED, time=NOW + 9_000_000, run_id="done", workflow="etl"),
)
ANSWERS: Final = {
    "/api/v1/runs": "/api/v1/runs?status=failed&limit=5",
    "/api/v1/runs/{id}": "/api/v1/runs/r",
    "/api/v1/runs/{id}/events": "/api/v1/runs/r/events",
    "/api/v1/runs/{id}/spans": "/api/v1/runs/spanned/spans",
    "/api/v1/workflows": "/api/v1/workflows",
    "/api/v1/workflows/{name}": "/api/v1/workflows/etl",
    "/api/v1/errors": "/api/v1/errors",
    "/api/v1/history": "/api/v1/history",
    "/api/v1/pages": "/api/v1/pages",
    "/api/v1/openapi.json": "/api/v1/openapi.json",
    "/healthz": "/healthz",
}
"""Every GET that answers with JSON, and an example of it."""


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def collector(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Collector]:
    given = {
        "data_dir": tmp_path_factory.mktemp("openapi"),
        "port": 0,
        "grafana_url": "https://g.example/team",
    }
    async with Collector(Settings.model_validate(given)) as running:
        await running.publish(EVENTS)
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as client:
        yield client


def check(name: str, found: Any) -> None:
    """Hold an answer to a schema; every key must be known, and be there."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    validator: Any = Draft202012Validator(schema)
    errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(found)]
    assert errors == []


def schema_of(path: str, method: str = "get", status: str = "200") -> str:
    content = DOCUMENT["paths"][path][method]["responses"][status]["content"]
    return str(content["application/json"]["schema"]["$ref"]).rpartition("/")[2]


async def test_it_is_an_openapi_document() -> None:
    validate(DOCUMENT)
    json.dumps(DOCUMENT)
    named = set(json.dumps(DOCUMENT["paths"]).split("#/components/schemas/"))
    assert len(named) > 10


def _routes(collector: Collector) -> Iterator[tuple[str, str]]:
    ours = {"receiver", "api", "history", "statistics", "sql", "openapi", "transfer", "feed", "health"}
    for name, routes in collector.plugins.call("register_routes", collector=collector):
        for route in routes if name in ours else ():
            assert isinstance(route, web.RouteDef)
            path = route.path.replace(":[^/]+", "")
            yield path, "post" if path.startswith("/v1/") else route.method.lower()


async def test_every_route_is_in_it_and_no_other(collector: Collector) -> None:
    described = {(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert set(_routes(collector)) == described


async def test_the_document_is_served(collector: Collector, session: aiohttp.ClientSession) -> None:
    async with session.get(f"{collector.url}/api/v1/openapi.json") as answer:
        assert (answer.status, await answer.json()) == (200, json.loads(json.dumps(DOCUMENT)))


async def _spans(collector: Collector, session: aiohttp.ClientSession) -> None:
    key = {"key": "workflow.run.id", "value": {"stringValue": "spanned"}}
    span = {
        "name": "n", "traceId": "cd" * 16, "spanId": "ef" * 8, "startTimeUnixNano": str(NOW), "endTimeUnixNano": str(NOW + 5),
        "attributes": [key, {"key": "workflow.name", "value": {"stringValue": "w"}}],
        "events": [{"name": "e", "timeUnixNano": str(NOW)}], "links": [{"traceId": "ab" * 16, "spanId": "ab" * 8}],
    }  # fmt: skip
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    async with session.post(f"{collector.url}/v1/traces", json=body) as answer:
        assert answer.status == 200
    await collector.settle()
    await collector.pipeline.archive.drain()


async def test_every_answer_has_the_shape_that_is_promised(
    collector: Collector, session: aiohttp.ClientSession
) -> None:
    await _spans(collector, session)
    json_paths = {
        path
        for path, methods in DOCUMENT["paths"].items()
        if "application/json" in methods.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
    }
    assert set(ANSWERS) == json_paths
    for path, example in ANSWERS.items():
        async with session.get(f"{collector.url}{example}") as answer:
            assert answer.status == 200, example
            found = await answer.json()
        check(schema_of(path), found)
        first = next(iter(found.values()))
        assert path == "/healthz" or first, f"an empty answer proves nothing: {example}"


async def test_the_page_is_told_where_grafana_is(
    collector: Collector, session: aiohttp.ClientSession
) -> None:
    async with session.get(f"{collector.url}/api/v1/pages") as answer:
        assert (await answer.json())["grafana"] == "https://g.example/team/"


async def test_what_is_sent_and_done_is_answered_as_promised(
    collector: Collector, session: aiohttp.ClientSession
) -> None:
    async def call(method: str, path: str, described: str, **request: Any) -> Any:
        async with session.request(method, f"{collector.url}{path}", **request) as answer:
            assert answer.status == 200, await answer.text()
            found = await answer.json()
        check(schema_of(described, method), found)
        return found

    await call("post", "/api/v1/sql", "/api/v1/sql", json={"sql": "SELECT 1 AS a"})
    await call("post", "/api/v1/history/prune?dry_run=1", "/api/v1/history/prune")
    async with session.get(f"{collector.url}/api/v1/runs/gone/export") as answer:
        assert (
            answer.content_type
            in DOCUMENT["paths"]["/api/v1/runs/{id}/export"]["get"]["responses"]["200"]["content"]
        )
        data = await answer.read()
    headers = {"Content-Type": "application/x-ndjson"}
    await call("post", "/api/v1/runs/import", "/api/v1/runs/import", data=data, headers=headers)
    await call("delete", "/api/v1/runs/gone", "/api/v1/runs/{id}")


@pytest.mark.parametrize(
    "path", ["/api/v1/runs/nobody", "/api/v1/runs?status=odd", "/api/v1/workflows/none", "/nowhere"]
)
async def test_errors_have_their_shape_too(
    collector: Collector, session: aiohttp.ClientSession, path: str
) -> None:
    async with session.get(f"{collector.url}{path}") as answer:
        assert answer.status >= 400
        assert answer.content_type == "application/problem+json"
        check("Problem", await answer.json())


async def test_every_parameter_that_is_described_is_taken(
    collector: Collector, session: aiohttp.ClientSession
) -> None:
    examples = {
        "attribute": "a=1",
        "status": "failed",
        "since": "1",
        "until": "99",
        "limit": "5",
        "min_duration_ms": "1",
        "max_duration_ms": "5",
    }
    for path in ("/api/v1/runs", "/api/v1/workflows/{name}", "/api/v1/errors"):
        names = [
            item["name"] for item in DOCUMENT["paths"][path]["get"]["parameters"] if item["in"] == "query"
        ]
        query = {name: examples.get(name, "x") for name in names if name != "cursor"}
        async with session.get(f"{collector.url}{path.replace('{name}', 'etl')}", params=query) as answer:
            assert answer.status in {200, 404}, await answer.text()


async def test_a_workflow_has_a_baseline_and_a_trend(collector: Collector) -> None:
    found = await collector.pipeline.archive.history.workflow("etl")
    assert found is not None
    assert found.baseline == pytest.approx(9_000_000 / 1e6, rel=0.01)
    assert (sum(part.runs for part in found.trend), sum(part.failed for part in found.trend)) == (3, 1)
    assert found.trend[0].start == NOW
    assert 1 <= len(found.trend) <= 24
