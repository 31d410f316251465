"""Loading workflows from files and modules."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from stagelight_collector.app import Collector
from stagelight_collector.config import Settings
from stagelight_plugins.engine.loading import WorkflowsUnusable, load
from stagelight_plugins.engine.settings import SettingsUnusable, read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FLOW = """
from stagelight_plugins.engine import WorkflowEntrypoint

class {name}(WorkflowEntrypoint):
    async def run(self, event, step):
        return 1
"""


@pytest.fixture(autouse=True)
def modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Forget afterwards what was imported, and where from."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    ours = [
        name
        for name, module in sys.modules.items()
        if (getattr(module, "__file__", "") or "").startswith(str(tmp_path))
    ]
    for name in ours:
        del sys.modules[name]


def names(*sources: str) -> list[str]:
    return [cls.__name__ for cls in load(sources)]


def test_a_file_gives_what_it_defines_and_may_import_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "neighbour_l1.py").write_text(FLOW.format(name="Elsewhere"))
    (tmp_path / "flows_l1.py").write_text(
        "from neighbour_l1 import Elsewhere\n" + FLOW.format(name="One") + FLOW.format(name="Two")
    )

    assert names("flows_l1.py") == ["One", "Two"]


def test_a_module_gives_what_it_names_in_all(tmp_path: Path) -> None:
    package = tmp_path / "package_l2"
    package.mkdir()
    (package / "inner.py").write_text(FLOW.format(name="Inner"))
    (package / "__init__.py").write_text("from package_l2.inner import Inner\n__all__ = ['Inner']\n")

    assert names("package_l2", "package_l2.inner") == ["Inner"]


@pytest.mark.parametrize(
    ("source", "text", "said"),
    [
        ("none_l3.py", None, "there is no such file"),
        ("no_such.module", None, "there is no such module"),
        ("empty_l3.py", "x = 1", "it defines no workflow"),
        ("broken_l3.py", "\nx = 1 / 0", r"ZeroDivisionError: division by zero \(broken_l3.py, line 2\)"),
        ("exits_l3.py", "raise SystemExit(3)", "SystemExit: 3"),
        ("needs_l3.py", "import not_there_l3", "No module named 'not_there_l3'"),
        ("json.py", "x = 1", "there is another module 'json' already"),
    ],
)
def test_what_cannot_be_loaded_is_told_in_one_line(
    tmp_path: Path, source: str, text: str | None, said: str
) -> None:
    if text is not None:
        (tmp_path / source).write_text(text)
    with pytest.raises(WorkflowsUnusable, match=said) as error:
        load([source])

    assert "\n" not in str(error.value)


@pytest.mark.parametrize("setting", ["flows.py", [1], {"a": 1}, [""]])
def test_the_setting_is_a_list_of_names(setting: Any) -> None:
    with pytest.raises(SettingsUnusable, match="not a list of files or modules"):
        read({"workflows": setting})


def test_a_misspelt_setting_is_named() -> None:
    with pytest.raises(SettingsUnusable, match="`workflow` is no setting of the engine; write"):
        read({"workflow": ["flows.py"]})


def test_limits_are_settings() -> None:
    limits = read({"limits": {"slots": 7, "creates_per_second": 300}}).bounds()

    assert (limits.slots, limits.creates_per_second, limits.queued) == (7, 300, 2_000_000)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"slotz": 7}, "`limits.slotz` is no limit; there are slots"),
        ({"slots": -1}, "limits.slots: Input should be greater than or equal to 0"),
        ({"slots": "many"}, "limits.slots: Input should be a valid integer"),
        ({"shards": 0}, "at least 1"),
    ],
)
def test_a_wrong_limit_is_named(table: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsUnusable, match=says):
        read({"limits": table}).bounds()


async def test_a_collector_does_not_start_with_a_class_that_is_no_workflow(tmp_path: Path) -> None:
    (tmp_path / "wrong_l4.py").write_text(
        FLOW.format(name="Wrong").replace("async def", "schedules = ['nope']\n    async def")
    )
    settings: dict[str, Any] = {
        "data_dir": tmp_path / "data",
        "port": 0,
        "plugins": {"engine": {"workflows": ["wrong_l4.py"]}},
    }
    with pytest.raises(WorkflowsUnusable, match=r"workflows of 'wrong_l4.py': 'nope' is no cron schedule"):
        await Collector(Settings.model_validate(settings)).start()
