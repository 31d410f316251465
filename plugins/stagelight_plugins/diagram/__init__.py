"""Diagrams: drawn from a workflow's code, which is read and never run.

Imports nothing that the child process which reads the code would have to pay for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stagelight_plugins import hookimpl
from stagelight_plugins.diagram.plugin import Diagrams

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import click
    from aiohttp import web

    from stagelight_plugins.hookspecs import Collector, Sink

_diagrams = Diagrams()


@hookimpl
def register_commands(cli: click.Group) -> None:
    """Add `stagelight diagram`."""
    from stagelight_plugins.diagram.commands import diagram  # noqa: PLC0415 - only the command line has click
    from stagelight_plugins.diagram.push import push  # noqa: PLC0415 - as above

    diagram.add_command(push)
    cli.add_command(diagram)


@hookimpl
def register_parsers() -> Mapping[str, Callable[[bytes, str], Any]]:
    """Return the parser for every ending that it reads."""
    from stagelight_plugins.diagram.parse import SUFFIXES, parse  # noqa: PLC0415 - when one is asked for

    return dict.fromkeys(SUFFIXES, parse)


@hookimpl
def register_sinks(collector: Collector) -> Sequence[Sink]:
    """Return what picks code and versions from batches."""
    return _diagrams.sinks(collector)


@hookimpl
def register_routes(collector: Collector) -> Sequence[web.AbstractRouteDef]:
    """Return the routes."""
    return _diagrams.routes(collector)


@hookimpl
async def startup(collector: Collector) -> None:
    """Begin to draw."""
    _diagrams.start(collector)


@hookimpl
async def shutdown(collector: Collector) -> None:
    """Stop drawing."""
    await _diagrams.stop(collector)
