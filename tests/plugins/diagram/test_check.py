"""`stagelight diagram --check`: what workflows should not do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from stagelight_plugins.diagram.commands import diagram

if TYPE_CHECKING:
    from pathlib import Path

PYTHON = """import asyncio, random, requests, time, stagelight
@stagelight.step
async def a(): requests.get("inside a step"), time.time()
async def helper(): {helper}
@stagelight.workflow
async def main():
    await a(); await helper()
    {line}
"""
TYPESCRIPT = """import {{ WorkflowEntrypoint }} from "cloudflare:workers";
export class W extends WorkflowEntrypoint {{
  async run(event, step) {{
    await step.do("in", async () => {{ await fetch("x"); return Math.random() + Date.now(); }});
    {line}
  }}
}}
"""


def checked(file: Path, source: str) -> tuple[int, list[tuple[int, str]]]:
    file.write_text(source)
    result = CliRunner().invoke(diagram, ["draw", "--check", "--json", str(file)])
    found = json.loads(result.stdout)["findings"]
    assert all(one["file"] == str(file) and one["message"] for one in found)
    return result.exit_code, [(one["line"], one["rule"]) for one in found]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("a()", "step-not-awaited"),
        ("helper()", "step-not-awaited"),
        ("x = random.random()", "changing-value"),
        ("with stagelight.step(f'at {time.time()}'): pass", "changing-value"),
        ("requests.get('x')", "effect-outside-step"),
        ("await asyncio.wait([a(), a()], return_when=asyncio.FIRST_COMPLETED)", "race-outside-step"),
    ],
)
def test_a_finding_in_python_has_its_line(line: str, rule: str, tmp_path: Path) -> None:
    source = PYTHON.format(line=line, helper="pass")
    assert checked(tmp_path / "w.py", source) == (1, [(8, rule)])


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ('step.do("a", async () => {});', "step-not-awaited"),
        ("await step.do(`at ${{Date.now()}}`, f);", "changing-value"),
        ("const now = new Date();", "changing-value"),
        ('await fetch("x");', "effect-outside-step"),
        ('await step.do("a", async () => {{ await step.sleep("s", 1); }});', "sleep-inside-step"),
        ('await Promise.race([step.do("a", f), step.do("b", f)]);', "race-outside-step"),
    ],
)
def test_a_finding_in_typescript_has_its_line(line: str, rule: str, tmp_path: Path) -> None:
    source = TYPESCRIPT.format(line=line.replace("{{", "{").replace("}}", "}"))
    assert checked(tmp_path / "w.ts", source) == (1, [(5, rule)])


def test_a_finding_in_a_helper_is_at_the_helper(tmp_path: Path) -> None:
    source = PYTHON.format(line="pass", helper="random.choice([1, 2])")
    assert checked(tmp_path / "w.py", source) == (1, [(4, "changing-value")])


@pytest.mark.parametrize(
    "line",
    [
        "t = asyncio.create_task(a()); await t",
        "await asyncio.gather(a(), a())",
        "with stagelight.step('x'): time.sleep(1)",
        "async with asyncio.TaskGroup() as group: group.create_task(a())",
    ],
)
def test_what_is_right_in_python_is_not_found(line: str, tmp_path: Path) -> None:
    assert checked(tmp_path / "w.py", PYTHON.format(line=line, helper="pass")) == (0, [])


@pytest.mark.parametrize(
    "line",
    [
        "const at = new Date(event.timestamp);",
        'const a = step.do("a", f); await a;',
        'await step.do("r", async () => { await Promise.race([f(), g()]); });',
    ],
)
def test_what_is_right_in_typescript_is_not_found(line: str, tmp_path: Path) -> None:
    assert checked(tmp_path / "w.ts", TYPESCRIPT.format(line=line)) == (0, [])


def test_what_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    assert checked(tmp_path / "w.py", "def (:\n") == (1, [(1, "unreadable")])


def test_a_finding_is_a_line_to_click_on(tmp_path: Path) -> None:
    file = tmp_path / "w.py"
    file.write_text(PYTHON.format(line="requests.get('x')", helper="pass"))
    result = CliRunner().invoke(diagram, ["--check", str(file)])
    assert result.stdout == (
        f"{file}:8: requests.get outside a step may happen twice; move it into one (effect-outside-step)\n"
    )
