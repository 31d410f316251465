"""The shipped dashboards and rules: every query is asked of a real engine that a real run has filled."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from stagelight_collector.app import Collector
from stagelight_collector.config import Settings
from stagelight_dashboards.grafana import grafana_files

from .macros import Expander

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.asyncio(loop_scope="module")

APP = """
import logging, stagelight

@stagelight.step
def load(n):
    return list(range(n))

@stagelight.step
def flaky(state):
    state.append(1)
    if len(state) < 2:
        raise ConnectionError("reset by peer")

@stagelight.step
def broken():
    raise ValueError("cannot be read")

@stagelight.workflow(name="import")
def good():
    state = []
    load(3)
    stagelight.log("loaded")
    for _ in range(2):
        try:
            flaky(state)
        except ConnectionError:
            pass

@stagelight.workflow(name="report's")
def bad():
    broken()

good()
try:
    bad()
except ValueError:
    pass
"""


class Filled:
    """A collector with two runs in history, of which one has failed."""

    def __init__(self, collector: Collector, run_id: str) -> None:
        self.collector = collector
        now = int(time.time())
        self.expander = Expander(now - 3600, now + 60, {"workflow": ["import", "report's"], "run": [run_id]})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def filled(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Filled]:
    folder = tmp_path_factory.mktemp("grafana")
    settings = {"data_dir": folder / "data", "port": 0, "clickhouse_port": 0}
    async with Collector(Settings.model_validate(settings)) as collector:
        (folder / "app.py").write_text(APP)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "app.py", cwd=folder, env={**os.environ, "STAGELIGHT_ENDPOINT": collector.url}
        )
        assert await process.wait() == 0
        async with asyncio.timeout(60):
            # The views of one insert are filled one after the other; the journal is emptied after the last.
            while collector.pipeline.journal.entries:
                await collector.query("SELECT 1")
        found = await collector.query(
            "SELECT RunId FROM stagelight_runs WHERE Ended IS NOT NULL ORDER BY Workflow"
        )
        assert len(found.rows) == 2
        yield Filled(collector, found.rows[0][0])


def queries() -> Iterator[tuple[str, str]]:
    """Yield every query of every panel, variable, annotation and rule, with a name."""
    for path, text in grafana_files().items():
        if path.endswith(".json"):
            yield from _of_board(Path(path).stem, json.loads(text))
        elif "alerting" in path:
            for rule in json.loads(text)["groups"][0]["rules"]:
                yield f"rule/{rule['title']}", rule["data"][0]["model"]["rawSql"]


def _of_board(name: str, board: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield f"{name}/{panel['title']}", target["rawSql"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield f"{name}/${variable['name']}", variable["query"]
    for annotation in board["annotations"].get("list", ()):
        yield f"{name}/@{annotation['name']}", annotation["target"]["rawSql"]


ALL = dict(queries())
assert len(ALL) > 30, "a test of no queries would pass"


@pytest.mark.parametrize("name", sorted(ALL))
async def test_a_query_finds_rows_in_the_engine(filled: Filled, name: str) -> None:
    found = await filled.collector.query(filled.expander.expand(ALL[name]))
    assert found.rows
    assert not any(column.startswith("$") for column in found.columns)


async def test_the_queries_find_the_same_through_the_http_interface(filled: Filled) -> None:
    assert filled.collector.clickhouse is not None
    port = filled.collector.clickhouse.port
    clickhouse_connect: Any = importlib.import_module("clickhouse_connect")

    def ask() -> dict[str, int]:
        client = clickhouse_connect.get_client(host="127.0.0.1", port=port, database="stagelight")
        try:
            return {
                name: len(client.query(filled.expander.expand(sql)).result_rows) for name, sql in ALL.items()
            }
        finally:
            client.close()

    through = await asyncio.to_thread(ask)
    direct = {
        name: len((await filled.collector.query(filled.expander.expand(sql))).rows)
        for name, sql in ALL.items()
    }
    assert through == direct


async def test_what_the_panels_say_is_true_of_the_runs(filled: Filled) -> None:
    async def value(name: str) -> list[list[Any]]:
        return [list(row) for row in (await filled.collector.query(filled.expander.expand(ALL[name]))).rows]

    assert await value("overview/Runs") == [[2]]
    assert await value("overview/Failed") == [[1]]
    assert await value("overview/Success") == [[0.5]]
    assert await value("rule/A run has failed") == [[1]]
    steps = {row[0]: row[1:4] for row in await value("steps/Steps")}
    assert steps == {"load": [1, 0, 0], "flaky": [1, 0, 1], "broken": [1, 1, 0]}
