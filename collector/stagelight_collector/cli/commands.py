"""The command line's commands: the collector's own, imported when one is asked for, and those of plugins.

Most of what one command needs, another does not: `runs list` has no need of a server, and a server none of a terminal's
colours. Where all were imported at once, each waited a second and more for the others.
"""

from __future__ import annotations

import pkgutil
from typing import TYPE_CHECKING, Final, cast

import click

from stagelight_plugins import garbage

if TYPE_CHECKING:
    from collections.abc import Mapping

_OWN: Final[Mapping[str, str]] = {
    "demo": "demo:demo",
    "up": "up:up",
    "run": "run:run",
    "runs": "runs:runs",
    "sql": "sql:sql",
    "history": "history:history",
    "grafana": "grafana:grafana",
    "plugins": "plugins:plugins",
    "doctor": "doctor:doctor",
    "config": "configuration:config_group",
}
"""Where in this package each is, in the order in which a user meets them."""


class Commands(click.Group):
    """The commands, the collector's own before those that plugins added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return their names."""
        del ctx
        return list(dict.fromkeys([*_OWN, *self.commands]))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; None if there is none of that name."""
        added = super().get_command(ctx, cmd_name)
        if added is not None or cmd_name not in _OWN:
            return added
        with garbage.left():
            return cast("click.Command", pkgutil.resolve_name(f"{__package__}.{_OWN[cmd_name]}"))
