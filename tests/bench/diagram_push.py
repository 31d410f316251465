"""What a pushed bundle of 1.3 MB costs the collector: memory that stays, and how long its loop stands still.

Prints one JSON line. `value` is the growth of the collector's resident memory in MiB after ten pushes (target 16); `lag_ms`
the longest that any of many small requests to the same loop took meanwhile beyond what they take when nothing is
pushed (target 50); `answer_s` how long the pusher waited. The bundle is a workflow among real-looking minified code.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import psutil

SIZE = 1_300_000
PUSHES = 10
HEAD = 'import{WorkflowEntrypoint as E}from"cloudflare:workers";'
TAIL = 'var W=class extends E{async run(e,t){for(let r of e.payload.rows)await t.do(`row ${r}`,async()=>f0(r));await t.sleep("rest",6e4)}};export{W as Bundled};'


def bundle(seed: int) -> str:
    """Return minified code with a workflow at its end, another for each seed."""
    chance = random.Random(seed)
    parts = [HEAD]
    size = len(HEAD) + len(TAIL)
    while size < SIZE:
        name = f"f{len(parts) - 1}"
        inner = "".join(
            f'if(a.{chance.choice("xyz")}>{chance.randrange(99)})return[a,"{chance.randrange(10**9)}"].map(b=>({{...b,n:`${{b}}-{n}`}}));'
            for n in range(chance.randrange(3, 9))
        )
        parts.append(f"function {name}(a){{{inner}return a&&a.v?.w??null}}")
        size += len(parts[-1])
    return "".join([*parts, TAIL])


async def ping(session: aiohttp.ClientSession, url: str, stop: asyncio.Event) -> list[float]:
    """Ask for something small again and again; return how long each took, in ms."""
    took: list[float] = []
    while not stop.is_set():
        before = time.perf_counter()
        async with session.get(f"{url}/healthz") as response:
            await response.read()
        took.append((time.perf_counter() - before) * 1000)
        await asyncio.sleep(0.002)
    return took


async def measure(url: str, pid: int) -> dict[str, Any]:
    """Push, and watch the collector meanwhile."""
    process = psutil.Process(pid)
    async with aiohttp.ClientSession() as session:
        quiet = await pinged(session, url, asyncio.sleep(3))
        before = process.memory_info().rss
        answers: list[float] = []

        async def push_all() -> None:
            for seed in range(PUSHES):
                body = json.dumps({"main": "worker.js", "files": {"worker.js": bundle(seed)}}).encode()
                started = time.perf_counter()
                async with session.post(f"{url}/api/v1/diagrams", data=_stream(body)) as response:
                    assert response.status == 201, await response.text()
                answers.append(time.perf_counter() - started)

        busy = await pinged(session, url, push_all())
    return {
        "value": round((process.memory_info().rss - before) / 2**20, 1),
        "lag_ms": round(max(busy) - sorted(quiet)[len(quiet) // 2], 1),
        "quiet_lag_ms": round(max(quiet) - sorted(quiet)[len(quiet) // 2], 1),
        "answer_s": round(max(answers), 2),
    }


async def _stream(body: bytes) -> Any:
    for at in range(0, len(body), 65536):
        yield body[at : at + 65536]


async def pinged(session: aiohttp.ClientSession, url: str, work: Any) -> list[float]:
    """Return the pings' times while something is done."""
    stop = asyncio.Event()
    pings = asyncio.create_task(ping(session, url, stop))
    await work
    stop.set()
    return await pings


async def main() -> None:
    """Run a collector, measure, print."""
    with tempfile.TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "stagelight_collector", "up", "--port", "0", "--data-dir", str(Path(folder, "data")),
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().split()[-1]
        try:
            found = await measure(url, process.pid)
        finally:
            process.terminate()
            await process.communicate()
    print(
        json.dumps(
            {"name": "diagram_push", "unit": "MiB", "target": 16, "target_lag_ms": 50, "peer": None, **found}
        )
    )


if __name__ == "__main__":
    asyncio.run(main())
