"""Documents say true things: commands exist, settings and hooks are described, examples run."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from stagelight.conventions import EventType
from stagelight_collector.cli import CommandHost, build
from stagelight_plugins.manager import BUILT_IN, Plugins

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
READMES = [ROOT / "README.md", *sorted(ROOT.glob("*/README.md"))]


def blocks(path: Path, language: str) -> list[str]:
    """Return the fenced blocks of a document."""
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def commands(group: click.Group, prefix: str = "stagelight") -> Iterator[tuple[str, click.Command]]:
    """Yield every command with its full name."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{prefix} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")


PLUGINS = Plugins()
ALL_COMMANDS = dict(commands(build(PLUGINS)))


@pytest.mark.parametrize("name", [name for name in ALL_COMMANDS if name != "stagelight run"])
def test_every_command_has_help_with_an_example(name: str) -> None:
    command = ALL_COMMANDS[name]

    assert command.help
    assert command.epilog
    assert "Example: " in command.epilog


ASKING = {
    name: option
    for name, command in ALL_COMMANDS.items()
    for option in command.params
    if option.name == "url"
}
assert len(ASKING) > 20, "a test of no commands would pass"


@pytest.mark.parametrize("name", sorted(ASKING))
def test_a_command_asks_the_configured_collector_where_no_address_is_given(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAGELIGHT_ENDPOINT", "http://127.0.0.1:9")
    with click.Context(ALL_COMMANDS[name], obj=CommandHost(PLUGINS)) as context:
        assert ASKING[name].get_default(context) == "http://127.0.0.1:9"


def test_the_readme_lists_the_commands_that_exist() -> None:
    named = set(re.findall(r"^\| `stagelight (\w+)", (ROOT / "README.md").read_text(), flags=re.MULTILINE))

    assert named == {name.split()[1] for name in ALL_COMMANDS}


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.parent.name)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", path.read_text())

    assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_collectors_readme_tells_the_statuses_of_the_wire() -> None:
    text = (ROOT / "collector" / "README.md").read_text()
    assert "pending queued running waiting paused completed failed terminated" in text
    assert EventType.STEP_STARTED in text


def test_the_readmes_app_runs_without_a_collector(tmp_path: Path) -> None:
    (source,) = blocks(ROOT / "README.md", "python")
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("1\n2\n")
    (tmp_path / "app.py").write_text(f"{source}\n\nmain()\n")
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    result = subprocess.run(
        [sys.executable, "app.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert result.returncode == 0, result.stderr


def test_the_example_plugin_loads(tmp_path: Path) -> None:
    source = blocks(ROOT / "plugins" / "README.md", "python")[0]
    (tmp_path / "failures.py").write_text(source)
    module = runpy.run_path(str(tmp_path / "failures.py"))
    plugin = type(
        "Module", (), {name: staticmethod(value) for name, value in module.items() if callable(value)}
    )
    plugins = Plugins([("failures", plugin)], block=[module.rpartition(".")[2] for module in BUILT_IN])

    assert [sink.name for _, sinks in plugins.call("register_sinks", collector=None) for sink in sinks] == [
        "failures"
    ]
    assert len(source.splitlines()) < 40
