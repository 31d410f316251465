"""The workflow of the plugins' README in a collector of its own, and the gates of what it calls."""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from cloudflare import AsyncCloudflare

from .processes import PATIENCE_SECONDS, CollectorProcess

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

README: Final = Path(__file__).parents[2] / "plugins" / "README.md"
WHERE: Final[dict[str, Any]] = {"account_id": "any", "workflow_name": "Refund"}
SHOP: Final = '''
"""What the workflow does: each call is written down, and goes on when the test opens its gate."""

from pathlib import Path

HERE = Path(__file__).parent


def fetch(order):
    return called("fetch", {"order": order})


def process(order):
    return called("process", {**order, "paid": True})


def called(name, answer):
    with (HERE / "calls").open("a") as calls:
        calls.write(f"{name}\\n")
    (HERE / f"{name}.gate").read_bytes()
    return answer
'''


class Shop:
    """A collector with the workflow, the official client, and the gates of what the workflow calls."""

    def __init__(self, collector: CollectorProcess, client: AsyncCloudflare) -> None:
        self.collector = collector
        self.instances = client.workflows.instances

    @property
    def calls(self) -> list[str]:
        """What was called, in order."""
        return (self.collector.data_dir / "calls").read_text().split()

    async def gate(self, name: str) -> int:
        """Wait until a step stands at its gate; return the gate, which opens when it is closed."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    return os.open(self.collector.data_dir / f"{name}.gate", os.O_WRONLY | os.O_NONBLOCK)
                except OSError:  # nobody reads it yet
                    await asyncio.sleep(0.01)

    async def killed(self, name: str) -> None:
        """Kill the collector while a step stands at its gate, and start it again."""
        gate = await self.gate(name)
        try:
            await self.recorded(name)
            await self.collector.kill()
        finally:
            # Before the start: a step that is tried again must find its gate closed.
            os.close(gate)
        await self.collector.start()

    async def recorded(self, name: str) -> None:
        """Wait until the rooms know that a step runs: what the engine tells them of is on disk.

        A function may run a moment before that (an attempt that is cut off then is not counted, at most once).
        """
        async with asyncio.timeout(PATIENCE_SECONDS), aiohttp.ClientSession() as session:
            while True:
                async with session.get(f"{self.collector.url}/api/v1/runs/refund-7") as answer:
                    steps = (await answer.json()).get("steps", [])
                if any((step["name"], step["status"]) == (name, "running") for step in steps):
                    return
                await asyncio.sleep(0.01)

    async def restart(self) -> None:
        """Kill the collector and start it again."""
        await self.collector.kill()
        await self.collector.start()

    async def until(self, wanted: Callable[[Any], bool]) -> Any:
        """Wait until the instance is as wanted."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                found = await self.instances.get("refund-7", **WHERE)
                if wanted(found):
                    return found
                await asyncio.sleep(0.02)


@asynccontextmanager
async def open_shop(directory: Path, more: str = "", config: str = "") -> AsyncGenerator[Shop]:
    """Start a collector with the README's workflow, and more of them; kill it at the end."""
    (source,) = [
        block
        for block in re.findall(r"^```python\n(.*?)^```$", README.read_text(), flags=re.MULTILINE | re.DOTALL)
        if block.startswith("# flows.py")
    ]
    (directory / "flows.py").write_text(source + more)
    (directory / "shop.py").write_text(SHOP)
    (directory / "stagelight.toml").write_text(f'[plugins.engine]\nworkflows = ["flows.py"]\n{config}')
    for name in ("fetch", "process"):
        os.mkfifo(directory / f"{name}.gate")
    collector = CollectorProcess(directory)
    await collector.start()
    try:
        base = f"{collector.url}/client/v4"
        async with AsyncCloudflare(api_token="any", base_url=base) as client:  # noqa: S106 - nobody asks for it
            yield Shop(collector, client)
    finally:
        await collector.kill()
