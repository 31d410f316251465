"""The engine's traps, each sprung once."""

from __future__ import annotations

import asyncio
import functools
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stagelight.conventions import EventType
from stagelight.events import Event
from stagelight_collector.history import (
    History,
    HistoryClosed,
    HistoryError,
    RunFilter,
    bounded,
    open_history,
    store,
)
from stagelight_collector.history.engine import ChdbEngine, ServerEngine, engine_of
from stagelight_collector.history.lane import Lane
from stagelight_plugins.hookspecs import Batch

if TYPE_CHECKING:
    from stagelight_collector.history.engine import Handle

EVENT = Event(type=EventType.RUN_STARTED, run_id="r", time=1_764_000_000_000_000_000)


# --- DSN ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dsn", "path", "database"),
    [
        ("chdb://", "/data/history", "stagelight"),
        ("chdb:///srv/h", "/srv/h", "stagelight"),
        ("chdb:///srv/my%20h/../x?database=d", "/srv/x", "d"),
        ("chdb://memory", ":memory:", "stagelight"),
    ],
)
def test_a_chdb_dsn_names_a_directory(dsn: str, path: str, database: str) -> None:
    assert engine_of(dsn, data_dir=Path("/data")) == ChdbEngine(path=path, database=database)


def test_a_server_dsn_names_a_server_and_its_description_hides_the_password() -> None:
    engine = engine_of("clickhouse://me:p%40ss@db.example:8123/prod?compress=lz4", data_dir=Path("/data"))
    assert engine == ServerEngine(
        scheme="http", host="db.example", port=8123, user="me", password="p@ss", options={"compress": "lz4"}, database="prod"  # noqa: S106 - made up
    )  # fmt: skip
    assert "p@ss" not in engine.description + repr(engine)
    secure = engine_of("https://db.example", data_dir=Path("/data"))
    assert secure.description == "ClickHouse at https://db.example/stagelight"


@pytest.mark.parametrize("dsn", ["", "sqlite:///x", "/a/path", "chdb://srv/h", "clickhouse:///x"])
def test_a_dsn_that_is_neither_is_answered_with_the_right_form(dsn: str) -> None:
    with pytest.raises(HistoryError, match=r"chdb:///\w+"):
        engine_of(dsn, data_dir=Path("/data"))


@pytest.mark.parametrize("name", ["a`b", "a b", "", "x;y", "é"])
async def test_a_database_name_that_is_not_plain_is_refused(engine_path: Path, name: str) -> None:
    engine = ChdbEngine(path=str(engine_path), database=name)
    with pytest.raises(HistoryError, match="letters, digits"):
        await store.ClickHouseHistory.open(engine)


async def test_a_server_that_does_not_answer_may_be_tried_again(unused_tcp_port: int, tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="cannot reach ClickHouse at") as caught:
        await open_history(f"clickhouse://u:secret@127.0.0.1:{unused_tcp_port}", data_dir=tmp_path)
    assert caught.value.retryable
    assert "secret" not in str(caught.value)


async def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "chdb", None)
    with pytest.raises(HistoryError, match=r"pip install 'stagelight\[collector\]'"):
        await open_history("chdb://", data_dir=tmp_path)


def test_importing_history_loads_neither_chdb_nor_its_client() -> None:
    code = (
        "import sys, stagelight_collector.history; print({'chdb', 'clickhouse_connect'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "set()\n"


# --- one process, one directory -----------------------------------------------------------------------------------

OPEN = """
import asyncio, sys
from pathlib import Path
from stagelight_collector.history import HistoryInUse, open_history
try:
    asyncio.run(open_history(sys.argv[1], data_dir=Path("/nowhere")))
except HistoryInUse as error:
    print(error)
"""


async def test_a_second_process_is_refused_and_the_first_goes_on(
    history: History, engine_path: Path, put: Any
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OPEN, f"chdb://{engine_path}", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert (out.decode(), err.decode()) == (
        f"another collector is using {engine_path} (process {os.getpid()}); stop it or choose another data directory\n",
        "",
    )
    await put(EVENT)
    assert await history.run("r") is not None


async def test_a_second_directory_in_one_process_is_refused(history: History, tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="one data directory per process"):
        await open_history("chdb://", data_dir=tmp_path)
    assert await history.run("r") is None


async def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "history").write_text("a file")
    with pytest.raises(HistoryError, match="choose another data directory"):
        await open_history("chdb://", data_dir=tmp_path)


async def test_a_forked_child_is_refused_at_once(history: History) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - coverage ends with os._exit
        try:
            # To its first step: there is no event loop to run in here.
            history.run("r").__await__().__next__()
        except HistoryError as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = await asyncio.wait_for(asyncio.to_thread(pipe.read), 30)
    await asyncio.to_thread(os.waitpid, child, 0)
    assert "cannot be used after a fork" in answer


# --- handles and threads ------------------------------------------------------------------------------------------


async def test_after_an_error_the_next_answer_is_its_own(engine_path: Path) -> None:
    """An embedded engine answers the next query on a handle with what is left of a failed one: the handle must be discarded."""
    engine = ChdbEngine(path=str(engine_path), database="default")
    lane = Lane("test", threads=1, connect=lambda: engine.connect(database=None, settings={}))
    try:
        for _ in range(3):
            with pytest.raises(HistoryError, match="failed"):
                await lane.call(
                    lambda handle: bounded.ask(
                        handle, "SELECT throwIf(number = 5) FROM numbers(10) SETTINGS max_block_size = 1"
                    )
                )
            assert await lane.call(lambda handle: bounded.ask(handle, "SELECT 1")) == [(1,)]
    finally:
        await lane.close()


async def test_calls_run_in_threads_of_the_lane_with_a_handle_each(engine_path: Path) -> None:
    engine = ChdbEngine(path=str(engine_path), database="default")
    lane = Lane("test", threads=2, connect=lambda: engine.connect(database=None, settings={}))
    both = threading.Barrier(2, timeout=30)

    def where(handle: Handle) -> tuple[str, int]:
        both.wait()
        return threading.current_thread().name, id(handle)

    try:
        (first, one), (second, two) = await asyncio.gather(lane.call(where), lane.call(where))
    finally:
        await lane.close()
    assert {first, second} == {"history-test_0", "history-test_1"}
    assert one != two


async def test_more_calls_than_may_wait_are_refused(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stagelight_collector.history.lane.MAX_WAITING", 3)
    answers = await asyncio.gather(*(history.run("r") for _ in range(10)), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, HistoryError)]
    assert (len(refused), answers.count(None)) == (7, 3)
    assert all(error.retryable for error in refused)
    assert await history.run("r") is None


async def test_a_reader_cannot_write(dsn: str, tmp_path: Path) -> None:
    history = await store.ClickHouseHistory.open(engine_of(dsn, data_dir=tmp_path))
    hidden: Any = history
    lane: Lane = hidden._read  # noqa: SLF001 - the lane is what is tested
    try:
        with pytest.raises(Exception, match="readonly"):
            await lane.call(lambda handle: handle.command("DROP TABLE stagelight_events"))
        await history.insert(Batch(seq=1, events=[EVENT]), "token")
        assert await history.run("r") is not None
    finally:
        await history.close()


async def test_a_query_is_bounded_in_memory_time_and_rows(engine_path: Path) -> None:
    engine = ChdbEngine(path=str(engine_path), database="default")
    lane = Lane("test", threads=1, connect=lambda: engine.connect(database=None, settings={}))
    try:
        for query, limit in (
            ("SELECT groupArray(number) FROM numbers(1000000000)", "memory"),
            ("SELECT number FROM numbers(300000)", "(?i)limit for result"),
        ):
            with pytest.raises(HistoryError, match=limit):
                await lane.call(functools.partial(bounded.ask, query=query))
    finally:
        await lane.close()


# --- opening and closing ------------------------------------------------------------------------------------------


async def test_close_is_safe_twice_and_refuses_afterwards(dsn: str, tmp_path: Path) -> None:
    history = await open_history(dsn, data_dir=tmp_path)
    await history.close()
    await history.close()
    with pytest.raises(HistoryClosed):
        await history.insert(Batch(seq=1, events=[EVENT]), "token")
    with pytest.raises(HistoryClosed):
        await history.list_runs(RunFilter())


async def test_close_lets_what_runs_finish(dsn: str, tmp_path: Path) -> None:
    history = await open_history(dsn, data_dir=tmp_path)
    inserting = asyncio.create_task(history.insert(Batch(seq=1, events=[EVENT]), "token"))
    await asyncio.sleep(0)
    await history.close()
    await inserting
    again = await open_history(dsn, data_dir=tmp_path)
    assert await again.run("r") is not None
    await again.close()


CYCLES = """
import asyncio, sys
from pathlib import Path
from stagelight_collector.history import open_history

async def cycle():
    history = await open_history(f"chdb://{sys.argv[1]}?database=cycled", data_dir=Path())
    await history.workflows()
    await history.close()

async def main():
    anchor = await open_history(f"chdb://{sys.argv[1]}", data_dir=Path())
    for number in range(10):
        await cycle()
        print(number, flush=True)
        sys.stdin.readline()
    await anchor.close()

asyncio.run(main())
"""


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="counts in /proc")
def test_opening_and_closing_leaks_no_thread_and_no_descriptor(tmp_path: Path) -> None:
    """While the engine stays up. Each time it goes down, chdb itself leaves some ten threads and descriptors."""
    counts: list[tuple[int, int]] = []
    with subprocess.Popen(
        [sys.executable, "-c", CYCLES, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        watched = Path("/proc", str(process.pid))
        while process.stdout.readline():
            counts.append((len(list((watched / "task").iterdir())), len(list((watched / "fd").iterdir()))))
            process.stdin.write("\n")
            process.stdin.flush()
        assert process.wait(30) == 0
    # The engine's own pools breathe a little; a leak of one a cycle would show as seven.
    threads, descriptors = (max(column) for column in zip(*counts[:3], strict=True))
    assert counts[-1][0] < threads + 4
    assert counts[-1][1] < descriptors + 4


def test_another_directory_opens_after_the_first_was_closed(tmp_path: Path) -> None:
    code = """
import asyncio, sys
from pathlib import Path
from stagelight_collector.history import open_history

async def cycle(name):
    history = await open_history("chdb://", data_dir=Path(sys.argv[1], name))
    await history.status()
    await history.close()

for name in "aba":
    asyncio.run(cycle(name))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=False, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, b"")
