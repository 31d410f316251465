"""kill -9 while rows go in: what was acknowledged is there, and a retry makes it whole, once."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = 5

WRITER = """
import asyncio, sys
from pathlib import Path
from stagelight.conventions import EventType
from stagelight.events import Event
from stagelight_collector.history import open_history
from stagelight_plugins.hookspecs import Batch

NOW = 1_764_000_000_000_000_000

def batch(number):
    ids = range(number * 200, number * 200 + 200)
    spans = {"Timestamp": [NOW + i for i in ids], "TraceId": [f"t{i}" for i in ids], "SpanId": [f"{i:016x}" for i in ids]}
    events = [Event(type=EventType.RUN_STARTED, run_id=f"r{i}", time=NOW + i, trace_id=f"t{i}") for i in ids]
    return Batch(seq=number, events=events, traces=spans)

async def insert(first, path):
    history = await open_history("chdb://", data_dir=Path(path))
    for number in range(first, 10_000):
        await history.insert(batch(number), f"batch {number}", again=number == first)
        print(number, flush=True)

async def count(batches, path):
    history = await open_history("chdb://", data_dir=Path(path))
    await history.insert(batch(batches - 1), f"batch {batches - 1}", again=True)
    for table in ("otel_traces", "stagelight_events", "otel_traces_trace_id_ts FINAL", "stagelight_run_states FINAL"):
        rows = await history._read.call(lambda handle: handle.query(f"SELECT count() FROM {table}").result_rows)
        print(rows[0][0])
    page = await history.list_runs(__import__("stagelight_collector.history").history.RunFilter(), None, 10_000)
    print(len(page.items), bool(page.cursor))
    await history.close()

asyncio.run({"insert": insert, "count": count}[sys.argv[1]](int(sys.argv[2]), sys.argv[3]))
"""


@pytest.mark.crash
def test_acknowledged_rows_survive_kill_9_and_a_retry_makes_it_whole_once(
    tmp_path: Path,
) -> None:
    acknowledged = -1
    for number in range(ROUNDS):
        # The batch after the last acknowledged one may be in, in part or whole: it is sent again, as the journal does.
        command = [sys.executable, "-c", WRITER, "insert", str(acknowledged + 1), str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(2 + number):
                acknowledged = int(process.stdout.readline())
            process.kill()
            rest = process.stdout.read().split()
        acknowledged = max([acknowledged, *map(int, rest)])

    batches = acknowledged + 2
    done = subprocess.run(
        [sys.executable, "-c", WRITER, "count", str(batches), str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:4] == [str(batches * 200)] * 4
    assert done.stdout.split("\n")[4] == f"{min(batches * 200, 10_000)} {batches * 200 > 10_000}"
