"""Real collectors and real apps, each in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

PATIENCE_SECONDS: Final = 60.0


@dataclass
class CollectorProcess:
    """A collector that can be killed and started again on the same port and data."""

    data_dir: Path
    url: str = ""
    process: asyncio.subprocess.Process | None = None
    environment: dict[str, str] = field(default_factory=dict[str, str])
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        """Start it, and return when it listens."""
        port = self.url.rpartition(":")[2] or "0"
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "stagelight_collector", "up", "--port", port, "--data-dir", str(self.data_dir),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **self.environment},
            cwd=self.data_dir,
        )  # fmt: skip
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            line = (await self.process.stdout.readline()).decode()
        assert "listening on" in line, f"the collector did not start: {line!r}"
        self.url = line.split()[-1]
        self.ready.set()

    async def kill(self) -> None:
        """Kill it with SIGKILL."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """Ask it to stop; return its exit code."""
        return await self._end(signal.SIGTERM)

    async def _end(self, number: int) -> int:
        assert self.process is not None
        self.ready.clear()
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.process.wait()

    async def sql(self, query: str) -> list[list[Any]]:
        """Ask the embedded history while no collector has it open; only one process may."""
        script = (
            "import clickhouse_connect, json, sys\n"
            "client = clickhouse_connect.get_client(interface='chdb', path=sys.argv[1], database='stagelight')\n"
            "print(json.dumps([list(row) for row in client.query(sys.argv[2]).result_rows], default=str))\n"
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            script,
            str(self.data_dir / "history"),
            query,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0
        return list(json.loads(output))


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


@dataclass
class Finished:
    """How a program ended."""

    code: int
    stdout: str
    stderr: str


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
