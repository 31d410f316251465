"""`stagelight diagram`: draw the workflows of a file or a directory."""

from __future__ import annotations

import gc
import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from stagelight import settings
from stagelight_plugins.diagram.changes import changes, told
from stagelight_plugins.diagram.check import findings, report
from stagelight_plugins.diagram.mermaid import mermaid
from stagelight_plugins.diagram.others import asked, others
from stagelight_plugins.diagram.outline import outline, printable
from stagelight_plugins.diagram.parse import LARGE, SUFFIXES, parse
from stagelight_plugins.diagram.patterns import Patterns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stagelight_plugins.diagram.others import Parser
    from stagelight_plugins.hookspecs import CommandLine

_PROJECT: Final = ("package.json", "pyproject.toml", "tsconfig.json", ".git")
"""What is in the directory of a project."""
_SKIPPED: Final = frozenset({"node_modules", "__pycache__", "dist", "build", "venv"})


class _Default(click.Group):
    """A group whose `draw` need not be named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--diff" in args:
            args = ["diff", *(arg for arg in args if arg != "--diff")]
        elif args and args[0] not in {*self.commands, "--help", "-h"}:
            args = ["draw", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Default, epilog="Example: stagelight diagram --format mermaid app.py")
def diagram() -> None:
    """Draw workflows from code, without running it."""


@diagram.command("draw", epilog="Example: stagelight diagram draw --format json worker.ts")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "svg", "mermaid", "tree"]),
    default="tree",
    show_default=True,
)
@click.option("--check", is_flag=True, help="Draw nothing; say what code should not do.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with --check, too.")
@click.option("--step", "steps", multiple=True, metavar="PATTERN", help="Functions that are steps.")
@click.option("--workflow", "flows", multiple=True, metavar="PATTERN", help="Functions that are workflows.")
def draw(
    path: Path, form: str, *, check: bool, as_json: bool, steps: tuple[str, ...], flows: tuple[str, ...]
) -> None:
    """Draw the workflows of a file or a directory (the word `draw` may be left out).

    Patterns are those of `stagelight run`; without any, the ones in `stagelight.toml`.
    """
    root = _root(path)
    named = _patterns(steps, flows)
    parsers = _parsers()
    answers = [(file, _parsed(file, root, named, parsers)) for file in _files(path, parsers)]
    if check:
        found = findings(answers)
        click.echo(report(found, as_json=as_json))
        raise SystemExit(1 if found else 0)
    failed = [(file, answer) for file, answer in answers if not answer["success"]]
    for _, answer in failed:
        click.echo(answer["error"], err=True)
    workflows = [flow for _, answer in answers for flow in answer["workflows"]]
    if path.is_dir():  # what a file passes on is drawn where it stands
        workflows = [flow for flow in workflows if "file" not in flow]
    if as_json or form == "json":
        click.echo(json.dumps({"success": not failed, "v": 1, "workflows": workflows}, indent=2))
    else:
        click.echo("\n\n".join(_drawn(workflow, form) for workflow in workflows) or "no workflows found")
    if failed and not path.is_dir():
        raise SystemExit(1)


@diagram.command("diff", epilog="Example: stagelight diagram --diff old/app.py app.py")
@click.argument("old", type=click.Path(exists=True, path_type=Path))
@click.argument("new", type=click.Path(exists=True, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def diff(old: Path, new: Path, *, as_json: bool) -> None:
    """Say which steps were added, removed and renamed, and which run side by side no more (or now).

    `stagelight diagram --diff` is the same. A removed step has its line in OLD, all else in NEW.
    """
    found = changes(_read(old), _read(new))
    text = "\n".join(printable(told(change)) for change in found) or "nothing changed"
    click.echo(json.dumps({"changes": found}, indent=2) if as_json else text)


def _root(path: Path) -> Path:
    """Return the directory inside which imports are followed: that of the project that a file is in."""
    if path.is_dir():
        return path
    above = list(path.resolve().parents)[:8]
    project = next((each for each in above if any((each / name).exists() for name in _PROJECT)), None)
    package = next((each for each in above if not (each / "__init__.py").exists()), path.parent)
    return project or package


def _patterns(steps: tuple[str, ...], flows: tuple[str, ...]) -> Patterns:
    if not steps and not flows:
        table = settings.agent_table()
        steps = tuple(settings.listed(table.get("steps", [])) or ())
        flows = tuple(settings.listed(table.get("workflows", [])) or ())
    for pattern in (*steps, *flows):
        if not all(pattern.partition(":")):
            raise click.ClickException(f"{pattern!r} is no pattern; write 'module.path:function'")
    return Patterns(steps, flows)


def _read(path: Path) -> list[dict[str, Any]]:
    root, parsers = _root(path), _parsers()
    workflows: list[dict[str, Any]] = []
    for file in _files(path, parsers):
        answer = _parsed(file, root, Patterns(), parsers)
        if not answer["success"]:
            raise click.ClickException(answer["error"])
        workflows += answer["workflows"]
    return workflows


def _parsers() -> dict[str, Parser]:
    """Return the parsers of other plugins by suffix."""
    command_line: CommandLine | None = click.get_current_context().find_root().obj
    return others(command_line.gather("register_parsers")) if command_line else {}


def _parsed(file: Path, root: Path, patterns: Patterns, parsers: Mapping[str, Parser]) -> dict[str, Any]:
    source = file.read_bytes()
    if parser := parsers.get(file.suffix):
        return asked(parser, source, str(file))
    answer = parse(source, str(file), root=root, patterns=patterns)
    if len(source) >= LARGE:
        gc.collect()  # its tree is fifty times as large
    return answer


def _drawn(workflow: dict[str, Any], form: str) -> str:
    if form == "svg":
        drawing = importlib.import_module("stagelight_plugins.diagram.svg")
        return str(drawing.render(workflow))
    return mermaid(workflow) if form == "mermaid" else outline(workflow)


def _files(path: Path, parsers: Mapping[str, Parser]) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for file in sorted(path.rglob("*")):
        parts = file.relative_to(path).parts
        hidden = any(part in _SKIPPED or part.startswith(".") for part in parts)
        if (file.suffix in SUFFIXES or file.suffix in parsers) and file.is_file() and not hidden:
            yield file
