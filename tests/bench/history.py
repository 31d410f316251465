"""The first page of the list of runs by each filter, and one run by id, among 10 million runs.

The runs are made by the engine itself (`INSERT … SELECT FROM numbers()`), each with one step, in the tables that the
list reads; as events, from which views feed these tables, they take much longer. Each question is asked of history as the API asks it, several times; `value` is the
median in milliseconds, `worst` the slowest, `items` what came back. The peer is the plain query over
`stagelight_runs` that gives the same runs, in the same run, once, with more memory and time than history allows
itself; where it needs still more, `peer` is null and `peer_error` says why. `ratio` is peer / value: how many times
faster history is. `load` is the machine's load when the questions began, over its cores.

    python tests/bench/history.py [--runs 10000000] [--no-peer]

Prints a JSON line for each question; progress goes to standard error. Needs about 300 bytes of disk per run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stagelight.conventions import RunStatus
from stagelight_collector.history import History, RunFilter, open_history
from stagelight_collector.history.engine import ChdbEngine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from stagelight_collector.history.engine import Handle

CHUNK: Final = 1_000_000
"""Runs of one insert."""
DISK_PER_RUN: Final = 1_000
"""Bytes that must be free for each run: what is kept and what merges need for a while."""
GAP_NS: Final = 3_000_000_000
"""Between two starts: 10 million runs are a year."""
END_NS: Final = 1_764_000_000_000_000_000
ASKED: Final = 5
PAGE: Final = 50
MINUTE: Final = 60_000_000_000

_RUNS: Final = """
WITH
    lower(hex(MD5(toString(number)))) AS Id,
    cityHash64(number) AS Chance,
    {begin:Int64} + toInt64(number) * {gap:Int64} AS Start,
    Start + if(Chance % 1000 = 7, 600, Chance % 60) * 1000000000 + 1000000 AS Finish,
    9223372036854775807 AS Never,
    Chance % 50 = 0 AS Failed,
    if(Failed, 'failed', 'completed') AS Status,
    ['TimeoutError', 'KeyError', 'CardDeclined', 'OSError', 'ValueError'][intDiv(Chance, 50) % 5 + 1] AS Reason,
    if(Failed, Reason, '') AS ErrorType,
    if(Failed, concat('order ', toString(number), ' cannot be taken'), '') AS ErrorMessage,
    concat('workflow_', toString(intDiv(Chance, 7) % 50)) AS Flow
"""
_FROM: Final = "FROM numbers({first:UInt64}, {count:UInt64})"
MAKE: Final[Mapping[str, str]] = {
    "stagelight_run_states": """
SELECT
    Id AS RunId, (Start, Flow) AS Workflow, (Start, 'bench') AS Service, (Never, '') AS ParentRunId, (Never, '') AS ParentStepId,
    Start AS First, Start AS Began, toInt64(-1) AS Resumed, toUInt8(1) AS HasSteps, (Finish, concat('run_', Status)) AS Last,
    (Start, toUInt8(3), 'running') AS Phase, (Finish, Status, ErrorType, ErrorMessage) AS Ending, [Id] AS TraceIds
""",
    "stagelight_step_states": """
SELECT
    Id AS RunId, 'load' AS StepId, (Start, 'load') AS Name, (Start, 'do') AS Kind, (Never, '') AS ParentStepId,
    (Never, '') AS ChildRunId, Start AS Began, toUInt32(1) AS Attempt,
    (toUInt32(1), Finish, Status, ErrorType, ErrorMessage) AS Ending, toInt64(-1) AS Slept, toInt64(-1) AS Woke
""",
    "stagelight_run_endings": """
SELECT
    toUInt32(intDiv(Start, 10000000000)) AS Period, Id AS RunId, Flow AS Workflow, Status, ErrorType, ErrorMessage,
    toInt64(Finish - Start) AS Lasted
""",
    "stagelight_run_periods": """
SELECT toUInt32(intDiv(arrayJoin([Start, Finish]), 10000000000)) AS Period, Id AS RunId, Flow AS Workflow
""",
    "otel_traces (Timestamp, TraceId, SpanId, SpanName, ServiceName, SpanAttributes, Duration, StatusCode)": """
SELECT
    fromUnixTimestamp64Nano(Start), Id, left(Id, 16), Flow, 'bench',
    map('customer', toString(number), 'region', ['eu', 'us', 'asia'][Chance % 3 + 1], 'tenant', toString(Chance % 1000),
        'workflow.name', Flow, 'workflow.run.id', Id),
    Finish - Start, if(Failed, 'Error', 'Ok')
""",
}
"""What the views make of a run of one step: its start, the step's start and end, its end; and its span."""

BUILDING: Final = {"max_insert_threads": 1, "max_threads": 2, "min_insert_block_size_rows": 2_000_000}

FILTERS: Final[Mapping[str, tuple[RunFilter, str]]] = {
    "unfiltered": (RunFilter(), "1"),
    "workflow": (RunFilter(workflow="workflow_7"), "Workflow = 'workflow_7'"),
    "status": (RunFilter(status=RunStatus.FAILED), "Status = 'failed'"),
    "time": (
        RunFilter(since=END_NS - 40_000 * MINUTE, until=END_NS - 20_000 * MINUTE),
        f"Started >= fromUnixTimestamp64Nano({END_NS - 40_000 * MINUTE}) AND Started < fromUnixTimestamp64Nano({END_NS - 20_000 * MINUTE})",
    ),
    "duration": (RunFilter(min_duration=5 * MINUTE), "DurationMs >= 300000"),
    "running": (RunFilter(status=RunStatus.RUNNING), "Status = 'running'"),
    "error": (RunFilter(error="timeout"), "positionCaseInsensitiveUTF8(ErrorType, 'timeout') > 0"),
    "text": (RunFilter(q="be taken"), "positionCaseInsensitiveUTF8(ErrorMessage, 'be taken') > 0"),
    "attribute of a third": (
        RunFilter(attributes=[("region", "eu")]),
        "RunId IN (SELECT WorkflowRunId FROM otel_traces WHERE SpanAttributes['region'] = 'eu')",
    ),
    "attribute of one in a thousand": (
        RunFilter(attributes=[("tenant", "7")]),
        "RunId IN (SELECT WorkflowRunId FROM otel_traces WHERE SpanAttributes['tenant'] = '7')",
    ),
    "attribute of one run": (
        RunFilter(attributes=[("customer", "77")]),
        "RunId IN (SELECT WorkflowRunId FROM otel_traces WHERE SpanAttributes['customer'] = '77')",
    ),
    "text of no run": (
        RunFilter(q="nobody has this"),
        "positionCaseInsensitiveUTF8(ErrorMessage, 'nobody has this') > 0",
    ),
}
"""What history is asked, and the same as a condition of the plain query."""

PLAIN: Final = "SELECT * FROM stagelight_runs WHERE {where} ORDER BY Started DESC, RunId DESC LIMIT {limit}"
PEER_LIMITS: Final = {"max_memory_usage": 6 << 30, "max_execution_time": 20, "max_threads": 2}


class Plain:
    """The engine, asked by hand, in a thread of its own."""

    def __init__(self, path: Path) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._handle: Handle = self._thread.submit(self._open, path).result()

    @staticmethod
    def _open(path: Path) -> Handle:
        return ChdbEngine(path=str(path), database="").connect(database="stagelight", settings={})

    def ask(self, sql: str, limits: Mapping[str, Any], **parameters: Any) -> int:
        """Ask; return the number of rows."""
        asked = self._thread.submit(lambda: self._handle.query(sql, parameters, dict(limits)).result_rows)
        return len(asked.result())

    def close(self) -> None:
        """Close it."""
        self._thread.submit(self._handle.close).result()
        self._thread.shutdown()


def say(text: str) -> None:
    """Tell whoever waits."""
    print(text, file=sys.stderr, flush=True)


def build(plain: Plain, runs: int, path: Path) -> None:
    """Make the runs, the last one started at `END_NS`."""
    began = time.monotonic()
    for first in range(0, runs, CHUNK):
        count = min(CHUNK, runs - first)
        for table, columns in MAKE.items():
            sql = f"INSERT INTO {table} {_RUNS} {columns} {_FROM}"
            plain.ask(sql, BUILDING, begin=END_NS - runs * GAP_NS, gap=GAP_NS, first=first, count=count)
        seconds = time.monotonic() - began
        say(f"{first + count:,} of {runs:,} runs in {seconds:.0f} s, {size(path) / 1e9:.2f} GB")
        if shutil.disk_usage(path).free < 2 << 30:
            raise SystemExit("less than 2 GiB of disk are left; make fewer runs with --runs")


def settle(plain: Plain) -> None:
    """Wait until the engine merges no longer, at most five minutes: what was built at once was not lived with for a year."""
    say("waiting for merges")
    quiet, until = 0, time.monotonic() + 300
    while quiet < 5 and time.monotonic() < until:
        quiet = 0 if plain.ask("SELECT * FROM system.merges", {}) else quiet + 1
        time.sleep(1)


def size(path: Path) -> int:
    """Return how many bytes a folder holds; files that a merge takes away meanwhile are not counted."""
    found = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                found += (Path(folder) / name).stat().st_size
            except FileNotFoundError:
                continue
    return found


async def timed(ask: Callable[[], Awaitable[int]]) -> dict[str, Any]:
    """Ask several times."""
    lengths: list[float] = []
    items = 0
    for _ in range(ASKED):
        began = time.perf_counter()
        items = await ask()
        lengths.append((time.perf_counter() - began) * 1_000)
    return {"value": round(statistics.median(lengths), 1), "worst": round(max(lengths), 1), "items": items}


def peer(plain: Plain, where: str, limit: int) -> dict[str, Any]:
    """Ask the plain query, once: it takes long."""
    began = time.perf_counter()
    try:
        items = plain.ask(PLAIN.format(where=where, limit=limit), PEER_LIMITS)
    except Exception as error:  # noqa: BLE001 - whatever the engine says, the other questions are still asked
        return {"peer": None, "peer_error": str(error).partition("\n")[0][:120]}
    return {"peer": round((time.perf_counter() - began) * 1_000, 1), "peer_items": items}


async def measure(history: History, plain: Plain, runs: int, with_peer: bool) -> None:
    """Ask everything, and print it."""
    load = f"{os.getloadavg()[0]:.1f}/{os.cpu_count()}"

    async def page(wanted: RunFilter) -> int:
        return len((await history.list_runs(wanted, None, PAGE)).items)

    async def one(run_id: str) -> int:
        return int(await history.run(run_id) is not None)

    (middle,) = [(await history.list_runs(RunFilter(until=END_NS - runs // 2 * GAP_NS), None, 1)).items[0].id]
    for name, (wanted, where) in FILTERS.items():
        found = await timed(partial(page, wanted))
        report(
            f"history: first page, {name}", found, peer(plain, where, PAGE) if with_peer else {}, runs, load
        )
    found = await timed(partial(one, middle))
    report("history: one run", found, peer(plain, f"RunId = '{middle}'", 1) if with_peer else {}, runs, load)


def report(name: str, found: dict[str, Any], beside: dict[str, Any], runs: int, load: str) -> None:
    """Print a line."""
    other = beside.get("peer")
    ratio = round(other / found["value"], 2) if other else None
    line = {"name": name, "unit": "ms", **found, "ratio": ratio, **beside, "runs": runs, "load": load}
    print(json.dumps(line), flush=True)


async def main() -> None:
    """Build in a folder that is gone afterwards, then ask."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10_000_000)
    parser.add_argument("--no-peer", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stagelight-bench-") as folder:
        path = Path(folder) / "history"
        if shutil.disk_usage(folder).free < options.runs * DISK_PER_RUN:
            raise SystemExit("there is not enough disk; make fewer runs with --runs, or set TMPDIR")
        history = await open_history(f"chdb://{path}", data_dir=Path(folder))
        plain = await asyncio.to_thread(Plain, path)
        try:
            await asyncio.to_thread(build, plain, options.runs, path)
            await asyncio.to_thread(settle, plain)
            await measure(history, plain, options.runs, not options.no_peer)
        finally:
            await asyncio.to_thread(plain.close)
            await history.close()


if __name__ == "__main__":
    asyncio.run(main())
