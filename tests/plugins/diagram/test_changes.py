"""`stagelight diagram --diff`: what changed between two versions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from stagelight_plugins.diagram.commands import diagram

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """import asyncio, stagelight
@stagelight.step
async def a(): ...
@stagelight.step
async def b(): ...
@stagelight.step
async def c(): ...
@stagelight.workflow
async def main():
"""


def compared(folder: Path, old: str, new: str) -> list[dict[str, Any]]:
    for name, body in (("old.py", old), ("new.py", new)):
        (folder / name).write_text(f"{HEAD}    {body}\n")
    result = CliRunner().invoke(diagram, ["--diff", "--json", str(folder / "old.py"), str(folder / "new.py")])
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)["changes"]
    return found


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("await a()", "await a(); await b()", [("step added", "b")]),
        ("await a(); await b()", "await b()", [("step removed", "a")]),
        ("await a(); await b()", "await a(); await c()", [("step renamed", "c")]),
        (
            "await asyncio.gather(a(), b())",
            "await a(); await b()",
            [("parallel became sequential", "a"), ("parallel became sequential", "b")],
        ),
        ("await a()", "x = 1; await a()", []),
    ],
)
def test_a_change_is_told(old: str, new: str, expected: list[tuple[str, str]], tmp_path: Path) -> None:
    found = compared(tmp_path, old, new)
    assert [(one["change"], one["step"]) for one in found] == expected
    assert all(one["workflow"] == "main" and one["line"] for one in found)


def test_a_renamed_step_says_what_it_was(tmp_path: Path) -> None:
    compared(tmp_path, "await a()", "await b()")
    result = CliRunner().invoke(diagram, ["diff", str(tmp_path / "old.py"), str(tmp_path / "new.py")])
    assert result.stdout == "main: step renamed b from a (line 10)\n"


def test_a_version_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("def (:")
    result = CliRunner().invoke(diagram, ["--diff", str(tmp_path / "bad.py"), str(tmp_path / "bad.py")])
    assert result.exit_code == 1
    assert "line 1" in result.stderr
