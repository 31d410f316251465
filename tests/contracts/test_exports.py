"""What is public can be imported, is documented, and is listed where its users look."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

import stagelight
from stagelight_plugins import hookspecs

ROOT = Path(__file__).parents[2]
PUBLIC = {
    "stagelight": "agent",
    "stagelight.conventions": "agent",
    "stagelight.events": "agent",
    "stagelight.errors": "agent",
    "stagelight.testing": "agent",
    "stagelight_plugins": "plugins",
    "stagelight_plugins.errors": "plugins",
    "stagelight_plugins.hookspecs": "plugins",
}
AGENT_NAMES = [name for name in dir(stagelight) if not name.startswith("__")]
HOOKS = [name for name, _ in inspect.getmembers(hookspecs.Hooks, inspect.isfunction)]


def exported(name: str) -> dict[str, Any]:
    """Return what a module offers: what `dir` names and the module itself defines or hands on."""
    module = importlib.import_module(name)
    names = getattr(module, "__all__", None) or dir(module)
    found = {item: getattr(module, item) for item in names if not item.startswith("_")}
    return {
        item: value
        for item, value in found.items()
        if hasattr(module, "__all__") or getattr(value, "__module__", "") == name
    }


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_class_and_function_is_documented_with_its_members(module: str) -> None:
    silent: list[str] = []
    for name, value in exported(module).items():
        if not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        silent += [] if (value.__doc__ or "").strip() else [name]
        members = inspect.getmembers(value, inspect.isfunction) if inspect.isclass(value) else []
        silent += [
            f"{name}.{member}"
            for member, function in members
            if not member.startswith("_") and not inspect.getdoc(function)
        ]

    assert exported(module), f"{module} offers nothing"
    assert silent == []


@pytest.mark.parametrize("module", PUBLIC)
def test_what_all_names_is_there(module: str) -> None:
    loaded = importlib.import_module(module)
    missing = [name for name in getattr(loaded, "__all__", ()) if not hasattr(loaded, name)]

    assert missing == []


@pytest.mark.parametrize("name", AGENT_NAMES)
def test_the_agents_readme_tells_of_every_name(name: str) -> None:
    readme = (ROOT / "agent" / "README.md").read_text()

    assert callable(getattr(stagelight, name))
    assert f"`{name}`" in readme or f"`{name}(" in readme


def test_a_star_import_hides_nothing_of_the_users() -> None:
    taken = set(stagelight.__all__) & {*dir(importlib.import_module("builtins")), "log", "logger", "logging"}

    assert taken == set()
    assert set(stagelight.__all__) - {"__version__"} == set(AGENT_NAMES) - {"set", "log"}


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_says_when_it_is_called(hook: str) -> None:
    assert (inspect.getdoc(getattr(hookspecs.Hooks, hook)) or "").startswith("Called ")


@pytest.mark.parametrize("name", ["stagelight.errors", "stagelight_plugins.errors"])
def test_an_errors_module_draws_its_errors_as_a_tree(name: str) -> None:
    drawn = importlib.import_module(name).__doc__ or ""

    assert [error for error in exported(name) if f"{error}\n" not in drawn] == []
