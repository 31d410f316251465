"""Functions by name: the import hook and its patches."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import pytest

import stagelight
from stagelight.instrumentation import functions
from stagelight.instrumentation.functions import Instrumentation, Pattern, parse
from stagelight.recording import StepOpener

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from stagelight.recorder import Recorder

SOURCE = """
import functools
from os.path import join

def load_a(): return 1
def load_b(): return 2
def other(): return 3
async def load_async(): return 4
constant = load_a

class Loader:
    def load(self): return self
    @classmethod
    def load_class(cls): return cls
    @staticmethod
    def load_static(): return 5
"""


@pytest.fixture
def module_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[str]:
    """Return the name of a module that can be imported and was not yet."""
    name = "stagelight_test_pipeline"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield name
    sys.modules.pop(name, None)


def _names(recorder: Recorder) -> list[str]:
    return [step.name for step in recorder.steps]


def test_a_module_is_patched_when_it_is_imported(module_name: str, stagelight_recorder: Recorder) -> None:
    patched = Instrumentation(parse([f"{module_name}:load_*", f"{module_name}:Loader.load*"], []))
    patched.apply()
    try:
        module: Any = importlib.import_module(module_name)
    finally:
        patched.undo()
    patched.patch(module)
    module.load_a()
    module.other()
    loader = module.Loader()
    assert loader.load() is loader
    assert module.Loader.load_class() is module.Loader
    assert module.Loader.load_static() == 5
    assert _names(stagelight_recorder) == ["load_a", "load", "load_class", "load_static"]
    patched.undo()
    module.load_b()
    assert len(_names(stagelight_recorder)) == 4


def test_a_module_that_is_imported_already_is_patched_at_once_and_restored(
    module_name: str, stagelight_recorder: Recorder
) -> None:
    module: Any = importlib.import_module(module_name)
    original = module.load_a
    finders = list(sys.meta_path)
    patched = Instrumentation(parse([f"{module_name}:load_a"], []))
    patched.apply()
    module.load_a()
    patched.undo()
    assert module.load_a is original
    assert _names(stagelight_recorder) == ["load_a"]
    assert sys.meta_path == finders


def test_a_workflow_pattern_makes_runs(module_name: str, stagelight_recorder: Recorder) -> None:
    module: Any = importlib.import_module(module_name)
    patched = Instrumentation(parse([f"{module_name}:*"], [f"{module_name}:other"]))
    patched.apply()
    module.other()
    patched.undo()
    assert [run.name for run in stagelight_recorder.runs] == ["other"]
    assert _names(stagelight_recorder) == []


def test_what_is_a_step_already_stays_one(stagelight_recorder: Recorder) -> None:
    @stagelight.step
    def mine() -> None: ...

    assert functions.is_wrapped(mine)
    assert functions.decorator(is_workflow=False)(mine) is mine
    assert stagelight_recorder.steps == []


def test_a_pattern_that_names_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    assert Pattern.parse("load") is None
    assert "module.path:function" in caplog.text


def test_a_function_that_refuses_to_be_wrapped_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Any:
        raise RuntimeError

    monkeypatch.setattr(StepOpener, "__call__", broken)

    def load() -> int:
        return 1

    assert functions.decorator(is_workflow=False)(load) is load


@pytest.mark.parametrize(
    ("pattern", "module", "function", "taken"),
    [
        ("a.b:load_*", "a.b", "load_x", True),
        ("a.b:load_*", "a.c", "load_x", False),
        ("a.*:load", "a.b.c", "load", True),
        ("a:*", "a", "K.m", False),
        ("a:K.*", "a", "K.m", True),
    ],
)
def test_patterns_take_what_they_say(pattern: str, module: str, function: str, taken: bool) -> None:
    parsed = Pattern.parse(pattern)
    assert parsed is not None
    assert (parsed.takes_module(module) and parsed.takes(function)) is taken
