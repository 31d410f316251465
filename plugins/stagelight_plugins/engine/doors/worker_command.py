"""`stagelight worker`: durable workflows in a process of their own."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stagelight_plugins.engine.doors.client import Failed

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from stagelight_plugins.hookspecs import CommandLine


def _endpoint() -> str:
    command_line: CommandLine = click.get_current_context().find_root().obj
    return command_line.url()


@click.command(epilog="Example: stagelight worker --workflows flows.py --reload")
@click.option("--workflows", multiple=True, required=True, metavar="FILE_OR_MODULE", help="What to run.")
@click.option(
    "--endpoint",
    envvar="STAGELIGHT_ENDPOINT",
    show_envvar=True,
    default=_endpoint,
    help="The collector that is told of everything; by default what the configuration says.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8787,
    show_default=True,
    help="Of its API; 0 for a free one.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    default=Path("stagelight-worker"),
    show_default=True,
    help="Where the engine's file lives.",
)
@click.option("--reload", is_flag=True, help="Load workflows again when their files change.")
def worker(workflows: tuple[str, ...], endpoint: str, port: int, data_dir: Path, reload: bool) -> None:
    """Run durable workflows in a process apart."""
    from stagelight_plugins.engine.errors import EngineError  # noqa: PLC0415 - the command line starts without SQLite and its friends
    from stagelight_plugins.engine.worker import Worker, serve  # noqa: PLC0415

    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)-7s %(message)s",
        datefmt="%H:%M:%S",
    )
    made = Worker(
        sources=workflows, endpoint=endpoint.rstrip("/"), directory=data_dir, port=port, reload=reload
    )
    try:
        asyncio.run(_serve(serve(made, _say)))
    except EngineError as error:
        raise Failed(str(error)) from error


async def _serve(serving: Awaitable[bool]) -> None:
    ended = await serving
    click.echo("Stopped; what was under way goes on at the next start.", err=True)
    if not ended:
        os._exit(0)  # a step does not end, and would keep the process; what is durable is on disk


def _say(worker: Any) -> None:
    click.echo(f"The worker is listening on {worker.url}")
    click.echo(
        f"It runs {', '.join(worker.workflows)}, and tells {worker.endpoint}. Press Ctrl-C to stop.", err=True
    )
