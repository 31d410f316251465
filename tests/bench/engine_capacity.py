"""What the engine holds: 2,000,000 queued, 50,000 running, 300 creates a second; then 500,000 asleep and 3,000 creates a second.

First a file with the queue is made, through the store as creates make it. Then a process opens it, and this is measured: the
time from opening to the first claim, the p99 of a create while 50,000 instances run and others are created at the rate, and
the memory of the process. In the second part instances sleep instead of running. Prints one JSON line for each part; `value` is
the p99 of a create in milliseconds. `--queued N --running N --seconds N` make it smaller.

    python tests/bench/engine_capacity.py
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil

from stagelight_plugins.engine import WorkflowEntrypoint, WorkflowEvent
from stagelight_plugins.engine.limits import Limits
from stagelight_plugins.engine.opening import open_control_plane
from stagelight_plugins.engine.store import Batch, Row
from stagelight_plugins.garbage import quieten

if TYPE_CHECKING:
    from stagelight_plugins.engine.control_plane import LocalControlPlane
    from stagelight_plugins.engine.step import Step

TARGETS: Final = {"p99_ms": 50, "first_claim_s": 5, "rss_mib": 1_024}
AT_ONCE: Final = 20_000


class Busy(WorkflowEntrypoint):
    """Holds its slot until the end of the benchmark."""

    first: float = 0.0

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        """Run a step that does not end."""
        Busy.first = Busy.first or time.perf_counter()
        await step.do("hold", hold)


class Asleep(WorkflowEntrypoint):
    """Sleeps for a day."""

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        """Sleep."""
        await step.sleep("night", "1 day")


async def hold() -> None:
    """Never end."""
    await asyncio.get_running_loop().create_future()


async def fill(path: Path, queued: int) -> None:
    """Make a file with so many instances in the queue of `Busy`."""
    plane = await open_control_plane(path)
    await plane.register(Busy)
    house, workflow = plane.house, plane.house.account.workflow("Busy")
    workflow.known = False
    for start in range(1, queued + 1, AT_ONCE):
        batch, now = Batch(), house.clock.now()
        for seq in range(start, min(start + AT_ONCE, queued + 1)):
            row = Row(
                seq=seq, workflow=workflow.key, id=f"i{os.urandom(12).hex()}", version=workflow.version, status="queued",
                created=now, modified=now, retention=workflow.retention, chef=1 + seq % 4, rank=house.rank(woken=False),
                params=b'{"number":1}',
            )  # fmt: skip
            batch.creates.append(row)
            batch.journal[seq] = [b'{"t":"workflow_queued","at":%d}' % now]
        await asyncio.to_thread(house.store.write, batch)
    await plane.close()


async def creates(plane: LocalControlPlane, workflow: str, rate: int, seconds: float) -> list[float]:
    """Create instances at a rate, whatever each takes; return the milliseconds of each, in order of size."""
    took: list[float] = []

    async def one() -> None:
        begin = time.perf_counter()
        await plane.create(workflow, {"number": 1})
        took.append((time.perf_counter() - begin) * 1_000)

    begin, tasks = time.perf_counter(), list[asyncio.Task[None]]()
    for number in range(int(rate * seconds)):
        ahead = begin + number / rate - time.perf_counter()
        if ahead > 0:
            await asyncio.sleep(ahead)
        tasks.append(asyncio.ensure_future(one()))
    await asyncio.gather(*tasks)
    return sorted(took)


async def running(path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Measure with a long queue and all slots in use."""
    begin = time.perf_counter()
    plane = await open_control_plane(path, limits=Limits(slots=options.running, queued=10**9))
    await plane.register(Busy)
    while not Busy.first:  # noqa: ASYNC110 - until the first `run`
        await asyncio.sleep(0.001)
    first = Busy.first - begin
    while (await plane.queue("Busy")).running < options.running:  # noqa: ASYNC110 - until all slots are in use
        await asyncio.sleep(0.05)
    full = time.perf_counter() - begin
    quieten()
    took = await creates(plane, "Busy", 300, options.seconds)
    figures = await plane.queue("Busy")
    found = {
        "first_claim_s": round(first, 2),
        "all_slots_s": round(full, 1),
        "queued": figures.queued,
        "running": figures.running,
    }
    return measured("engine_capacity", took, found)


async def asleep(path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Measure with many that sleep, and ten times the creates."""
    plane = await open_control_plane(path, limits=Limits(slots=options.running, pending=10**6))
    await plane.register(Asleep)
    counts = plane.house.account.workflow("Asleep").counts
    quieten()
    for _ in range(0, options.asleep, 1_000):
        await asyncio.gather(*(plane.create("Asleep") for _ in range(1_000)))
    while counts.get("waiting", 0) < options.asleep:  # noqa: ASYNC110 - until all sleep
        await asyncio.sleep(0.05)
    took = await creates(plane, "Asleep", 3_000, min(options.seconds, 20))
    return measured("engine_capacity_asleep", took, {"waiting": counts.get("waiting", 0)})


def measured(name: str, took: list[float], more: dict[str, Any]) -> dict[str, Any]:
    """Return the line of a part."""
    rss = psutil.Process().memory_info().rss / (1 << 20)
    p99 = round(took[int(len(took) * 0.99)], 1)
    middle = round(took[len(took) // 2], 2)
    line: dict[str, Any] = {"name": name, "value": p99, "unit": "ms", "p50": middle, "rss_mib": round(rss)}
    return {**line, **more, "creates": len(took), "targets": TARGETS, "load": os.getloadavg()[0]}


def part(work: Any, path: Path, options: argparse.Namespace) -> None:
    """Run a part in this process, and print its line."""
    print(json.dumps(asyncio.run(work(path, options))), flush=True)
    os._exit(0)  # 50,000 steps that never end are not waited for


def filled(path: Path, queued: int) -> None:
    """Make the file."""
    asyncio.run(fill(path, queued))


def main() -> None:
    """Measure both parts, each in a process of its own."""
    parser = argparse.ArgumentParser()
    for name, default in (("queued", 2_000_000), ("running", 50_000), ("asleep", 500_000), ("seconds", 60)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        for target, arguments in (
            (filled, (path / "queue.sqlite", options.queued)),
            (part, (running, path / "queue.sqlite", options)),
            (part, (asleep, path / "asleep.sqlite", options)),
        ):
            process = spawn.Process(target=target, args=arguments)
            process.start()
            process.join()


if __name__ == "__main__":
    main()
