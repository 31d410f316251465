"""SQL through a running collector: the API, and what plugins call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import pytest_asyncio

from stagelight.conventions import EventType
from stagelight.events import Event
from stagelight_collector.app import Collector
from stagelight_collector.config import Settings
from stagelight_plugins.errors import HistoryAway, QueryFailed, QueryRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOW = 1_764_000_000_000_000_000
COUNT = "SELECT Workflow, count() AS runs FROM stagelight_runs GROUP BY Workflow"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def collector(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Collector]:
    """A collector with one run in history."""
    settings = {"data_dir": tmp_path_factory.mktemp("data"), "port": 0}
    async with Collector(Settings.model_validate(settings)) as running:
        await running.publish([Event(type=EventType.RUN_STARTED, run_id="r", time=NOW, workflow="etl")])
        yield running


async def post(collector: Collector, body: Any, expected: int = 200, **headers: str) -> Any:
    """Ask; the answer must have the expected status."""
    given: dict[str, Any] = {"data": body} if isinstance(body, bytes) else {"json": body}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{collector.url}/api/v1/sql", **given) as response,
    ):
        assert response.status == expected, await response.text()
        return await response.json()


async def test_a_plugin_asks_the_running_collector(collector: Collector) -> None:
    found = await collector.query(
        "SELECT RunId FROM stagelight_runs WHERE Workflow = {w:String}", {"w": "etl"}
    )
    assert (found.columns, found.rows, found.truncated) == (("RunId",), [["r"]], False)
    assert (await collector.query("SELECT * FROM numbers(3)", rows=2)).truncated
    with pytest.raises(QueryRefused, match="it is no question"):
        await collector.query("DROP TABLE otel_logs")
    with pytest.raises(QueryFailed, match=r"[Tt]imeout|TIMEOUT"):
        await collector.query("SELECT sum(number) FROM numbers(100000000000)", seconds=0.1)


async def test_the_api_answers_with_columns_types_and_rows(collector: Collector) -> None:
    assert await post(collector, {"sql": COUNT}) == {
        "columns": ["Workflow", "runs"],
        "types": ["String", "UInt64"],
        "rows": [["etl", 1]],
        "truncated": False,
    }
    found = await post(
        collector, {"sql": "SELECT {a:UInt8} + number FROM numbers(9)", "parameters": {"a": 1}, "rows": 2}
    )
    assert (found["rows"], found["truncated"]) == ([[1], [2]], True)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "The body is no question: Invalid JSON: EOF while parsing a value"),
        (b"[1]", "The body is no question"),
        ({}, 'The body is no question: sql: Field required. Send {"sql": "SELECT'),
        ({"sql": 3}, "sql: Input should be a valid string"),
        ({"sql": "SELECT 1", "rows": 0}, "rows: Input should be greater than or equal to 1"),
        ({"sql": "SELECT 1", "rows": 100_001}, "rows: Input should be less than or equal to 100000"),
        ({"sql": "SELECT 1", "seconds": 61}, "seconds: Input should be less than or equal to 60"),
        ({"sql": "SELECT 1", "x": 1}, "x: Extra inputs are not permitted"),
        ({"sql": "DROP TABLE otel_logs"}, "This SQL is refused: it is no question (Drop). Only SELECT, SHOW"),
        ({"sql": "SELECT file('/etc/passwd')"}, "the function file does more than calculate. Leave it out."),
    ],
)
async def test_what_is_no_question_is_told_in_one_line(collector: Collector, body: Any, detail: str) -> None:
    problem = await post(collector, body, 400, **{"Content-Type": "application/json"})
    assert detail in problem["detail"]
    assert "\n" not in problem["detail"]


async def test_a_mistake_has_the_engines_code(collector: Collector) -> None:
    problem = await post(collector, {"sql": "SELECT nonsense"}, 400)
    assert (problem["code"], problem["status"], problem["title"]) == (47, 400, "Bad Request")


async def test_a_form_of_a_page_is_no_question(collector: Collector) -> None:
    problem = await post(collector, b'{"sql": "SELECT 1"}', 415, **{"Content-Type": "text/plain"})
    assert "Content-Type must be application/json" in problem["detail"]


async def test_while_history_is_away_the_asker_may_try_again(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any, **__: Any) -> None:
        raise HistoryAway("history cannot be reached (connection refused)")

    monkeypatch.setattr("stagelight_collector.history.asking.Asker.ask", away)
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{collector.url}/api/v1/sql", json={"sql": "SELECT 1"}) as response,
    ):
        assert (response.status, response.headers["Retry-After"]) == (503, "1")
        assert "cannot be reached" in (await response.json())["detail"]
