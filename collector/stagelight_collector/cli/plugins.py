"""`stagelight plugins`: what is loaded, what could be, what is broken."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
from rich.text import Text

from stagelight_collector import config
from stagelight_collector.cli.tables import print_table
from stagelight_plugins.manager import Plugins
from stagelight_plugins.options import json_option

if TYPE_CHECKING:
    from stagelight_plugins.manager import PluginInfo


@click.command(epilog="Example: stagelight plugins --json")
@json_option
def plugins(as_json: bool) -> None:
    """List what is loaded, and what could be."""
    settings = config.load()
    from stagelight_collector.core import core_plugins  # noqa: PLC0415 - heavy, and only this command needs it

    found = Plugins(
        core_plugins(),
        load=settings.plugin_names("load"),
        block=settings.plugin_names("block"),
        strict=False,
    ).infos()
    if as_json:
        click.echo(json.dumps([info.to_dict() for info in found], indent=2))
        return
    print_table(("Plugin", "Kind", "Loaded", "Version", "Hooks"), [_row(info) for info in found])
    for info in found:
        if info.problem:
            click.echo(f"stagelight: {info.problem}", err=True)
    for name in sorted({*settings.plugin_names("block")} - {info.name for info in found}):
        click.echo(f"stagelight: [plugins] block names {name!r}, but no plugin is called so", err=True)
    if any(not (info.loaded or info.problem or info.blocked) for info in found):
        click.echo("Load one by naming it in stagelight.toml: [plugins] load = ['name']", err=True)


def _row(info: PluginInfo) -> list[Text | str]:
    loaded: Text | str = "yes" if info.loaded else "blocked" if info.blocked else "no"
    if info.problem:
        loaded = Text("broken", style="bold red")
    return [info.name, info.kind, loaded, info.version, ", ".join(info.hooks)]
