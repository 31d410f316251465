"""Plugins are loaded by name, held to the hooks, and isolated from each other."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from stagelight_plugins import hookimpl
from stagelight_plugins.errors import BrokenPlugin, CoreBlocked, UnknownPlugin
from stagelight_plugins.manager import BUILT_IN, Plugins

if TYPE_CHECKING:
    from pathlib import Path

BUILT_INS = [module.rpartition(".")[2] for module in BUILT_IN]


class Greeter:
    """Implements one hook, leaving out the argument."""

    @hookimpl
    def register_pages(self) -> list[str]:
        return ["hello"]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Install a distribution with an entry point whose import leaves a mark."""
    (tmp_path / "canary_plugin.py").write_text(
        "from pathlib import Path\nfrom stagelight_plugins import hookimpl\n"
        f"Path({str(tmp_path / 'imported')!r}).touch()\n"
        "@hookimpl\ndef register_pages(collector):\n    return ['canary']\n"
    )
    info = tmp_path / "canary-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: canary\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[stagelight]\ncanary = canary_plugin\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "canary_plugin", raising=False)
    return "canary"


def test_a_hook_is_answered_by_name(installed: str) -> None:
    plugins = Plugins([("greeter", Greeter())], load=[installed], block=BUILT_INS)

    assert dict(plugins.call("register_pages", collector=None)) == {
        "greeter": ["hello"],
        "canary": ["canary"],
    }


def test_an_installed_plugin_is_listed_but_not_imported(installed: str, tmp_path: Path) -> None:
    (info,) = [info for info in Plugins().infos() if info.name == installed]

    assert (info.loaded, info.version, info.distribution) == (False, "1.2", "canary")
    assert not (tmp_path / "imported").exists()


def test_a_loaded_plugin_is_listed_with_its_hooks(installed: str) -> None:
    (info,) = [info for info in Plugins(load=[installed]).infos() if info.kind == "third-party"]

    assert (info.kind, info.loaded, info.hooks) == ("third-party", True, ("register_pages",))


def test_a_name_that_is_not_installed_is_refused_with_the_remedy() -> None:
    with pytest.raises(UnknownPlugin, match=r"'nobody' is not installed .* install the package"):
        Plugins(load=["nobody"])


def test_a_name_that_two_packages_provide_is_refused(installed: str, tmp_path: Path) -> None:
    rival = tmp_path / "rival-3.dist-info"
    rival.mkdir()
    (rival / "METADATA").write_text("Metadata-Version: 2.1\nName: rival\nVersion: 3\n")
    (rival / "entry_points.txt").write_text(f"[stagelight]\n{installed} = canary_plugin\n")

    with pytest.raises(BrokenPlugin, match=r"'canary' .* canary and rival both provide it, so uninstall one"):
        Plugins(load=[installed])
    assert not (tmp_path / "imported").exists()


def test_a_plugin_that_exits_when_it_is_imported_is_named(installed: str, tmp_path: Path) -> None:
    (tmp_path / "canary_plugin.py").write_text("import sys\nsys.exit(3)\n")

    with pytest.raises(BrokenPlugin, match=r"'canary' cannot be used: SystemExit: 3"):
        Plugins(load=[installed])


def test_a_misspelt_hook_is_refused() -> None:
    @hookimpl
    def register_page(collector: Any) -> list[str]:
        return [str(collector)]

    with pytest.raises(BrokenPlugin, match=r"'typo'.*register_page"):
        Plugins([("typo", SimpleNamespace(register_page=register_page))])


def test_a_hook_that_raises_is_named() -> None:
    @hookimpl
    def register_pages() -> list[str]:
        raise OSError("no disk")

    plugins = Plugins([("bad", SimpleNamespace(register_pages=register_pages))])

    with pytest.raises(BrokenPlugin, match=r"'bad' .* OSError: no disk"):
        plugins.call("register_pages", collector=None)


def test_a_blocked_plugin_is_not_loaded(installed: str) -> None:
    plugins = Plugins(load=[installed], block=[installed, *BUILT_INS])

    assert plugins.call("register_pages", collector=None) == []


@pytest.mark.parametrize("load", [True, False])
def test_a_blocked_plugin_is_listed_as_that_and_not_imported(
    installed: str, tmp_path: Path, load: bool
) -> None:
    plugins = Plugins(load=[installed] * load, block=[installed, BUILT_INS[0]])
    found = {info.name: (info.kind, info.loaded, info.blocked, info.problem) for info in plugins.infos()}

    assert found[installed] == ("third-party", False, True, "")
    assert found[BUILT_INS[0]] == ("built-in", False, True, "")
    assert found[BUILT_INS[1]] == ("built-in", True, False, "")
    assert {info.name: info.to_dict()["blocked"] for info in plugins.infos()}[BUILT_INS[0]] is True
    assert not (tmp_path / "imported").exists()


def test_a_part_of_the_collector_cannot_be_blocked() -> None:
    with pytest.raises(CoreBlocked, match="'greeter' is a part of the collector"):
        Plugins([("greeter", Greeter())], block=["greeter"])
