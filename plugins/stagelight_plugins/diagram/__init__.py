"""Diagrams: drawn from a workflow's code, which is read and never run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stagelight_plugins import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import click


@hookimpl
def register_commands(cli: click.Group) -> None:
    """Add `stagelight diagram`."""
    from stagelight_plugins.diagram.commands import diagram  # noqa: PLC0415 - only the command line has click

    cli.add_command(diagram)


@hookimpl
def register_parsers() -> Mapping[str, Callable[[bytes, str], Any]]:
    """Return the parser for every ending that it reads."""
    from stagelight_plugins.diagram.parse import SUFFIXES, parse  # noqa: PLC0415 - when one is asked for

    return dict.fromkeys(SUFFIXES, parse)
