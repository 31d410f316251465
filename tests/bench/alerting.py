"""What alerting costs, and how fast it is.

Ingest: requests of 100 events over HTTP into collectors with 200 rules, with none, and with alerting blocked, in turns;
also the collectors' CPU per event, which a busy machine disturbs less. Latency: from the failing event's request to
its webhook, with `for = 0` and the default `group_wait` of 0.5 s, which is what it is compared with; each failure is of
another workflow, so that each is a group and a message of its own. Prints one JSON line for each.

    python tests/bench/alerting.py
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import psutil
from aiohttp import web

from stagelight.conventions import EventType
from stagelight.events import Event, Failure
from stagelight_plugins.otlp import request_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

ROUNDS: Final = 6
SECONDS: Final = 4.0
RULES: Final = 200
AT_ONCE: Final = 4
FAILURES: Final = 200
RATE: Final = 20.0
HEADERS: Final = {"Content-Type": "application/x-protobuf"}
NO_RULES: Final = "[alerting]\noff = ['run-failed', 'slow-step', 'stuck-run', 'missed-run']\n"
BLOCKED: Final = "[plugins]\nblock = ['alerting']\n"


@asynccontextmanager
async def collector(configuration: str) -> AsyncGenerator[tuple[str, psutil.Process]]:
    """Run a collector in a process of its own; yield its address and the process."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "stagelight.toml")
        await asyncio.to_thread(file.write_text, configuration)
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "stagelight_collector", "up", "--port", "0", "--data-dir", folder,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "STAGELIGHT_CONFIG": str(file)},
        )  # fmt: skip
        try:
            assert child.stdout is not None
            yield (await child.stdout.readline()).decode().split()[-1], psutil.Process(child.pid)
        finally:
            child.terminate()
            await child.wait()


def rules(count: int) -> str:
    """Return as many rules of all kinds that look at events, half of which fit the workflows."""
    kinds = (
        "when = 'run_failed'", "when = 'step_failed'", "when = 'step_too_long'\nlonger_than = '1h'",
        "when = 'stuck'\nsilent_for = '1h'", "when = 'error_rate'\nabove = 0.5",
    )  # fmt: skip
    table = "[alerting]\nwebhook = 'http://127.0.0.1:9/'\n"
    for number in range(count):
        match = "etl*" if number % 2 else f"other-{number}*"
        table += f"[alerting.rules.rule-{number}]\n{kinds[number % len(kinds)]}\nmatch = {{ workflow = '{match}' }}\n"
    return table


def body(number: int) -> bytes:
    """Return a request with ten runs of four steps: 100 events."""
    events: list[Event] = []
    for run in range(10):
        ids: dict[str, Any] = {"run_id": f"{os.getpid()}-{number}-{run}", "workflow": f"etl-{run}"}
        now = time.time_ns()
        events.append(Event(type=EventType.RUN_STARTED, time=now, **ids))
        for step in range(4):
            name: dict[str, Any] = {"step_id": f"{number}-{run}-{step}", "step_name": f"step {step}"}
            events.append(Event(type=EventType.STEP_STARTED, time=now + step * 2 + 1, **ids, **name))
            events.append(Event(type=EventType.STEP_COMPLETED, time=now + step * 2 + 2, **ids, **name))
        events.append(Event(type=EventType.RUN_COMPLETED, time=now + 99, **ids))
    return request_of(events).SerializeToString()


async def ingest(
    session: aiohttp.ClientSession, house: tuple[str, psutil.Process], seconds: float, bodies: list[bytes]
) -> tuple[float, float]:
    """Send for a while; return events a second, and microseconds of the collector's CPU per event."""
    url, process = house
    sent, begin, used = 0, time.perf_counter(), sum(process.cpu_times()[:2])

    async def send() -> None:
        nonlocal sent
        while time.perf_counter() - begin < seconds and bodies:
            async with session.post(f"{url}/v1/logs", data=bodies.pop(), headers=HEADERS) as answer:
                sent += 100 * (answer.status == 200)
                if answer.status != 200:
                    await asyncio.sleep(0.05)

    await asyncio.gather(*(send() for _ in range(AT_ONCE)))
    used = sum(process.cpu_times()[:2]) - used
    return sent / (time.perf_counter() - begin), used / max(1, sent) * 1e6


async def throughput() -> dict[str, Any]:
    """Compare the three collectors; each round asks all of them in turn."""
    bodies = [body(number) for number in range(int(ROUNDS * SECONDS * 3 * 60))]
    found: list[list[tuple[float, float]]] = [[], [], []]
    async with (
        collector(rules(RULES)) as with_rules,
        collector(NO_RULES) as none,
        collector(BLOCKED) as blocked,
        aiohttp.ClientSession() as session,
    ):
        houses = [with_rules, none, blocked]
        for house in houses:
            await ingest(session, house, 2.0, bodies)
        for number in range(ROUNDS):
            for at in range(3):
                which = (at + number) % 3
                found[which].append(await ingest(session, houses[which], SECONDS, bodies))
    rate, cost = ([statistics.median(each[part] for each in rounds) for rounds in found] for part in (0, 1))
    return {
        "name": "alerting_ingest", "value": round(rate[0]), "unit": "events/s", "peer": round(rate[1]),
        "ratio": round(rate[0] / rate[1], 3), "ratio_to_blocked": round(rate[0] / rate[2], 3),
        "cpu_us": round(cost[0]), "cpu_ratio": round(cost[1] / cost[0], 3),
        "cpu_ratio_to_blocked": round(cost[2] / cost[0], 3), "rules": RULES, "target": 0.9,
    }  # fmt: skip


@asynccontextmanager
async def webhook(arrived: dict[str, float], complete: asyncio.Event) -> AsyncGenerator[int]:
    """Run a receiver that notes when it heard of a workflow first; yield its port."""

    async def hear(request: web.Request) -> web.Response:
        now = time.perf_counter()
        for alert in (await request.json())["alerts"]:
            arrived.setdefault(alert["labels"]["workflow"], now)
        if len(arrived) == FAILURES:
            complete.set()
        return web.Response()

    app = web.Application()
    app.add_routes([web.post("/", hear)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


def failing(name: str) -> bytes:
    """Return a request with a run that fails."""
    now, ids = time.time_ns(), dict[str, Any](run_id=name, workflow=name)
    started = Event(type=EventType.RUN_STARTED, time=now, **ids)
    failed = Event(type=EventType.RUN_FAILED, time=now + 1, error=Failure(type="ValueError"), **ids)
    return request_of([started, failed]).SerializeToString()


async def latency() -> dict[str, Any]:
    """Return how long a failure takes to reach its webhook."""
    arrived: dict[str, float] = {}
    sent: dict[str, float] = {}
    complete = asyncio.Event()
    async with (
        webhook(arrived, complete) as port,
        collector(f"[alerting]\nwebhook = 'http://127.0.0.1:{port}/'\n") as (url, _),
        aiohttp.ClientSession() as session,
    ):
        for number in range(FAILURES):
            data = failing(f"w{number}")
            begin = sent[f"w{number}"] = time.perf_counter()
            async with session.post(f"{url}/v1/logs", data=data, headers=HEADERS) as answer:
                assert answer.status == 200
            await asyncio.sleep(max(0.0, 1 / RATE - (time.perf_counter() - begin)))
        async with asyncio.timeout(30):
            await complete.wait()
    cuts = statistics.quantiles((arrived[name] - at for name, at in sent.items()), n=100)
    return {
        "name": "alerting_latency", "value": round(cuts[98], 3), "unit": "s p99", "p50": round(cuts[49], 3),
        "peer": 0.5, "ratio": round(cuts[98] / 0.5, 2), "messages": FAILURES, "target": 1.0,
    }  # fmt: skip


async def main() -> None:
    """Measure both."""
    for measure in (throughput, latency):
        sys.stdout.write(json.dumps(await measure()) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
