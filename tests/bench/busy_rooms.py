"""10,000 runs at once, one event a second each, from OTLP requests to rooms: memory and the lag of the event loop.

The collector is a process of its own, with its journal and its embedded history, and so is the sender (250 log records a
request, as an agent's batches). Lag is by how much a pause of 5 ms is too long; memory is resident, above that of
the collector before the first event. A viewer of one room shows that events are live. Prints one JSON line; `value` is
the 99th percentile of the lag in milliseconds.

    python tests/bench/busy_rooms.py [--rooms 10000] [--seconds 30]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import resource
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from stagelight.conventions import EventType
from stagelight.events import Event
from stagelight_collector.app import Collector
from stagelight_collector.config import Settings
from stagelight_plugins import garbage
from stagelight_plugins.otlp import request_of

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

BATCH: Final = 250
PAUSE: Final = 0.005
TARGET_MS: Final = 50.0
TARGET_MB: Final = 600.0


def resident() -> float:
    """Return the resident memory of this process in MB (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def percentile(values: list[float], percent: float) -> float:
    """Return a percentile."""
    return sorted(values)[int(len(values) * percent / 100)]


# --- the collector ------------------------------------------------------------------------------------------------


async def collect(pipe: Connection, rooms: int, folder: str) -> None:
    """Run a collector; say where it listens, and at the end how it went."""
    settings = Settings.model_validate(
        {"data_dir": folder, "port": 0, "limits": {"rooms": rooms + 100, "steps": 100 * rooms}}
    )
    async with Collector(settings) as collector:
        garbage.quieten()  # as `stagelight up` does
        idle = resident()
        pipe.send(collector.url)
        await asyncio.to_thread(pipe.recv)  # all runs have begun
        lag, peak, begin = [0.0], [resident()], time.process_time()
        watching = asyncio.create_task(watch(lag, peak))
        await asyncio.to_thread(pipe.recv)  # it is over
        used = time.process_time() - begin
        watching.cancel()
        hub = collector.pipeline.hub
        pipe.send(
            {
                "lag_p99_ms": percentile(lag, 99),
                "lag_p50_ms": percentile(lag, 50),
                "lag_max_ms": max(lag),
                "memory_mb": max(peak) - idle,
                "idle_mb": idle,
                "rooms": len(hub.rooms),
                "events": hub.counters.events,
                "evicted": hub.counters.evicted,
                "cpu_seconds": used,
            }
        )
        await asyncio.to_thread(pipe.recv)


async def watch(lag: list[float], peak: list[float]) -> None:
    """Write down by how much pauses are too long, and memory now and then."""
    while True:
        for _ in range(50):
            begin = time.perf_counter()
            await asyncio.sleep(PAUSE)
            lag.append((time.perf_counter() - begin - PAUSE) * 1e3)
        peak.append(resident())


# --- the sender ---------------------------------------------------------------------------------------------------


def events(rooms: range, second: int) -> list[Event]:
    """Return one event for each of these rooms: the run's start, then steps that start and end."""
    now = time.time_ns()
    kind = EventType.STEP_STARTED if second % 2 else EventType.STEP_COMPLETED
    step = f"step-{(second + 1) // 2}"
    return [
        Event(
            type=EventType.RUN_STARTED if second == 0 else kind,
            run_id=f"run-{number}",
            time=now,
            workflow=f"workflow-{number % 20}",
            step_id="" if second == 0 else f"{number}-{step}",
            step_name="" if second == 0 else step,
            step_kind="" if second == 0 else "do",
        )
        for number in rooms
    ]


async def send(pipe: Connection, url: str, rooms: int, seconds: int) -> None:
    """Have every run begin, then send one event per run and second."""
    headers = {"Content-Type": "application/x-protobuf"}
    late: list[float] = []
    async with aiohttp.ClientSession() as session:

        async def post(share: range, second: int) -> None:
            body = request_of(events(share, second)).SerializeToString()
            async with session.post(f"{url}/v1/logs", data=body, headers=headers) as answer:
                assert answer.status == 200, await answer.text()

        shares = [range(start, start + BATCH) for start in range(0, rooms, BATCH)]
        for share in shares:
            await post(share, 0)
        pipe.send("begun")
        await asyncio.to_thread(pipe.recv)
        start = time.perf_counter()
        under_way: set[asyncio.Task[None]] = set()
        for second in range(1, seconds + 1):
            for number, share in enumerate(shares):
                due = start + second - 1 + number / len(shares)
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                late.append(time.perf_counter() - due)
                task = asyncio.create_task(post(share, second))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
        await asyncio.gather(*under_way)
        pipe.send({"seconds": time.perf_counter() - start, "late_p99_ms": percentile(late, 99) * 1e3})


# --- a viewer -----------------------------------------------------------------------------------------------------


async def view(url: str, stop: threading.Event, latencies: list[float]) -> None:
    """Read one room until told to stop."""
    async with (
        aiohttp.ClientSession(read_bufsize=1 << 22) as session,
        session.get(f"{url}/api/v1/runs/run-0/feed") as feed,
    ):
        async for line in feed.content:
            if line.startswith(b"data: ") and b'"event":{"type":"step_' in line:
                latencies.append((time.time_ns() - json.loads(line[6:])["event"]["time"]) / 1e6)
            if stop.is_set():
                return


def child(entry: Any, *arguments: Any) -> None:
    """Run a coroutine in this process."""
    asyncio.run(entry(*arguments))


def measure(rooms: int, seconds: int) -> dict[str, Any]:
    """Run it all; return what came of it."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        here, there = context.Pipe()
        collector = context.Process(target=child, args=(collect, there, rooms, folder))
        collector.start()
        url = here.recv()
        ours, theirs = context.Pipe()
        context.Process(target=child, args=(send, theirs, url, rooms, seconds), daemon=True).start()
        ours.recv()
        time.sleep(3)  # history takes the starts
        stop, latencies = threading.Event(), list[float]()
        viewer = threading.Thread(target=child, args=(view, url, stop, latencies), daemon=True)
        viewer.start()
        here.send("begin")
        ours.send("go")
        sent = ours.recv()
        here.send("end")
        found = here.recv()
        stop.set()
        here.send("stop")
        collector.join()
    return {**found, "viewer_p99_ms": percentile(latencies, 99), "viewed": len(latencies), "sender": sent}


def main() -> None:
    """Measure, and print one line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rooms", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=30)
    options = parser.parse_args()
    found = measure(options.rooms, options.seconds)
    line = {
        "name": "busy_rooms",
        "value": round(found["lag_p99_ms"], 2),
        "unit": "ms lag p99",
        "target": TARGET_MS,
        "memory_mb": round(found["memory_mb"], 1),
        "memory_target_mb": TARGET_MB,
        "rooms": found["rooms"],
        "events": found["events"],
        "found": {
            key: round(value, 2) if isinstance(value, float) else value for key, value in found.items()
        },
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
