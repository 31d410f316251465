"""Real collectors and real apps, each in a process of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import aiohttp
import pytest

from .processes import PATIENCE_SECONDS, CollectorProcess, Finished

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path


@pytest.fixture
async def new_collector(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Callable[[], Awaitable[CollectorProcess]]]:
    """Start collectors; kill what is left at the end."""
    async with AsyncExitStack() as stack:

        async def make() -> CollectorProcess:
            collector = CollectorProcess(tmp_path_factory.mktemp("collector"))
            await collector.start()
            stack.push_async_callback(collector.kill)
            return collector

        yield make


@pytest.fixture
async def collector(new_collector: Callable[[], Awaitable[CollectorProcess]]) -> CollectorProcess:
    """A running collector."""
    return await new_collector()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client."""
    async with aiohttp.ClientSession(read_bufsize=1 << 24) as client:
        yield client


@pytest.fixture
def run_program(tmp_path: Path) -> Callable[..., Awaitable[Finished]]:
    """Run a Python source as a user would, in a folder of its own."""

    async def run(source: str, *command: str, name: str = "app.py", **environment: str) -> Finished:
        (tmp_path / name).write_text(source)
        process = await asyncio.create_subprocess_exec(
            *(command or (sys.executable,)), name,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            cwd=tmp_path, env={**os.environ, **environment},
        )  # fmt: skip
        async with asyncio.timeout(PATIENCE_SECONDS):
            out, err = await process.communicate()
        return Finished(process.returncode or 0, out.decode(), err.decode())

    return run
