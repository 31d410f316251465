"""A worker beside a collector: its runs are everybody's, whichever of the two is killed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from cloudflare import AsyncCloudflare, CloudflareError

from .processes import PATIENCE_SECONDS
from .shop import README, SHOP, WHERE, Shop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    import aiohttp

    from .processes import CollectorProcess

pytestmark = [pytest.mark.crash, pytest.mark.timeout(240)]


@dataclass
class WorkerProcess:
    """A worker that can be killed and started again on the same port and data."""

    directory: Path
    endpoint: str
    url: str = ""
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, and return when it listens."""
        port = self.url.rpartition(":")[2] or "0"
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "stagelight_collector", "worker", "--workflows", "flows.py", "--port", port,
            "--endpoint", self.endpoint, "--data-dir", "kept",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, cwd=self.directory,
        )  # fmt: skip
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            line = (await self.process.stdout.readline()).decode()
        assert "listening on" in line, f"the worker did not start: {line!r}"
        self.url = line.split()[-1]

    async def end(self, number: int) -> int:
        """Send a signal; return the exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.process.wait()


class Workshop(Shop):
    """The shop, whose gates are the worker's."""

    async def known(self) -> None:
        """Wait until the collector knows the worker."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    await self.instances.list("Refund", account_id="any")
                except CloudflareError:
                    await asyncio.sleep(0.05)
                else:
                    return


@pytest.fixture
async def worker(collector: CollectorProcess) -> AsyncIterator[WorkerProcess]:
    """A worker with the README's workflow, in the collector's folder, where the shop looks for its gates."""
    folder = collector.data_dir
    (source,) = [
        block
        for block in re.findall(r"^```python\n(.*?)^```$", README.read_text(), flags=re.MULTILINE | re.DOTALL)
        if block.startswith("# flows.py")
    ]
    (folder / "flows.py").write_text(source)
    (folder / "shop.py").write_text(SHOP)
    for name in ("fetch", "process"):
        os.mkfifo(folder / f"{name}.gate")
    worker = WorkerProcess(folder, collector.url)
    await worker.start()
    yield worker
    await worker.end(signal.SIGKILL)


async def test_a_workers_run_is_steered_and_kept_by_the_collector_whichever_is_killed(
    collector: CollectorProcess, worker: WorkerProcess, session: aiohttp.ClientSession
) -> None:
    base = f"{collector.url}/client/v4"
    async with AsyncCloudflare(api_token="any", base_url=base) as client:  # noqa: S106 - nobody asks for it
        shop = Workshop(collector, client)
        await shop.known()
        await shop.instances.create("Refund", account_id="any", instance_id="refund-7", params='{"order": 7}')
        gate = await shop.gate("fetch")
        await shop.recorded("fetch")
        await worker.end(signal.SIGKILL)
        os.close(gate)
        await worker.start()
        os.close(await shop.gate("fetch"))
        await collector.kill()
        # What happens while there is no collector is told when there is one again.
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                path = "client/v4/accounts/any/workflows/Refund/instances/refund-7"
                async with session.get(f"{worker.url}/{path}") as answer:
                    if (await answer.json())["result"]["status"] == "waiting":
                        break
                await asyncio.sleep(0.02)
        await collector.start()
        await shop.known()
        await shop.instances.events.create(
            "approval", instance_id="refund-7", body={"approved": True}, **WHERE
        )
        os.close(await shop.gate("process"))
        ended = await shop.until(lambda found: found.end is not None)
        assert ended.output == {"order": 7, "paid": True}
        run = await told(
            session, collector.url, "runs/refund-7", lambda run: run["run"]["status"] == "completed"
        )
        diagram = await told(
            session, collector.url, "workflows/Refund/diagram?run=refund-7", lambda found: found["graph"]
        )
        async with session.get(
            f"{base}/accounts/any/workflows/Refund/instances/refund-7/subscribe"
        ) as answer:
            stream = await answer.text()
        page = await told(session, collector.url, "engine/workflows", lambda found: found["workflows"])

    assert [(step["name"], step["status"], step["attempt"]) for step in run["steps"]] == [
        ("fetch", "completed", 2),
        ("approve", "completed", 1),
        ("process", "completed", 1),
    ]
    assert [node["name"] for node in diagram["graph"]["nodes"]] == ["fetch", "approve", "process"]
    assert diagram["exact"] is True
    assert answer.content_type == "text/event-stream"
    assert stream.count("event: workflow_completed\n") == 1
    assert [(one["name"], one["worker"]) for one in page["workflows"]] == [("Refund", worker.url)]
    assert await worker.end(signal.SIGTERM) == 0


async def told(session: aiohttp.ClientSession, url: str, path: str, wanted: Callable[[Any], object]) -> Any:
    """Return an answer of the collector's API, once it is as wanted."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            async with session.get(f"{url}/api/v1/{path}") as answer:
                found = await answer.json()
            if answer.status == 200 and wanted(found):
                return found
            await asyncio.sleep(0.05)


async def test_a_worker_lets_no_page_in_and_a_collector_believes_no_stranger(
    collector: CollectorProcess, worker: WorkerProcess, session: aiohttp.ClientSession
) -> None:
    path = "/api/v1/engine/workflows/Refund/instances"
    for headers in ({"Origin": worker.url}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}):
        async with session.post(f"{worker.url}{path}", json={}, headers=headers) as answer:
            assert answer.status in {403, 421}
    for url in (
        "http://example.com:80",
        "file:///etc/passwd",
        "http://127.0.0.1:1/x?y",
        "http://127.0.0.1@example.com",
    ):
        body = json.dumps({"url": url, "workflows": ["Refund"]})
        async with session.post(f"{collector.url}/api/v1/engine/workers", data=body) as answer:
            assert answer.status == 400, url
    async with session.get(f"{worker.url}{path}") as answer:
        assert (await answer.json())["instances"] == []
