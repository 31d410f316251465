"""The command line. Data goes to standard output, everything else to standard error."""

from __future__ import annotations

import importlib.metadata
import sys
from typing import TYPE_CHECKING, Final

import click

from stagelight_collector import config
from stagelight_collector.cli.commands import CORE
from stagelight_plugins.errors import PluginError
from stagelight_plugins.manager import Plugins

if TYPE_CHECKING:
    from collections.abc import Sequence

_EPILOG: Final = (
    "Start with `stagelight demo`, or `stagelight up` and then `stagelight run python your_app.py`."
)


class _Group(click.Group):
    """Lists the commands in the order in which a user meets them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self.commands)


def build(plugins: Plugins) -> click.Group:
    """Return the command line with the commands of all plugins."""

    @click.group(cls=_Group, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
    @click.version_option(importlib.metadata.version("stagelight"), package_name="stagelight")
    def cli() -> None:
        """See every stage of every workflow, live."""

    plugins.call("register_commands", cli=cli)
    return cli


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code (2: the user can mend it)."""
    try:
        plugins = Plugins([("commands", CORE)], **_chosen(arguments))
        return int(build(plugins).main(list(arguments), prog_name="stagelight", standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.exceptions.Exit as error:
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        sys.stderr.write("stagelight: stopped\n")
        return 130
    except BrokenPipeError:
        return 141
    except (PluginError, config.ConfigError) as error:
        sys.stderr.write(f"stagelight: {error}\n")
        return 2


def _chosen(arguments: Sequence[str]) -> dict[str, list[str]]:
    """Return which plugins to load and block. Help and diagnosis work whatever the configuration says."""
    if not arguments or arguments[0] in {"doctor", "config", "-h", "--help", "--version"}:
        return {}
    settings = config.load()
    return {key: settings.plugin_names(key) for key in ("load", "block")}
