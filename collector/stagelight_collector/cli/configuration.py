"""`stagelight config`: what is in force, and where it comes from."""

from __future__ import annotations

import json
from typing import Any

import click

from stagelight_collector import config
from stagelight_collector.cli.runs import json_option


@click.group("config", epilog="Example: STAGELIGHT_PORT=4400 stagelight config show")
def config_group() -> None:
    """Look at the configuration."""


@config_group.command("show", epilog="Example: stagelight config show --json")
@json_option
def show(as_json: bool) -> int:
    """Print every setting in force, as stagelight.toml would have it."""
    found = config.read()
    data = found.settings.model_dump(mode="json")
    if as_json:
        click.echo(json.dumps(data, indent=2))
    else:
        path = config.config_path()
        there = "" if path.is_file() else " (not there)"
        click.echo(f"# command line > STAGELIGHT_* > {path}{there} > default")
        _table("", data)
    for line in (*found.problems, *(f"note: {note}" for note in found.notes)):
        click.echo(f"stagelight: {line}", err=True)
    return 2 if found.problems else 0


def _table(prefix: str, data: dict[str, Any]) -> None:
    nested: dict[str, dict[str, Any]] = {key: value for key, value in data.items() if isinstance(value, dict)}
    for key, value in data.items():
        if key not in nested:
            click.echo(f"{key} = {json.dumps(value)}")
    for key, value in nested.items():
        if value:
            click.echo(f"\n[{prefix}{key}]")
            _table(f"{prefix}{key}.", value)
