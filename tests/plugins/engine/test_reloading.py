"""Workflows follow their files while somebody writes them."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING, Any

import pytest

from stagelight_plugins.engine.loading import load
from stagelight_plugins.engine.reloading import Reloader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.plugins.engine.conftest import Bench
else:
    Bench = Any

FLOW = """
from stagelight_plugins.engine import WorkflowEntrypoint
from {words} import WORD

class Talk(WorkflowEntrypoint):
    async def run(self, event, step):
        await step.wait_for_event("go", event_type="go")
        return await step.do("say", lambda: "{said} " + WORD)
"""


class Desk:
    """A folder with a workflow and what it imports, watched; names of its own, because modules are shared."""

    def __init__(self, folder: Path, bench: Bench) -> None:
        self.folder = folder
        self.bench = bench
        self.flow = f"flow_{folder.name}"
        self.words = f"words_{folder.name}"
        self.reloader: Reloader

    def write(self, said: str = "hello", word: str = "world") -> None:
        (self.folder / f"{self.words}.py").write_text(f"WORD = {word!r}\n")
        (self.folder / f"{self.flow}.py").write_text(FLOW.format(words=self.words, said=said))

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not true():  # noqa: ASYNC110 - what a file became is told to nobody
                await asyncio.sleep(0.01)

    async def finish(self, instance: str) -> Any:
        assert self.bench.plane is not None
        await self.bench.plane.send_event("Talk", instance, "go")
        return (await self.bench.until("Talk", instance)).output


@pytest.fixture
async def desk(tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    desk = Desk(tmp_path, bench)
    desk.write()
    sources = [str(tmp_path / f"{desk.flow}.py")]
    classes = load(sources)
    plane = await bench.open(*classes)
    desk.reloader = Reloader(plane, sources, every=0.02)
    desk.reloader.start(classes)
    yield desk
    await desk.reloader.stop()
    for name in (desk.flow, desk.words):
        sys.modules.pop(name, None)


async def test_what_waits_goes_on_under_the_new_code_also_of_what_is_imported(desk: Desk) -> None:
    plane = desk.bench.plane
    assert plane is not None
    for name in ("one", "two"):
        await plane.create("Talk", id=name)
        await desk.bench.until("Talk", name, lambda info: info.status == "waiting")
    desk.write(said="howdy")
    await desk.until(lambda: desk.reloader.reloads == 1)
    first = await desk.finish("one")
    desk.write(said="howdy", word="earth")
    await desk.until(lambda: desk.reloader.reloads >= 2)
    second = await desk.finish("two")

    assert first == "howdy world"
    assert second == "howdy earth"
    sources = [version.source for version in await plane.versions("Talk")]
    assert ["howdy" in source for source in sources] == [True, False]


async def test_a_file_that_does_not_import_changes_nothing(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    plane = desk.bench.plane
    assert plane is not None
    await plane.create("Talk", id="one")
    await desk.bench.until("Talk", "one", lambda info: info.status == "waiting")
    with caplog.at_level(logging.WARNING):
        (desk.folder / f"{desk.flow}.py").write_text("def broken(:\n")
        await desk.until(lambda: "the code from before goes on" in caplog.text)
    kept = {name: sys.modules.get(name) for name in (desk.flow, desk.words)}
    said = await desk.finish("one")
    desk.write(said="mended")
    await desk.until(lambda: desk.reloader.reloads)
    await plane.create("Talk", id="two")

    assert all(kept.values()), "whoever imports the modules meanwhile finds those that run"
    assert "SyntaxError" in caplog.text
    assert said == "hello world"
    assert await desk.finish("two") == "mended world"
