"""From a step entered in an app to its event at a viewer: agent process -> collector -> server-sent events.

1,000 events a second flow for 15 seconds (500 steps, each with a start and an end). The floor is measured in the same
run: a plain aiohttp server that echoes what is posted to it, at the same rate, to one server-sent-events client.
Prints one JSON line; `value` and `peer` are the 99th percentiles in milliseconds.

    python tests/bench/live_latency.py
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

SECONDS: Final = 15
STEPS_PER_SECOND: Final = 500
RUN_ID: Final = "latency"
TARGET_MS: Final = 100.0

APP: Final = f"""
import sys, time, stagelight
with stagelight.workflow("latency", run_id={RUN_ID!r}):
    sys.stdin.readline()
    begin = time.perf_counter()
    for number in range({SECONDS * STEPS_PER_SECOND}):
        with stagelight.step("step"):
            pass
        ahead = begin + (number + 1) / {STEPS_PER_SECOND} - time.perf_counter()
        if ahead > 0:
            time.sleep(ahead)
"""


@asynccontextmanager
async def process(*arguments: str, **options: Any) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Run a process until the block ends."""
    child = await asyncio.create_subprocess_exec(sys.executable, *arguments, **options)
    try:
        yield child
    finally:
        if child.returncode is None:
            child.terminate()
        await child.wait()


async def messages(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    """Yield the data of server-sent events."""
    async for line in response.content:
        if line.startswith(b"data: "):
            yield json.loads(line[6:])


async def through_stagelight() -> list[float]:
    """Return the latency of every start of a step, in milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        up = ("-m", "stagelight_collector", "up", "--port", "0", "--data-dir", folder)
        async with process(*up, stdout=asyncio.subprocess.PIPE) as collector:
            assert collector.stdout is not None
            url = (await collector.stdout.readline()).decode().split()[-1]
            run = ("-m", "stagelight_collector", "run", "--endpoint", url, sys.executable, "-c", APP)
            async with (
                process(*run, stdin=asyncio.subprocess.PIPE) as app,
                aiohttp.ClientSession(read_bufsize=1 << 24) as session,
            ):
                return await _watch(session, url, app)


async def _watch(session: aiohttp.ClientSession, url: str, app: asyncio.subprocess.Process) -> list[float]:
    response = await session.get(f"{url}/api/v1/feed?room=lobby")
    async for message in messages(response):
        runs = [message["run"]] if "run" in message else message.get("runs", [])
        if any(run["id"] == RUN_ID for run in runs):
            break
    response.close()
    latencies: list[float] = []
    async with session.get(f"{url}/api/v1/runs/{RUN_ID}/feed") as feed:
        assert app.stdin is not None
        app.stdin.write(b"go\n")
        async for message in messages(feed):
            now = time.time_ns()
            event = message.get("event")
            if event and event["type"] == "step_started":
                latencies.append((now - event["time"]) / 1e6)
            if event and event["type"] == "run_completed":
                break
    return latencies


ECHO: Final = """
from aiohttp import web
import asyncio

queue = asyncio.Queue()

async def post(request):
    queue.put_nowait(await request.read())
    return web.Response()

async def feed(request):
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    while True:
        await response.write(b"data: " + await queue.get() + b"\\n\\n")

async def main():
    app = web.Application()
    app.add_routes([web.post("/", post), web.get("/", feed)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def floor() -> list[float]:
    """Return the latency of a plain echo at the same rate of requests as the agent makes, in milliseconds."""
    latencies: list[float] = []
    count = SECONDS * 100
    async with (
        process("-c", ECHO, stdout=asyncio.subprocess.PIPE) as server,
        aiohttp.ClientSession() as poster,
        aiohttp.ClientSession() as viewer,
    ):
        assert server.stdout is not None
        url = f"http://127.0.0.1:{(await server.stdout.readline()).decode().strip()}/"
        response = await viewer.get(url)

        async def receive() -> None:
            async for message in messages(response):
                latencies.append((time.time_ns() - message["time"]) / 1e6)
                if len(latencies) == count:
                    break

        receiving = asyncio.create_task(receive())
        for _ in range(count):
            await (
                await poster.post(url, data=json.dumps({"time": time.time_ns(), "padding": "x" * 600}))
            ).read()
            await asyncio.sleep(0.01)
        await receiving
        response.close()
    return latencies


def percentile(values: list[float], percent: int) -> float:
    """Return a percentile."""
    return statistics.quantiles(values, n=100)[percent - 1]


async def main() -> None:
    """Measure both and print the line."""
    ours = await through_stagelight()
    plain = await floor()
    value, peer = percentile(ours, 99), percentile(plain, 99)
    line = {
        "name": "live_latency",
        "value": round(value, 2),
        "unit": "ms p99",
        "p50": round(percentile(ours, 50), 2),
        "events": len(ours),
        "peer": round(peer, 2),
        "peer_p50": round(percentile(plain, 50), 2),
        "ratio": round(value / peer, 2),
        "target": TARGET_MS,
    }
    sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
