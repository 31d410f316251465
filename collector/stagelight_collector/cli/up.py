"""`stagelight up`: the collector and its page, until Ctrl-C."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import Final

import click

from stagelight_collector import config
from stagelight_collector.app import Collector
from stagelight_collector.cli.browser import show
from stagelight_collector.cli.signals import Signals
from stagelight_collector.cli.starting import explained
from stagelight_plugins import garbage, stragglers

_QUIET: Final = ("urllib3.connectionpool", "clickhouse_connect")
"""What they say of a history that is away, the collector says in one line."""


@click.command(
    epilog="Example: stagelight up --port 4400 --data-dir ./stagelight-data, and in another terminal: "
    "stagelight run --endpoint http://127.0.0.1:4400 python app.py"
)
@click.option("--host", help="Address to listen on (loopback).")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port of telemetry, API and page; 0 takes a free one.  [default: 4318]",
)
@click.option(
    "--grpc-port",
    type=click.IntRange(-1, 65535),
    help="Port of OTLP over gRPC; 0 takes a free one, -1 none.  [default: 4317 if --port is 4318, else none]",
)
@click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Where the journal and the embedded history live."
)
@click.option("--history", help="DSN of history; chdb in the data directory by default.")
@click.option("--bus", help="DSN of what several collectors share (nats://…).")
@click.option("--workflows", multiple=True, metavar="FILE_OR_MODULE", help="Workflows to run here.")
@click.option("--open/--no-open", "open_", default=False, help="Open the page in a browser.")
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
def up(
    host: str | None,
    port: int | None,
    grpc_port: int | None,
    data_dir: Path | None,
    history: str | None,
    bus: str | None,
    workflows: tuple[str, ...],
    open_: bool,
    verbose: bool,
) -> int:
    """Start the collector and its page."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)-7s %(message)s",
        datefmt="%H:%M:%S",
    )
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.DEBUG if verbose else logging.CRITICAL)
    settings = config.load(
        host=host, port=port, grpc_port=grpc_port, data_dir=data_dir, history=history, bus=bus
    )
    if workflows:
        settings.plugins["engine"] = {
            "reload": True,
            **settings.plugin_table("engine"),
            "workflows": list(workflows),
        }
    for note in config.read().notes:
        click.echo(f"stagelight: note: {note}", err=True)
    with explained():
        asyncio.run(_serve(settings, open_))
    return 0


async def _serve(settings: config.Settings, open_: bool) -> None:
    signals = Signals()
    collector = Collector(settings)
    with garbage.starting():
        ready = await signals.before(collector.start())
    if ready:
        try:
            await _until_stopped(collector, signals, open_)
        finally:
            await collector.stop()
        click.echo(stopped(collector.pipeline.journal.entries), err=True)
    else:
        click.echo("Stopped before it was ready.", err=True)
    if collector.left_behind or await stragglers.remain():
        # A thread that hangs in the engine, or a step that does not end, would keep the process; the journal is closed
        # and has all that matters.
        os._exit(0)


async def _until_stopped(collector: Collector, signals: Signals, open_: bool) -> None:
    click.echo(f"Stagelight is listening on {collector.url}")
    if collector.grpc:
        click.echo(collector.grpc, err=True)
    click.echo(f"Data is kept in {collector.settings.data_dir}. Press Ctrl-C to stop.", err=True)
    if collector.clickhouse is not None:
        click.echo(f"Clients of ClickHouse read history at {collector.clickhouse.url}.", err=True)
    if open_:
        show(collector.url)
    await signals.stop.wait()
    click.echo("Finishing what was accepted …", err=True)


def stopped(left: int) -> str:
    """Return the last word: what became of what was accepted, given the entries that history has yet to take."""
    if left == 0:
        return "Stopped; nothing was lost."
    entries, are = ("1 entry stays", "is") if left == 1 else (f"{left} entries stay", "are")
    return f"Stopped; {entries} in the journal and {are} taken up at the next start."
