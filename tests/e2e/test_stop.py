"""Signals end a collector in bounded time, whatever it is doing."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

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
