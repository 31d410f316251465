"""Ten minutes without ClickHouse: what is acknowledged meanwhile is in history once, and viewers see nothing of it.

The server is the tests' stand-in: the HTTP interface over the embedded engine. A third of the time it refuses connections, a third it
hangs, and a third it does inserts and says that it has not. Spans arrive all the time, and a run goes on that somebody watches.
Prints one JSON line: spans missing or doubled, the collector's memory, the slowest event at the viewer, and how many spans a second
went in when the server was back.

    python tests/bench/outage.py [--seconds 600] [--rate 2000]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.kills import BATCH, request_of_numbers
from tests.collector.history.stand_in import StandIn

from stagelight.conventions import EventType
from stagelight.events import Event
from stagelight_plugins.otlp import request_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

TARGET_MIB: Final = 512
RUN: Final = "watched"
PROTOBUF: Final = {"Content-Type": "application/x-protobuf"}


class Load:
    """Sends spans, and the events of a run that is watched."""

    def __init__(self, url: str, session: aiohttp.ClientSession, rate: int) -> None:
        self.acknowledged = 0
        self.refused = 0
        self._url = url
        self._session = session
        self._rate = rate
        self._numbers = count(1)

    async def spans(self) -> None:
        """Send numbered spans at the rate, each batch until it is acknowledged."""
        while True:
            begin = time.perf_counter()
            body = request_of_numbers(next(self._numbers) * BATCH)
            while not await self._post("traces", body):
                self.refused += 1
                await asyncio.sleep(1)
            self.acknowledged += BATCH
            await asyncio.sleep(max(0.0, begin + BATCH / self._rate - time.perf_counter()))

    async def events(self) -> None:
        """Let the run do a step ten times a second."""
        for number in count():
            kind = EventType.RUN_STARTED if number == 0 else EventType.PROGRESS
            event = Event(type=kind, run_id=RUN, workflow="outage", time=time.time_ns())
            await self._post("logs", request_of([event]).SerializeToString())
            await asyncio.sleep(0.1)

    async def _post(self, signal: str, body: bytes) -> bool:
        async with self._session.post(f"{self._url}/v1/{signal}", data=body, headers=PROTOBUF) as answer:
            await answer.read()
            return answer.status == 200


async def view(url: str, session: aiohttp.ClientSession, lags: list[float]) -> None:
    """Watch the run; write down how late its events are, in milliseconds."""
    async with session.get(f"{url}/api/v1/runs/{RUN}/feed", timeout=aiohttp.ClientTimeout()) as feed:
        async for line in feed.content:
            if line.startswith(b"data: ") and b'"progress"' in line:
                time_ns = json.loads(line[6:]).get("event", {}).get("time")
                if time_ns:
                    lags.append((time.time_ns() - time_ns) / 1e6)


@asynccontextmanager
async def collector(dsn: str, directory: str) -> AsyncGenerator[tuple[str, int]]:
    """Run a collector with this history; yield its URL and its process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "stagelight_collector", "up", "--port", "0", "--data-dir", directory, "--history", dsn,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().split()[-1], process.pid
    finally:
        process.terminate()
        await process.wait()


async def entries(url: str, session: aiohttp.ClientSession) -> float:
    """Return how many requests history has yet to take."""
    async with session.get(f"{url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("stagelight_journal_entries "))


async def memory(pid: int, peak: list[float]) -> None:
    """Write down the memory once a second, in MiB."""
    while True:
        peak.append(psutil.Process(pid).memory_info().rss / 2**20)
        await asyncio.sleep(1)


async def outage(server: StandIn, seconds: float) -> None:
    """Refuse, hang, and fail after the commit, a third of the time each."""
    await server.down()
    await asyncio.sleep(seconds / 3)
    server.hanging = asyncio.Event()
    await server.up()
    await asyncio.sleep(seconds / 3)
    server.hanging.set()
    server.hanging = None
    server.fails_after_commit = True
    await asyncio.sleep(seconds / 3)
    server.fails_after_commit = False


async def measure(seconds: float, rate: int, directory: Path) -> dict[str, Any]:
    """Run it all."""
    server = StandIn(directory / "server", "stagelight")
    await server.up()
    lags: list[float] = []
    peak: list[float] = []
    async with (
        collector(server.dsn, str(directory / "data")) as (url, pid),
        aiohttp.ClientSession() as session,
    ):
        load = Load(url, session, rate)
        tasks = [asyncio.create_task(work) for work in (load.spans(), load.events(), memory(pid, peak))]
        await asyncio.sleep(3)
        tasks.append(asyncio.create_task(view(url, session, lags)))
        await outage(server, seconds)
        behind, begin, before = await entries(url, session), time.perf_counter(), load.acknowledged
        usual = 3 * (rate / BATCH + 10)  # what comes in three seconds
        while await entries(url, session) > usual:  # noqa: ASYNC110 - another process, asked over HTTP
            await asyncio.sleep(0.2)
        drained = time.perf_counter() - begin
        live = load.acknowledged - before
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while await entries(url, session):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.2)
    rows, different = map(
        int, (await server.ask("SELECT count(), uniqExact(SpanId) FROM stagelight.otel_traces")).split()
    )
    await server.close()
    lags.sort()
    return {
        "missing": load.acknowledged - different,
        "doubled": rows - different,
        "acknowledged": load.acknowledged,
        "refused_requests": load.refused,
        "memory_mib": round(max(peak)),
        "viewer_p99_ms": round(lags[int(len(lags) * 0.99)], 1),
        "viewer_worst_ms": round(lags[-1], 1),
        "viewed": len(lags),
        "requests_behind": behind,
        "drained_s": round(drained, 1),
        "drained_per_s": round((rate * seconds + live) / drained),
        "live_per_s": rate,
    }


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600, help="how long the server is away")
    parser.add_argument("--rate", type=int, default=2_000, help="spans a second")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, suppress(KeyboardInterrupt):
        found = asyncio.run(measure(options.seconds, options.rate, Path(directory)))
        line = {
            "name": "outage",
            "value": found["missing"] + found["doubled"],
            "unit": "spans missing or doubled",
        }
        print(json.dumps({**line, "seconds": options.seconds, "memory_target_mib": TARGET_MIB, **found}))


if __name__ == "__main__":
    main()
