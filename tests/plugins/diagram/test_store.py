"""What is kept of code and diagrams, and which of it a run is shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from stagelight_plugins.diagram import store as stores
from stagelight_plugins.diagram.store import Drawing, File, Start, Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    times = iter(range(1, 10_000))
    made = Store(tmp_path / "diagrams.sqlite", lambda: next(times))
    yield made
    await made.close()


def file(
    version: str, path: str = "app.py", count: int = 1, text: str = "x = 1\n", omitted: str = ""
) -> File:
    return File(version=version, main="app.py", count=count, path=path, text=text, omitted=omitted)


def drawing(*names: str) -> Drawing:
    return Drawing(graphs=[(name, f"{name}_function", json.dumps({"class_name": name})) for name in names])


async def drawn(store: Store, version: str, *names: str) -> None:
    await store.take([file(version)], ())
    await store.settle(version, drawing(*names))


async def test_a_version_waits_until_all_of_its_files_are_there(store: Store) -> None:
    assert not await store.take([file("v", "b.py", 2)], ())
    assert await store.waiting() is None
    assert await store.take([file("v", "app.py", 2)], ())
    assert await store.waiting() == "v"
    assert list(await store.files("v")) == ["app.py", "b.py"]


async def test_what_comes_twice_is_drawn_once(store: Store) -> None:
    assert await store.take([file("v"), file("v")], [Start(run_id="r", workflow="etl", version="v")])
    await store.settle("v", drawing("etl"))
    assert not await store.take([file("v")], [Start(run_id="r", workflow="etl", version="v")])
    assert await store.waiting() is None


async def test_a_run_is_drawn_on_the_diagram_of_its_own_version(store: Store) -> None:
    await drawn(store, "old", "etl")
    await store.take((), [Start(run_id="first", workflow="etl", version="old")])
    await drawn(store, "new", "etl")
    await store.take((), [Start(run_id="second", workflow="etl", version="new")])
    first, second = await store.find("etl", run_id="first"), await store.find("etl", run_id="second")
    assert first is not None
    assert second is not None
    assert (first.version, first.exact) == ("old", True)
    assert (second.version, second.exact) == ("new", True)
    assert first.versions == ["new", "old"]


async def test_a_run_whose_version_is_not_here_gets_the_newest_and_is_told_so(store: Store) -> None:
    await drawn(store, "old", "etl")
    await drawn(store, "new", "etl")
    await store.take((), [Start(run_id="r", workflow="etl", version="lost")])
    known, unknown = await store.find("etl", run_id="r"), await store.find("etl", run_id="nobody")
    assert known is not None
    assert unknown is not None
    assert (known.version, known.exact, known.run_version) == ("new", False, "lost")
    assert (unknown.version, unknown.exact, unknown.run_version) == ("new", False, "")
    assert await store.find("etl", version="lost") is None
    assert await store.find("nobody") is None


async def test_the_newest_that_can_be_drawn_is_better_than_one_that_cannot(store: Store) -> None:
    await drawn(store, "old", "etl")
    await store.take([file("new")], [Start(run_id="r", workflow="etl", version="new")])
    await store.settle("new", Drawing(error="too complex"))
    found, own = await store.find("etl"), await store.find("etl", run_id="r")
    assert found is not None
    assert own is not None
    assert (found.version, bool(found.graph)) == ("old", True)
    assert (own.version, own.state, own.error, own.graph) == ("new", "failed", "too complex", "")


async def test_a_workflow_is_found_by_its_function_where_its_name_was_not_read(store: Store) -> None:
    await drawn(store, "v", "one", "two")
    await store.take((), [Start(run_id="r", workflow="etl of today", version="v", function="two_function")])
    found = await store.find("etl of today", run_id="r")
    assert found is not None
    assert json.loads(found.graph) == {"class_name": "two"}
    await store.take((), [Start(run_id="s", workflow="else", version="v", function="odd")])
    other = await store.find("else", run_id="s")
    assert other is not None
    assert other.error == "app.py has no workflow called 'else' that can be read without running it"


async def test_code_that_stayed_at_home_is_an_answer(store: Store) -> None:
    omitted = file("v", omitted="app.py is larger than 256 KiB")
    await store.take([omitted], [Start(run_id="r", workflow="etl", version="v")])
    found = await store.find("etl", run_id="r")
    assert found is not None
    assert (found.state, found.error) == ("failed", "app.py is larger than 256 KiB")


async def test_the_oldest_by_use_makes_place(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "MOST_VERSIONS", 2)
    await drawn(store, "a", "etl")
    await drawn(store, "b", "etl")
    assert await store.find("etl", "a")
    await drawn(store, "c", "etl")
    assert await store.find("etl", "b") is None
    assert await store.find("etl", "a")
    monkeypatch.setattr(stores, "MOST_BYTES", 10)
    await drawn(store, "d", "etl")
    found = await store.find("etl")
    assert found is not None
    assert found.versions == ["d"]
    monkeypatch.setattr(stores, "MOST_RUNS", 2)
    await store.take((), [Start(run_id=f"r{at}", workflow="etl", version="d") for at in range(5)])
    runs = [await store.find("etl", run_id=f"r{at}") for at in range(5)]
    assert [bool(run and run.run_version) for run in runs] == [False, False, False, True, True]


async def test_what_was_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    first = Store(tmp_path / "diagrams.sqlite")
    await first.take([file("v", text="é\u2028 = 1")], [Start(run_id="r", workflow="etl", version="v")])
    await first.close()
    await first.close()
    second = Store(tmp_path / "diagrams.sqlite")
    assert await second.waiting() == "v"
    assert await second.files("v") == {"app.py": "é\u2028 = 1"}
    await second.close()
