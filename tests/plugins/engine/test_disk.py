"""A disk that is full or broken: nothing is said to be done that is not, and all goes on by itself when it is mended."""

from __future__ import annotations

import asyncio
import resource
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stagelight_plugins.engine import Status, WorkflowEntrypoint, WorkflowEvent
from stagelight_plugins.engine.errors import StoreDamaged, StoreUnavailable
from stagelight_plugins.engine.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.plugins.engine.conftest import Bench

    from stagelight_plugins.engine.step import Step
else:
    Bench = Any

LARGE = "x" * 500_000


class Store(SqliteStore):
    """The real store, whose disk can be made small."""

    def room(self, pages: int | None) -> None:
        """Let the file grow by so many pages and no further; None: as it likes."""
        have = self._writer.execute("PRAGMA page_count").fetchone()[0]
        self._writer.execute(f"PRAGMA max_page_count = {2**31 if pages is None else have + pages}")


class Copy(WorkflowEntrypoint):
    """Keeps something large."""

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        return len(await step.do("copy", lambda: LARGE))


class Idle(WorkflowEntrypoint):
    """Ends at once."""

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        return None


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110 - a figure tells nobody
            await asyncio.sleep(0.01)


async def test_a_full_disk_pauses_everything_and_room_on_it_lets_all_go_on(bench: Bench) -> None:
    store = Store(bench.path)
    plane = await bench.open(Copy, store=store)
    done = await bench.run(Copy)
    store.room(10)
    slow = asyncio.ensure_future(plane.create("Copy", "x" * 200_000, id="slow"))
    await until(lambda: plane.health().problem)
    problem = plane.health().problem
    others = [asyncio.ensure_future(plane.create("Copy", id=f"other-{n}")) for n in range(3)]
    await asyncio.sleep(0)
    counts = dict(plane.house.account.workflow("Copy").counts)
    pending = [task.done() for task in (slow, *others)]
    store.room(None)
    await asyncio.gather(slow, *others)
    infos = [await bench.until("Copy", name) for name in ("slow", "other-0", "other-1", "other-2")]

    assert done.output == len(LARGE)
    assert "database or disk is full" in problem
    assert pending == [False] * 4, "nobody may be told that an instance exists that is not on disk"
    assert counts.get("complete") == 1
    assert [(info.status, info.output) for info in infos] == [(Status.COMPLETE, len(LARGE))] * 4
    assert plane.health().problem == ""


async def test_while_the_disk_is_full_new_work_is_refused_before_memory_is(bench: Bench) -> None:
    store = Store(bench.path)
    plane = await bench.open(Idle, store=store)
    store.room(0)
    tasks = [asyncio.ensure_future(plane.create("Idle", "x" * 500)) for _ in range(3_000)]
    await until(lambda: plane.health().problem)
    with pytest.raises(StoreUnavailable, match="full"):
        await plane.create("Idle")
    store.room(None)
    made = await asyncio.gather(*tasks, return_exceptions=True)

    assert {type(one).__name__ for one in made} <= {"InstanceInfo", "StoreUnavailable"}
    await until(lambda: not plane.health().problem)


BROKEN = """
import asyncio, resource, signal, sys
from pathlib import Path
from stagelight_plugins.engine import WorkflowEntrypoint
from stagelight_plugins.engine.opening import open_control_plane

class Copy(WorkflowEntrypoint):
    async def run(self, event, step):
        return len(await step.do("copy", lambda: "x" * 500_000))

async def main():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    plane = await open_control_plane(Path(sys.argv[1]))
    await plane.register(Copy)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    await plane.create("Copy", id="it")
    async with asyncio.timeout(60):
        while not plane.health().problem:
            await asyncio.sleep(0.01)
    print(plane.health().problem, flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    async with asyncio.timeout(60):
        while (await plane.get("Copy", "it")).status != "complete":
            await asyncio.sleep(0.01)
    print((await plane.get("Copy", "it")).output, flush=True)
    await plane.close()

asyncio.run(main())
"""


def test_a_write_that_the_system_refuses_is_tried_again_until_it_succeeds(tmp_path: Path) -> None:
    """A process whose files may not grow gets errors of the operating system, as on a broken disk."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    assert signal.SIGXFSZ
    done = subprocess.run(
        [sys.executable, "-c", BROKEN, str(tmp_path / "engine.sqlite")],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    problem, output = done.stdout.splitlines()
    assert "disk" in problem
    assert output == "500000"


def _open_below(path: Path) -> list[str]:
    found = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [each for each in found if each.startswith(str(path))]


async def test_a_file_with_a_flipped_page_is_refused_not_guessed_at(bench: Bench) -> None:
    await bench.open(Copy)
    await bench.run(Copy)
    await bench.close()
    with sqlite3.connect(bench.path) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    with bench.path.open("r+b") as file:
        file.seek(0)
        file.write(b"not a database, not at all")
    with pytest.raises(StoreDamaged, match="not a database"):
        await bench.open(Copy)
    assert not _open_below(bench.path)
    bench.plane = None
