"""`stagelight history` and `runs delete` against a real collector."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from stagelight_collector.cli import lines

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from .conftest import Answer, Running

APP = """
import stagelight
with stagelight.workflow("etl", run_id="deleted-run"):
    pass
"""


def test_status_and_prune_say_what_there_is(stagelight: Callable[..., Answer], shared: Running) -> None:
    said = stagelight("history", "status", "--url", shared.url).out
    assert re.match(
        r"chdb at .*\nKept: traces for ever, logs for ever, runs for ever \(\[retention\] in", said
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
    assert (again.code, "There is no run 'deleted-run'" in again.err) == (2, True)


def test_sizes_are_short() -> None:
    assert [lines.size(number) for number in (0, 1023, 1024, 5 << 20, 3 << 40, 5000 << 40)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "5.0 MiB",
        "3.0 TiB",
        "5000.0 TiB",
    ]
