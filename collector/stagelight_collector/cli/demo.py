"""`stagelight demo`: the collector, its page, and a real job in a process of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import tempfile
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import click

from stagelight_collector import config
from stagelight_collector.app import Collector
from stagelight_collector.cli.bars import Bars
from stagelight_collector.cli.browser import show
from stagelight_collector.cli.starting import explained
from stagelight_collector.demo.sample import Sample
from stagelight_collector.errors import PortTaken

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Watch = Callable[[Collector, asyncio.Event], Awaitable[int]]

LOOK_SECONDS: Final = 0.2
"""How often the terminal is brought up to date."""
GRACE_SECONDS: Final = 5.0
"""How long the job may take to stop when asked to."""

_OURS: Final = ("STAGELIGHT_", "OTEL_")


@click.command(epilog="Example: stagelight demo --workflow-live --seed 7")
@click.option("--port", type=click.IntRange(0, 65535), help="Port of the page; a free one if 4318 is taken.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Where to keep the runs and the job's report; forgotten at the end by default.",
)
@click.option("--open/--no-open", "open_", default=True, help="Open the page in a browser.")
@click.option("--once", is_flag=True, help="Stop when the job is done.")
@click.option("--workflow-live", is_flag=True, help="Play Workflow Live's sample workflows, not the job.")
@click.option("--seed", type=int, help="With --workflow-live: the same number plays the same.")
def demo(
    *, port: int | None, data_dir: Path | None, open_: bool, once: bool, workflow_live: bool, seed: int | None
) -> int:
    """Watch a real job run, with no set-up.

    The job surveys Python's standard library. With --workflow-live, three sample workflows of five stages are
    played over HTTP as any client would, and one stage in ten fails. Of your configuration only [alerting] is
    read, so that its failure reaches you; your history is not touched.
    """
    if seed is not None and not workflow_live:
        raise click.UsageError("--seed is for the sample workflows: add --workflow-live")
    chance = Random(seed)  # noqa: S311 - it chooses how long a sample takes
    watch = partial(_watch_sample, chance=chance) if workflow_live else _watch
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(message)s")
    with (
        explained(),
        tempfile.TemporaryDirectory(prefix="stagelight-", ignore_cleanup_errors=True) as scratch,
    ):
        settings = config.Settings(data_dir=(data_dir or Path(scratch)).absolute(), plugins=_alerting())
        if port is not None:
            settings.port = port
        code = asyncio.run(_demo(settings, watch, free_port=port is None, open_=open_, once=once))
    if data_dir:
        click.echo(f"What it made is in {data_dir}", err=True)
    return code


def _alerting() -> dict[str, Any]:
    """Return the one table of the user's configuration that the demo heeds."""
    found = config.read().settings.plugins
    return {name: found[name] for name in ("alerting",) if name in found}


async def _demo(settings: config.Settings, watch: Watch, *, free_port: bool, open_: bool, once: bool) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    collector = await _start(settings, free_port=free_port)
    try:
        click.echo(f"The page is at {collector.url}")
        if open_:
            show(collector.url)
        code = await watch(collector, stop)
        if not once and not stop.is_set():
            click.echo("The page stays up to look around in. Press Ctrl-C to stop.", err=True)
            await stop.wait()
    finally:
        await collector.stop()
    if stop.is_set():
        click.echo("Stopped.", err=True)
    return code


async def _start(settings: config.Settings, *, free_port: bool) -> Collector:
    collector = Collector(settings)
    try:
        await collector.start()
    except PortTaken:
        if not free_port:
            raise
        collector = Collector(settings.model_copy(update={"port": 0}))
        await collector.start()
    return collector


async def _watch(collector: Collector, stop: asyncio.Event) -> int:
    """Run the job and show its progress; return its exit code, 0 when it was stopped on purpose."""
    job = await _job(collector)
    output = asyncio.create_task(job.communicate())
    try:
        await _follow(collector, output, stop)
    finally:
        await _end(job)
        _, said = await output
    if stop.is_set():
        return 0
    click.echo(said.decode(errors="replace"), err=True, nl=False)
    return int(job.returncode or 0)


async def _watch_sample(collector: Collector, stop: asyncio.Event, chance: Random) -> int:
    """Play the sample workflows and show their progress. One that fails as it should is no failure of the demo."""
    async with aiohttp.ClientSession(collector.url, raise_for_status=True) as session:
        playing = asyncio.create_task(Sample(session, chance).play())
        try:
            await _follow(collector, playing, stop)
        finally:
            playing.cancel()
            await asyncio.wait([playing])
    if not playing.cancelled():
        playing.result()
    return 0


async def _follow(collector: Collector, work: asyncio.Future[Any], stop: asyncio.Event) -> None:
    """Show the progress of runs until the work is done or is to stop."""
    stopping = asyncio.create_task(stop.wait())
    try:
        with Bars() as bars:
            while not (work.done() or stopping.done()):
                bars.show(collector.runs())
                await asyncio.wait(
                    {work, stopping}, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
            await collector.settle()
            bars.show(collector.runs())
    finally:
        stopping.cancel()


async def _job(collector: Collector) -> asyncio.subprocess.Process:
    """Start the job, out of reach of the user's settings. It is told of Ctrl-C by us: its words come after the bars."""
    output = await asyncio.to_thread(tempfile.mkdtemp, prefix="survey-", dir=collector.settings.data_dir)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "stagelight_collector", "run", "--service", "demo", "--endpoint", collector.url,
        sys.executable, "-m", "stagelight_collector.demo.survey", output,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=output,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip


async def _end(job: asyncio.subprocess.Process) -> None:
    if job.returncode is not None:
        return
    job.send_signal(signal.SIGINT)
    try:
        async with asyncio.timeout(GRACE_SECONDS):
            await job.wait()
    except TimeoutError:
        job.kill()
        await job.wait()
