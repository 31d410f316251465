"""`stagelight config`: what is in force, and where it comes from."""

from __future__ import annotations

import json
import re
from typing import Any, Final, cast
from urllib.parse import urlsplit

import click

from stagelight_collector import config
from stagelight_plugins.options import json_option

_SECRETIVE: Final = re.compile(
    r"secret|password|passwd|token|key$|pagerduty|apprise|urls|authorization", re.IGNORECASE
)


@click.group("config", epilog="Example: STAGELIGHT_PORT=4400 stagelight config show")
def config_group() -> None:
    """Look at the configuration."""


@config_group.command("show", epilog="Example: stagelight config show --json")
@json_option
def show(as_json: bool) -> int:
    """Print every setting in force, as stagelight.toml would have it."""
    found = config.read()
    data = found.settings.model_dump(mode="json")
    data = {key: _without_user(value) for key, value in data.items()}
    data["plugins"] = _without_secrets(data["plugins"])
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


def _without_user(value: Any) -> Any:
    """Return a setting as it can be shown: an address without who logs in there."""
    if isinstance(value, str) and "://" in value and "@" in value:
        scheme, _, rest = value.partition("://")
        return f"{scheme}://…@{rest.rpartition('@')[2]}"
    return value


def _without_secrets(value: Any, key: str = "") -> Any:
    """Return a plugin's table as it can be shown: addresses may be secrets (Slack's are), and some keys say so."""
    if isinstance(value, dict):
        tables = cast("dict[str, Any]", value)
        return {name: _without_secrets(inner, name) for name, inner in tables.items()}
    if isinstance(value, list):
        return [_without_secrets(inner, key) for inner in cast("list[object]", value)]
    if isinstance(value, str) and not value.startswith(("env:", "file:")):
        parts = urlsplit(value) if "://" in value else None
        if parts is not None and (parts.path.strip("/") or parts.query or parts.username):
            return f"{parts.scheme}://{parts.hostname}/…"
        if _SECRETIVE.search(key):
            return "…"
    return value


def _table(prefix: str, data: dict[str, Any]) -> None:
    nested: dict[str, dict[str, Any]] = {key: value for key, value in data.items() if isinstance(value, dict)}
    for key, value in data.items():
        if key not in nested:
            click.echo(f"{key} = {json.dumps(value, ensure_ascii=False)}")
    for key, value in nested.items():
        if value:
            click.echo(f"\n[{prefix}{key}]")
            _table(f"{prefix}{key}.", value)
