"""Parsers of other plugins: asked for their suffix by the command, and in a collector by the child process."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from stagelight_plugins.diagram.artist import Pencil
from stagelight_plugins.diagram.commands import diagram
from stagelight_plugins.diagram.others import asked, named, others
from stagelight_plugins.diagram.parse import parse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MODULE = """
def read(source, path):
    names = source.decode().split()
    if names == ["exit"]:
        raise ValueError("no exit")
    nodes = [{"type": "step", "name": name} for name in names]
    return {"success": True, "workflows": [{"class_name": "Flow", "nodes": nodes, "functions": {}}]}
"""
WITH_MODULE = "import sys; sys.path.insert(0, {folder!r}); from stagelight_plugins.diagram.child import main; main(sys.argv[1:])"


class Line:
    """A command line with one plugin that reads `.flow`."""

    def __init__(self, parser: Callable[[bytes, str], Any]) -> None:
        self._parser = parser

    def url(self) -> str:
        """Return an address."""
        return "http://127.0.0.1:9"

    def gather(self, hook: str) -> list[tuple[str, Any]]:
        """Return what plugins register."""
        assert hook == "register_parsers"
        return [("diagram", {".py": parse}), ("flow", {".flow": self._parser})]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module with a parser, importable here and in the child."""
    (tmp_path / "flowparser.py").write_text(MODULE)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    import flowparser  # type: ignore[import-not-found]  # noqa: PLC0415 - made just now  # pyright: ignore[reportMissingImports]

    return flowparser


def test_the_command_asks_the_plugin_that_reads_the_suffix(module: Any, tmp_path: Path) -> None:
    (tmp_path / "a.flow").write_text("load save")
    answer = CliRunner().invoke(diagram, ["--format", "json", str(tmp_path)], obj=Line(module.read))

    assert answer.exit_code == 0, answer.output
    (workflow,) = [flow for flow in json.loads(answer.stdout)["workflows"] if flow["class_name"] == "Flow"]
    assert [node["name"] for node in workflow["nodes"]] == ["load", "save"]


def test_what_a_parser_raises_is_told_with_its_name(module: Any, tmp_path: Path) -> None:
    (tmp_path / "a.flow").write_text("exit")
    answer = CliRunner().invoke(diagram, [str(tmp_path / "a.flow")], obj=Line(module.read))

    assert answer.exit_code == 1
    assert "the parser flowparser:read failed: ValueError: no exit" in answer.stderr


def test_an_answer_that_is_no_diagram_is_refused() -> None:
    assert "returned no diagrams" in asked(lambda source, path: [source, path], b"", "a.flow")["error"]


@pytest.mark.parametrize(("source", "error"), [("load save", ""), ("exit", "ValueError: no exit")])
async def test_the_child_asks_it_with_its_limits(
    module: Any, tmp_path: Path, source: str, error: str
) -> None:
    parsers = {
        suffix: named(parser)
        for suffix, parser in others(Line(module.read).gather("register_parsers")).items()
    }
    assert parsers == {".flow": "flowparser:read"}
    pencil = Pencil((sys.executable, "-I", "-c", WITH_MODULE.format(folder=str(tmp_path))), 20.0, parsers)

    drawing = await pencil.draw({"a.flow": source}, "a.flow")

    assert error in drawing.error
    assert len(drawing.graphs) == (not error)
