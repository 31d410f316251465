"""The collector as one object: it starts whole or not at all, and stops in bounded time."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from stagelight_collector.app import Collector
from stagelight_collector.config import Settings
from stagelight_collector.core import core_plugins
from stagelight_collector.errors import ClickHousePortUnusable, DataDirUnusable, PortTaken
from stagelight_collector.hosting import PluginHost
from stagelight_collector.security import UnsafeBind
from stagelight_plugins.errors import BrokenPlugin

if TYPE_CHECKING:
    from stagelight_collector.sinks import SinkRunner


def settings(folder: Path, **changed: object) -> Settings:
    """Return settings that no file or variable changes."""
    return Settings.model_validate({"data_dir": folder, "port": 0, **changed})


async def test_a_taken_port_is_told_before_anything_is_opened(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        collector = Collector(settings(tmp_path / "data", port=other.getsockname()[1]))
        with pytest.raises(PortTaken, match="is taken"):
            await collector.start()

    assert not (tmp_path / "data").exists()


async def test_an_address_that_others_reach_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafeBind, match="refusing to listen"):
        await Collector(settings(tmp_path, host="0.0.0.0")).start()  # noqa: S104 - that is the test


async def test_an_unusable_data_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataDirUnusable, match="choose another with --data-dir"):
        await Collector(settings(tmp_path / "file" / "below")).start()


async def test_clients_of_clickhouse_read_history_where_that_is_asked_for(tmp_path: Path) -> None:
    async with (
        Collector(settings(tmp_path, clickhouse_port=0, history="chdb://memory")) as collector,
        aiohttp.ClientSession() as session,
    ):
        assert collector.clickhouse is not None
        async with session.post(
            collector.clickhouse.url, data="SELECT count() FROM stagelight_runs"
        ) as answer:
            assert (answer.status, await answer.text()) == (200, "0\n")


async def test_clients_of_a_server_are_sent_to_that_server(tmp_path: Path) -> None:
    collector = Collector(settings(tmp_path, clickhouse_port=0, history="clickhouse://127.0.0.1:9/x"))
    with pytest.raises(ClickHousePortUnusable, match="point clients at that server"):
        await collector.start()


async def test_a_start_that_fails_closes_what_plugins_opened_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened() -> set[str]:
        found = Path("/proc/self/fd").iterdir()
        return {str(link.readlink()) for link in found if link.is_symlink()}

    sinks, seen = PluginHost.sinks, set[str]()

    def broken(host: PluginHost) -> list[SinkRunner]:
        sinks(host)
        seen.update(opened())
        raise BrokenPlugin("other", "it gives no sink")

    monkeypatch.setattr(PluginHost, "sinks", broken)
    with pytest.raises(BrokenPlugin):
        await Collector(settings(tmp_path, history="chdb://memory")).start()

    files = {path for path in seen if path.startswith(str(tmp_path / "plugins"))}
    assert {Path(path).name for path in files} >= {"alerts.sqlite", "diagrams.sqlite"}
    assert not files & opened()


async def test_stop_is_safe_before_start_and_twice(tmp_path: Path) -> None:
    collector = Collector(settings(tmp_path))
    await collector.stop()
    await collector.stop()

    assert collector.url == ""


async def test_a_collector_starts_serves_and_stops_without_leaving_anything(tmp_path: Path) -> None:
    before = asyncio.all_tasks()
    async with Collector(settings(tmp_path)) as collector, aiohttp.ClientSession() as session:
        async with session.get(f"{collector.url}/healthz") as response:
            assert await response.json() == {"status": "ok", "problems": []}
        async with session.get(f"{collector.url}/metrics") as response:
            metrics = await response.text()
        async with session.get(f"{collector.url}/nowhere") as response:
            assert (response.status, response.content_type) == (404, "application/problem+json")
        async with session.get(f"{collector.url}/api/v1/runs?stauts=x") as response:
            assert "no parameter 'stauts'" in (await response.json())["detail"]
        names = [name for name, _ in core_plugins()]
        assert [info.name for info in collector.plugins.infos() if info.kind == "core"] == names

    assert "stagelight_journal_entries 0.0" in metrics
    assert "stagelight_rooms_closed_idle_total 0.0" in metrics
    assert not collector.left_behind
    assert asyncio.all_tasks() == before
