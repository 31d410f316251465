"""The child that reads code: whatever the code does to it is an answer, and never more than that."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from stagelight_plugins.diagram import artist as artists, child
from stagelight_plugins.diagram.artist import Artist, Pencil, is_inside
from stagelight_plugins.diagram.store import File, Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ETL = """
import stagelight

@stagelight.step
def load(): ...

@stagelight.workflow(name="etl")
def main():
    load()
"""
CANARY = """
import os, stagelight
open({path!r}, "w").close()
class Meta(type):
    def __getitem__(cls, key): open({path!r}, "w").close()
    def __class_getitem__(cls, key): open({path!r}, "w").close()
def touch(value): open({path!r}, "w").close(); return value
@touch
@stagelight.workflow(name=touch("etl"))
def main(argument=touch(1), *, other: touch(2) = touch(3)) -> touch(4):
    with stagelight.step(f"{{touch(5)}}"): pass
"""


def behaving(code: str) -> Pencil:
    """Return a pencil whose child does something else."""
    return Pencil((sys.executable, "-I", "-c", code), 2.0)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    made = Store(tmp_path / "diagrams.sqlite")
    yield made
    await made.close()


async def draws_still() -> bool:
    """Say whether the next code is read as ever."""
    return [name for name, _, _ in (await Pencil(seconds=20).draw({"app.py": ETL}, "app.py")).graphs] == [
        "etl"
    ]


async def test_workflows_are_drawn_with_what_they_import() -> None:
    files = {
        "shop/app.py": ETL.replace("@stagelight.step\ndef load(): ...", "from shop.steps import load"),
        "shop/steps.py": "import stagelight\n@stagelight.step\ndef load(): ...\n",
    }
    drawing = await Pencil(seconds=20).draw(files, "shop/app.py")
    assert drawing.error == ""
    ((name, _, graph),) = drawing.graphs
    assert name == "etl"
    assert '"step_do"' in graph


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import time; time.sleep(60)", "too complex: it takes longer than 2 s to read"),
        (
            "import os; os.kill(os.getpid(), 9)",
            "too complex: reading it was stopped at its limit of time or memory",
        ),
        (
            "import os; os.kill(os.getpid(), 11)",
            "the reader ended with code -11; the collector's log says more",
        ),
        ("while True: print('x' * 65536)", "too complex: the diagram is larger than a page could show"),
        (
            "import sys\nwhile True: sys.stderr.write('x' * 65536)",
            "too complex: reading it was stopped at its limit of time or memory",
        ),
        ("print('junk')", "the reader gave no answer"),
        ("print()", "the reader gave no answer"),
        ("raise MemoryError", "too complex: it takes too much memory to read"),
        ('print(\'{"error": "", "workflows": [["a", "b"]]}\')', "the reader gave no answer"),
    ],
)
async def test_what_becomes_of_the_child_is_an_answer(code: str, error: str) -> None:
    started = time.monotonic()
    drawing = await behaving(code).draw({"app.py": "x"}, "app.py")
    assert time.monotonic() - started < 10
    assert drawing.error == error
    assert not drawing.graphs


async def test_nothing_is_left_of_a_child_that_hangs(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    code = f"import os, time; open({str(told)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    await behaving(code).draw({"app.py": "x"}, "app.py")
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()), 0)


async def test_code_is_never_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    code = CANARY.format(path=str(canary))
    drawing = await Pencil(seconds=20).draw({"app.py": code, "os.py": code, "stagelight.py": code}, "app.py")
    assert drawing.error == ""
    assert not canary.exists()


@pytest.mark.parametrize(
    "code",
    [
        "x = " + "(" * 5_000,
        "x = " + "-" * 100_000 + "1",
        "x = " + "+".join("1" * 20_000),
        "if x: pass\n" + "elif x: pass\n" * 20_000,
        "x = 9**9**9**9",
        "\x00",
        "\ufeff" + ETL,
        "# coding: utf-7\n+AGkAbQBwAG8AcgB0-",
        "x" * 200_000,
        "x" + ".a" * 100_000,
    ],
)
async def test_hostile_code_is_answered_and_the_next_is_read(code: str) -> None:
    async with asyncio.timeout(60):
        drawing = await Pencil(seconds=20).draw({"app.py": code}, "app.py")
    assert drawing.error == "" or drawing.error.startswith(
        ("too complex", "app.py", "the code cannot be read")
    )
    assert await draws_still()


def test_the_child_gives_up_what_reading_does_not_need(tmp_path: Path) -> None:
    code = f"""
import sys
from stagelight_plugins.diagram import child
child.limit()
for attempt in ("__import__('subprocess').run(['true'])", "__import__('socket').socket().connect(('127.0.0.1', 9))",
                "__import__('os').system('true')", "open({str(tmp_path / "x")!r}, 'w')", "bytearray(1 << 30)"):
    try:
        eval(attempt)
        print("done", attempt)
    except (PermissionError, MemoryError) as error:
        print(type(error).__name__)
"""
    pencil = behaving(code)

    async def run() -> str:
        process = await asyncio.create_subprocess_exec(*pencil.command, stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()
        return out.decode()

    assert asyncio.run(run()).split() == ["PermissionError"] * 4 + ["MemoryError"]


def test_the_child_is_stopped_by_its_own_clock() -> None:
    code = f"from stagelight_plugins.diagram import child\nchild.SECONDS = 1\nchild.limit()\nwhile True: pass\n# {child.SECONDS}"

    async def run() -> int:
        process = await asyncio.create_subprocess_exec(*behaving(code).command)
        return await process.wait()

    assert -asyncio.run(run()) in {signal.SIGXCPU, signal.SIGKILL}


@pytest.mark.parametrize("path", ["app.py", "a/b.py", "a b/ü.ts", ".hidden.py"])
def test_paths_below_the_directory_are_taken(path: str) -> None:
    assert is_inside(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a\\b",
        "a\x00b",
        "a\nb",
        "x" * 300,
        "/".join("a" * 40),
        "\u202ex",
    ],
)
def test_other_paths_are_not(path: str) -> None:
    assert not is_inside(path)


async def test_many_wait_in_line_and_each_is_drawn(store: Store) -> None:
    artist = Artist(store, Pencil(seconds=20))
    for number in range(4):
        text = ETL.replace('"etl"', f'"etl {number}"')
        await store.take([File(version=f"v{number}", main="a.py", count=1, path="a.py", text=text)], ())
    artist.start()
    async with asyncio.timeout(60):
        while await store.waiting() is not None:
            await artist.draw("v0")
        await artist.draw("v3")
    await artist.stop()
    await artist.stop()
    assert all([await store.find(f"etl {number}") for number in range(4)])


async def test_a_reader_that_cannot_be_started_is_an_answer(store: Store, tmp_path: Path) -> None:
    artist = Artist(store, Pencil((str(tmp_path / "nothing"),)))
    await store.take([File(version="v", main="a.py", count=1, path="a.py", text="")], ())
    await artist.draw("v")
    state, error, _ = await store.outcome("v")
    assert state == "failed"
    assert error.startswith("no reader could be started")
    assert artists.SECONDS < 3


async def test_patterns_that_came_with_the_code_name_its_steps() -> None:
    code = "def load(): ...\ndef main():\n    load()\nif __name__ == '__main__':\n    main()\n"
    asked = {"app.py": code, "stagelight.toml": '[agent]\nsteps = ["__main__:load"]\n'}
    drawing = await Pencil(seconds=20).draw(asked, "app.py")
    assert [name for name, _, _ in drawing.graphs] == ["app"]
    assert '"name":"load"' in drawing.graphs[0][2]
    for nonsense in ("[agent", "agent = 1", "[agent]\nsteps = 4", "\0"):
        told = await Pencil(seconds=20).draw({"app.py": code, "stagelight.toml": nonsense}, "app.py")
        assert (told.error, told.graphs) == ("", [])
