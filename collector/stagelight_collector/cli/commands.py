"""The collector's own commands, registered through the same hook as a plugin's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stagelight_collector.cli.configuration import config_group
from stagelight_collector.cli.demo import demo
from stagelight_collector.cli.doctor import doctor
from stagelight_collector.cli.grafana import grafana
from stagelight_collector.cli.history import history
from stagelight_collector.cli.plugins import plugins
from stagelight_collector.cli.run import run
from stagelight_collector.cli.runs import runs
from stagelight_collector.cli.sql import sql
from stagelight_collector.cli.up import up
from stagelight_plugins import hookimpl

if TYPE_CHECKING:
    import click


class Commands:
    """Registers the commands."""

    @hookimpl
    def register_commands(self, cli: click.Group) -> None:
        """Add them, in the order in which a user meets them."""
        for command in (demo, up, run, runs, sql, history, grafana, plugins, doctor, config_group):
            cli.add_command(command)


CORE: Final = Commands()
