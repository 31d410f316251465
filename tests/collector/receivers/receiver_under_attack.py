"""A receiver in a process of its own, so that its memory can be read.

Prints its port. Each line on stdin is answered with a line of JSON: how far memory rose since the line before (peak,
bytes), how often the event loop turned, and how long that took at most (seconds). Ends with stdin.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from aiohttp import web

from stagelight_collector.receivers import RUNNER_OPTIONS, routes


def memory(key: str) -> int:
    """Bytes of `VmRSS` or of `VmHWM`, the peak of this process alone (`getrusage` has its parent's too)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise LookupError(key)


def forget_peak() -> None:
    """Begin a new `VmHWM` (proc(5), `clear_refs`)."""
    Path("/proc/self/clear_refs").write_text("5")


class Turns:
    """Watches how the event loop turns."""

    def __init__(self) -> None:
        self.gaps: list[float] = []

    async def watch(self) -> None:
        """Until cancelled."""
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            self.gaps.append(now - last)
            last = now

    def take(self) -> dict[str, float]:
        """What was seen since the last time."""
        gaps, self.gaps = sorted(self.gaps), []
        return {"turns": len(gaps), "p99": gaps[len(gaps) * 99 // 100], "longest": gaps[-1]}


async def ingest(_signal: Any, _body: bytes, _request: Any) -> None:
    """Takes everything and keeps nothing."""


async def main() -> None:
    app = web.Application()
    app.add_routes(routes(ingest))
    runner = web.AppRunner(app, **RUNNER_OPTIONS, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)  # read by the test
    turns = Turns()
    watcher = asyncio.create_task(turns.watch())
    before = 0
    while await asyncio.to_thread(sys.stdin.readline):
        while not turns.gaps:  # noqa: ASYNC110 - asked before the loop has turned once
            await asyncio.sleep(0.001)
        report = {"grown": memory("VmHWM") - before, **turns.take()}
        forget_peak()
        before = memory("VmRSS")
        print(json.dumps(report), flush=True)  # read by the test
    watcher.cancel()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
