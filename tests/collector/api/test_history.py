"""What is kept: its size, what a prune drops, and the deletion of a run, through a running collector."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from stagelight.conventions import EventType
from stagelight.events import Event
from stagelight_collector.app import Collector
from stagelight_collector.config import Settings
from stagelight_collector.history import HistoryError, Pruning, Retention
from stagelight_collector.retention import AGAIN_SECONDS, DAY_SECONDS, Keeper

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

DAY = 86_400 * 1_000_000_000
NOW = time.time_ns()
OLD = NOW - 40 * DAY


def life(run_id: str, begin: int, *, over: bool = True) -> list[Event]:
    """Make a run."""
    events = [Event(type=EventType.RUN_STARTED, run_id=run_id, time=begin, workflow="etl")]
    return events + [Event(type=EventType.RUN_COMPLETED, run_id=run_id, time=begin + 1)] * over


def settings(folder: Path, **retention: int) -> Settings:
    """Return settings with a retention."""
    return Settings.model_validate({"data_dir": folder, "port": 0, "retention": retention})


class Api:
    """The collector's API as a client sees it."""

    def __init__(self, collector: Collector, session: aiohttp.ClientSession) -> None:
        self.collector = collector
        self.session = session

    async def call(self, method: str, path: str, expected: int = 200, **query: Any) -> Any:
        """Call; the answer must have the expected status."""
        url = f"{self.collector.url}/api/v1{path}"
        async with self.session.request(method, url, params=query) as response:
            assert response.status == expected, await response.text()
            return await response.json()

    async def ids(self) -> list[str]:
        """Return the runs of the list."""
        return [run["id"] for run in (await self.call("GET", "/runs"))["runs"]]


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """A collector that keeps 30 days of runs."""
    async with Collector(settings(tmp_path, runs=30)) as collector, aiohttp.ClientSession() as session:
        yield Api(collector, session)


async def test_the_size_of_history_is_told(api: Api) -> None:
    await api.collector.publish(life("r", NOW))
    found = await api.call("GET", "/history")
    (events,) = [table for table in found["tables"] if table["name"] == "stagelight_events"]
    assert (events["rows"], events["oldest_ms"]) == (2, pytest.approx(NOW / 1e6))
    assert found["engine"].startswith("chdb at ")
    assert found["bytes"] >= events["bytes"] > 0
    assert found["retention_days"] == {"traces": 0, "logs": 0, "metrics": 0, "runs": 30}
    assert found["pruned_ms"] >= NOW / 1e6


async def test_a_prune_drops_what_it_said_it_would(api: Api) -> None:
    await api.collector.publish([*life("old", OLD), *life("new", NOW)])
    would = await api.call("POST", "/history/prune", dry_run=1)
    assert (would["rows"], would["runs"], would["dropped"][0]["table"]) == (2, 1, "stagelight_events")
    assert await api.call("POST", "/history/prune") == would
    again = await api.call("POST", "/history/prune")
    assert again == {"dropped": [], "rows": 0, "bytes": 0, "runs": 0}
    assert "neither 0 nor 1" in (await api.call("POST", "/history/prune", 400, dry_run="yes"))["detail"]
    assert "no parameter 'dry'" in (await api.call("POST", "/history/prune", 400, dry=1))["detail"]


async def test_a_collector_prunes_when_it_starts(tmp_path: Path) -> None:
    async with Collector(settings(tmp_path)) as collector:
        await collector.publish([*life("old", OLD), *life("new", NOW)])
    async with Collector(settings(tmp_path, runs=30)) as collector, asyncio.timeout(20):
        while (await collector.query("SELECT RunId FROM stagelight_runs")).rows != [["new"]]:  # noqa: ASYNC110 - as below
            await asyncio.sleep(0)  # the engine tells nobody when it has deleted


async def test_a_run_is_deleted_from_memory_and_history(api: Api) -> None:
    await api.collector.publish([*life("gone", NOW), *life("stays", NOW)])
    url = f"{api.collector.url}/api/v1/feed?room=lobby&room=gone"
    async with api.session.get(url) as feed:
        assert await api.call("DELETE", "/runs/gone") == {"run": "gone", "deleted": True}
        told = {"lobby": False, "gone": False}
        async with asyncio.timeout(20):
            while not all(told.values()):
                line = (await feed.content.readline()).decode()
                if line.startswith("event: gone"):
                    data = (await feed.content.readline()).decode()
                    told |= {room: True for room in told if f'"room":"{room}"' in data}
    assert await api.ids() == ["stays"]
    await api.call("GET", "/runs/gone", 404)
    assert "There is no run 'gone'" in (await api.call("DELETE", "/runs/gone", 404))["detail"]


async def test_what_was_received_but_is_not_in_history_does_not_come_back(api: Api) -> None:
    await api.collector.accept(life("gone", NOW))
    await api.call("DELETE", "/runs/gone")
    await api.collector.pipeline.archive.drain()
    assert api.collector.pipeline.journal.entries == 0
    assert await api.ids() == []


async def test_a_run_that_goes_on_is_deleted_only_by_force(api: Api) -> None:
    await api.collector.publish(life("runs", NOW, over=False))
    problem = await api.call("DELETE", "/runs/runs", 409)
    assert "has not ended. What it still sends would make it appear again; add force=1" in problem["detail"]
    await api.call("DELETE", "/runs/runs", force=1)
    assert await api.ids() == []


async def test_a_prune_comes_daily_and_sooner_after_a_failure() -> None:
    asked: list[int] = []

    class History:
        async def prune(self, keep: Retention, now: int, *, dry_run: bool) -> Pruning:
            assert (keep.logs, dry_run) == (7, False)
            asked.append(now)
            if len(asked) == 2:
                raise HistoryError("no space left")
            return Pruning(dropped=[], runs=0)

    slept: list[float] = []
    problems: list[str] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        problems.append(keeper.problem)
        if len(slept) == 3:
            raise asyncio.CancelledError

    history: Any = History()
    keeper = Keeper(history, Retention(logs=7), now=lambda: 5, sleep=sleep)
    with pytest.raises(asyncio.CancelledError):
        await keeper.run()
    assert slept == [DAY_SECONDS, AGAIN_SECONDS, DAY_SECONDS]
    assert problems == ["", "history is not pruned: no space left", ""]
    assert (asked, keeper.pruned) == ([5, 5, 5], 5)
