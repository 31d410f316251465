"""`stagelight history` and `runs delete` against a real collector."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from stagelight_collector.cli import lines

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from .conftest import Answer, Running

APP = """
import stagelight
with stagelight.workflow("etl", run_id="deleted-run"):
    pass
"""


def test_status_and_prune_say_what_there_is(stagelight: Callable[..., Answer], shared: Running) -> None:
    said = stagelight("history", "status", "--url", shared.url).out
    assert re.match(
        r"chdb at .*\nKept: traces for ever, logs for ever, metrics for ever, runs for ever \(\[retention\] in",
        said,
    )
    assert re.search(r"^all +[\d,]+ +[\d.]+ [KM]?i?B +\d+", said, flags=re.MULTILINE)
    assert json.loads(stagelight("history", "status", "--json", "--url", shared.url).out)["parts"] > 0

    pruned = stagelight("history", "prune", "--dry-run", "--url", shared.url)
    assert (pruned.out, pruned.err) == ("", "Would drop 0 rows, 0 B, and forget 0 runs.\n")
    assert json.loads(stagelight("history", "prune", "--json", "--url", shared.url).out)["dropped"] == []


def test_a_run_is_deleted(
    stagelight: Callable[..., Answer],
    shared: Running,
    program: Callable[[Running, str], subprocess.Popen[str]],
) -> None:
    program(shared, APP)
    shared.wait_for("deleted-run", "completed")

    assert stagelight("runs", "delete", "deleted-run", "--url", shared.url).out == "Deleted deleted-run.\n"
    again = stagelight("runs", "delete", "deleted-run", "--url", shared.url)
    assert (again.code, "there is no run 'deleted-run'" in again.err) == (2, True)


def test_the_tables_of_a_cluster_are_printed_without_a_server(
    stagelight: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAGELIGHT_HISTORY", "clickhouse://host/stage")
    said = stagelight("history", "init", "--cluster", "main", "--dry-run").out
    assert said.startswith("CREATE DATABASE IF NOT EXISTS `stage` ON CLUSTER 'main';\n")
    assert (
        "ENGINE = Distributed('main', currentDatabase(), 'otel_traces_local', cityHash64(TraceId));" in said
    )
    assert "TYPE text(tokenizer = 'array')" in said

    bloom = stagelight("history", "init", "--dry-run", "--indexes", "bloom").out
    assert ("TYPE text(" in bloom, "ON CLUSTER" in bloom, "bloom_filter" in bloom) == (False, False, True)


def test_an_init_that_cannot_be_says_what_to_do(
    stagelight: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAGELIGHT_DATA_DIR", str(tmp_path))
    refused = stagelight("history", "init", "--cluster", "main")
    assert (refused.code, refused.out) == (2, "")
    assert "a cluster needs a ClickHouse server" in refused.err
    monkeypatch.setenv("STAGELIGHT_HISTORY", "clickhouse://127.0.0.1:1/stage")
    away = stagelight("history", "init")
    assert away.code == 2
    assert "cannot reach ClickHouse at 127.0.0.1:1 (connection refused)" in away.err


def test_sizes_are_short() -> None:
    assert [lines.size(number) for number in (0, 1023, 1024, 5 << 20, 3 << 40, 5000 << 40)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "5.0 MiB",
        "3.0 TiB",
        "5000.0 TiB",
    ]
