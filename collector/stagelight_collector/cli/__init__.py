"""The command line. Data goes to standard output, everything else to standard error."""

from __future__ import annotations

import importlib.metadata
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from stagelight_collector import config, places
from stagelight_collector.cli import usage
from stagelight_collector.cli.client import configured_url
from stagelight_collector.cli.commands import Commands
from stagelight_plugins import garbage
from stagelight_plugins.errors import BadSettings, PluginError
from stagelight_plugins.manager import Plugins

if TYPE_CHECKING:
    from collections.abc import Sequence

_EPILOG: Final = (
    "Start with `stagelight demo`, or `stagelight up` and then `stagelight run python your_app.py`."
)
_SAY_THEMSELVES: Final = frozenset({"up", "plugins", "doctor"})
"""Commands that deal with broken plugins in their own way."""


def build(plugins: Plugins) -> click.Group:
    """Return the command line with the commands of all plugins."""

    @click.group(cls=Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
    @click.version_option(importlib.metadata.version("stagelight"), package_name="stagelight")
    def cli() -> None:
        """See every stage of every workflow, live."""

    plugins.call("register_commands", cli=cli)
    return cli


class CommandHost:
    """What commands of plugins may use."""

    def __init__(self, plugins: Plugins) -> None:
        self._plugins = plugins

    def gather(self, hook: str) -> Sequence[tuple[str, Any]]:
        """Ask all plugins for what a hook of theirs hands over."""
        return self._plugins.call(hook)

    def url(self) -> str:
        """Return where the configured collector listens."""
        return configured_url()


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code (2: the user can mend it)."""
    try:
        return _run(list(arguments))
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        return _fail(error.exit_code, usage.told(error))
    except click.exceptions.Exit as error:
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _fail(130, "stopped")
    except BrokenPipeError:
        return 141
    except config.ConfigError as error:
        return _fail(2, *error.problems)
    except BadSettings as error:
        return _fail(2, *places.told(error, config.config_path()))
    except PluginError as error:
        return _fail(2, str(error))


def _run(arguments: list[str]) -> int:
    with garbage.left():
        plugins = _plugins()
        cli = build(plugins)
    if not _SAY_THEMSELVES.intersection(arguments[:1]):
        for info in plugins.infos():
            if info.problem:
                click.echo(f"stagelight: warning: {info.problem}", err=True)
    return int(
        cli.main(arguments, prog_name="stagelight", standalone_mode=False, obj=CommandHost(plugins)) or 0
    )


def _plugins() -> Plugins:
    """Load what the configuration names. What is wrong with it is for the command to say that needs it."""
    settings = config.read().settings
    return Plugins(load=settings.plugin_names("load"), block=settings.plugin_names("block"), strict=False)


def _fail(code: int, *lines: str) -> int:
    for line in lines:
        sys.stderr.write(f"stagelight: {line}\n")
    return code
