"""`stagelight plugins`: what is loaded, what could be."""

from __future__ import annotations

import json

import click
from rich.console import Console
from rich.table import Table

from stagelight_collector import config
from stagelight_collector.cli.runs import json_option
from stagelight_plugins.manager import Plugins


@click.command(epilog="Example: stagelight plugins --json")
@json_option
def plugins(as_json: bool) -> None:
    """List the plugins: loaded, and installed but not named in the configuration."""
    settings = config.load()
    from stagelight_collector.app import core_plugins  # noqa: PLC0415 - heavy, and only this command needs it

    found = Plugins(
        core_plugins(), load=settings.plugin_names("load"), block=settings.plugin_names("block")
    ).infos()
    if as_json:
        click.echo(json.dumps([info.to_dict() for info in found], indent=2))
        return
    table = Table("Plugin", "Kind", "Loaded", "Version", "Hooks", box=None, pad_edge=False)
    for info in found:
        table.add_row(
            info.name, info.kind, "yes" if info.loaded else "no", info.version, ", ".join(info.hooks)
        )
    Console().print(table)
    if any(not info.loaded for info in found):
        click.echo("Load one by naming it in stagelight.toml: [plugins] load = ['name']", err=True)
