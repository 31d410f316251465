"""The options that commands have in common, for those of plugins too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from stagelight_plugins.hookspecs import CommandLine


def _configured() -> str:
    command_line: CommandLine = click.get_current_context().find_root().obj
    return command_line.url()


url_option = click.option(
    "--url",
    envvar="STAGELIGHT_URL",
    show_envvar=True,
    default=_configured,
    help="Where the collector listens; by default STAGELIGHT_ENDPOINT, or what the configuration says.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
