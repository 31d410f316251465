"""Real collectors and real programs, each in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
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

    async def insert_under_way(self) -> None:
        """Return when history has just taken rows of a batch; the journal has not let go of it yet, as a rule."""
        before = await asyncio.to_thread(self._parts)
        while await asyncio.to_thread(self._parts) <= before:
            pass

    def _parts(self) -> set[str]:
        """Return the parts of tables that inserts, not merges, have left in the embedded history."""
        found = (self.data_dir / "history" / "store").glob("*/*/*_0")
        return {str(part) for part in found if not part.name.startswith("tmp")}

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


@dataclass
class Finished:
    """How a program ended."""

    code: int
    stdout: str
    stderr: str
