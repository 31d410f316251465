"""Signals end a collector in bounded time, whatever it is doing."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

import aiohttp
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from .processes import CollectorProcess

# A history that hangs: in its thread, like an engine that does not come back from a query.
HANGING = """
import sys, threading
from stagelight_collector.history import reader, schema
from stagelight_collector.__main__ import main
def hang(*args, **kwargs):
    print("hanging", flush=True)
    threading.Event().wait()
{what} = hang
sys.argv = ["stagelight", "up", "--port", "0", "--data-dir", {folder!r}]
sys.exit(main())
"""


# Steps that do not end when they are told to: in a task, in a thread, and in `run` itself.
STUBBORN = """
import asyncio, time
from pathlib import Path
from stagelight_plugins.engine import WorkflowEntrypoint

async def never(*_):
    Path(__file__).with_suffix(".began").touch()
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

class Stubborn(WorkflowEntrypoint):
    async def run(self, event, step):
        lazy = step.do("block", lambda: time.sleep(3600))
        await step.do("never", never)

class Body(Stubborn):
    async def run(self, event, step):
        await never()
"""


@pytest.mark.parametrize("command", ["up", "worker"])
async def test_a_step_that_does_not_end_keeps_no_process(tmp_path: Path, command: str) -> None:
    flows = tmp_path / f"stubborn_{command}.py"
    flows.write_text(STUBBORN)
    more = ["--grpc-port", "0"] if command == "up" else []
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "stagelight_collector", command, "--workflows", str(flows), "--port", "0", *more,
        "--data-dir", str(tmp_path / "data"), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    async with asyncio.timeout(120):
        said = (await process.stdout.readline()).decode()
    url = f"http://{said.rpartition('http://')[2].strip()}"
    async with aiohttp.ClientSession() as session:
        for name in ("Stubborn", "Body"):
            path = f"{url}/api/v1/engine/workflows/{name}/instances"
            async with session.post(path, json={}) as answer:
                assert answer.status == 201
    async with asyncio.timeout(60):
        while not flows.with_suffix(".began").exists():  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(60):
            _, said_last = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()

    assert process.returncode == 0
    assert b"Stopped" in said_last


async def start(folder: Path, what: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HANGING.format(what=what, folder=str(folder)),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=os.environ,
    )  # fmt: skip
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while b"hanging" not in await process.stdout.readline():
            pass
    return process


async def test_a_second_signal_ends_a_start_that_hangs(tmp_path: Path) -> None:
    process = await start(tmp_path, "schema.migrate")
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(30):
        code = await process.wait()

    assert code in {128 + signal.SIGTERM, 128 + signal.SIGINT}


async def test_a_stop_does_not_wait_for_a_query_that_hangs(tmp_path: Path) -> None:
    process = await start(tmp_path, "reader.list_runs")
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(30):
        code = await process.wait()

    assert code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_a_quiet_collector_with_a_word(collector: CollectorProcess, number: int) -> None:
    assert collector.process is not None
    collector.process.send_signal(number)
    async with asyncio.timeout(30):
        assert await collector.process.wait() == 0
