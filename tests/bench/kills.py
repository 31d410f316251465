"""A collector killed with SIGKILL again and again, at random moments, while 10,000 spans a second arrive.

Every span that was acknowledged must be in history, once; spans whose acknowledgement the kill cut off are sent again,
as a sender does. Prints one JSON line: spans that are missing and doubled, and how long the slowest start took.

    python tests/bench/kills.py [--kills 100] [--seed 1]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

RATE: Final = 10_000
BATCH: Final = 500
LIVES: Final = (0.2, 3.0)
"""Seconds from ready to kill."""
ENVIRONMENT: Final = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""What is installed has its bytecode beside it; to compile all again at each start took 0.6 s."""


class Sender:
    """Sends numbered spans, each batch until it is acknowledged; most batches hold more than the engine decodes at once."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self.url = ""
        self.ready = asyncio.Event()

    async def run(self, session: aiohttp.ClientSession, numbers: Iterator[int], stop: asyncio.Event) -> None:
        """Send until told to stop."""
        while not stop.is_set():
            body = request_of_numbers(next(numbers) * BATCH)
            begin = time.perf_counter()
            while not await self._sent(session, body):
                await self.ready.wait()
                await asyncio.sleep(0.05)
            self.acknowledged += BATCH
            await asyncio.sleep(max(0.0, begin + BATCH / RATE * 4 - time.perf_counter()))

    async def _sent(self, session: aiohttp.ClientSession, body: bytes) -> bool:
        headers = {"Content-Type": "application/x-protobuf"}
        try:
            async with session.post(f"{self.url}/v1/traces", data=body, headers=headers) as answer:
                await answer.read()
                return answer.status == 200
        except aiohttp.ClientError:
            return False


def request_of_numbers(first: int) -> bytes:
    """Return a request of spans that are numbered from `first`."""
    request = ExportTraceServiceRequest()
    scope_spans = request.resource_spans.add().scope_spans.add()
    now = time.time_ns()
    for number in range(first, first + BATCH):
        span = scope_spans.spans.add(name="work", start_time_unix_nano=now, end_time_unix_nano=now + 1)
        span.trace_id, span.span_id = number.to_bytes(16), number.to_bytes(8)
        span.attributes.add(key="number").value.int_value = number
    return request.SerializeToString()


async def started(port: str, directory: str) -> asyncio.subprocess.Process:
    """Start a collector; return when it listens."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "stagelight_collector", "up", "--port", port, "--data-dir", directory,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env=ENVIRONMENT,
    )  # fmt: skip


def counted(directory: str) -> tuple[int, int]:
    """Return how many rows and how many different spans history has."""
    from stagelight_collector.history.engine import ChdbEngine

    engine = ChdbEngine(path=str(Path(directory, "history")), database="stagelight")

    def ask() -> tuple[int, int]:
        handle = engine.connect(database="stagelight", settings={})
        rows, different = handle.query("SELECT count(), uniqExact(SpanId) FROM otel_traces").result_rows[0]
        handle.close()
        return int(rows), int(different)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(ask).result()


async def _drained(session: aiohttp.ClientSession, url: str) -> None:
    while True:
        async with session.get(f"{url}/metrics") as answer:
            if "\nstagelight_journal_entries 0.0\n" in await answer.text():
                return
        await asyncio.sleep(0.2)


async def measure(kills: int, chance: random.Random, directory: str) -> dict[str, float]:
    """Kill so many times; return what came of it."""
    sender, stop, port = Sender(), asyncio.Event(), "0"
    numbers = iter(range(1, 10**9))
    slowest = 0.0
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:

        async def start() -> asyncio.subprocess.Process:
            nonlocal slowest, port
            begin = time.perf_counter()
            process = await started(port, directory)
            assert process.stdout is not None
            sender.url = (await process.stdout.readline()).decode().split()[-1]
            slowest = max(slowest, time.perf_counter() - begin)
            port = sender.url.rpartition(":")[2]
            sender.ready.set()
            return process

        process = await start()
        for _ in range(4):
            tasks.create_task(sender.run(session, numbers, stop))
        for _ in range(kills):
            await asyncio.sleep(chance.uniform(*LIVES))
            sender.ready.clear()
            process.kill()
            await process.wait()
            process = await start()
        stop.set()
        await asyncio.sleep(1)
        await _drained(session, sender.url)
    process.terminate()
    await process.wait()
    rows, different = await asyncio.to_thread(counted, directory)
    return {
        "acknowledged": sender.acknowledged,
        "missing": sender.acknowledged - different,
        "doubled": rows - different,
        "ready_s": round(slowest, 2),
    }


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        found = asyncio.run(measure(arguments.kills, random.Random(arguments.seed), directory))
    lost = found["missing"] + found["doubled"]
    print(
        json.dumps(
            {"name": "kills", "value": lost, "unit": "spans missing or doubled", **vars(arguments), **found}
        )
    )


if __name__ == "__main__":
    main()
