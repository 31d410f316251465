"""A hub on a real port, with its feeds."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from stagelight.events import Event
from stagelight_collector.api import problem
from stagelight_collector.feed.sse import Feed
from stagelight_collector.feed.ws import SocketFeed
from stagelight_collector.rooms.hub import Hub
from stagelight_collector.rooms.limits import HubLimits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Sequence

    from stagelight.conventions import EventType


def event(kind: EventType, run_id: str = "r", time: int = 1, **fields: Any) -> Event:
    """Return an event."""
    return Event(type=kind, run_id=run_id, time=time, **fields)


class Site:
    """A feed on a real port."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.past: list[Event] = []
        self.slept: list[float] = []
        self.hub = Hub(self._load, "e", HubLimits(viewers=5), clock=lambda: self.now)
        self.url = ""
        self.connections: Callable[[], int] = int
        """How many are open."""

    async def _load(self, run_id: str) -> Sequence[Event]:
        return [event for event in self.past if event.run_id == run_id]

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def start(self) -> web.AppRunner:
        """Open the port."""
        app = web.Application(middlewares=[problem.middleware])
        feed = Feed(self.hub)
        feed.replays.sleep = self._sleep
        app.add_routes([*feed.routes(), *SocketFeed(self.hub, now=lambda: 1.5).routes()])
        runner = web.AppRunner(app, shutdown_timeout=5)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        server = runner.server
        assert server is not None
        self.connections = lambda: len(server.connections)
        return runner


@contextmanager
def taking_nothing(site: Site, path: str, *headers: str) -> Generator[None]:
    """Send a request, and never read the answer."""
    host, _, port = site.url.removeprefix("http://").partition(":")
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        raw.connect((host, int(port)))
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}:{port}", *headers, "", ""]
        raw.sendall("\r\n".join(lines).encode())
        yield


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A hub and its feeds."""
    site = Site()
    runner = await site.start()
    yield site
    site.hub.close()
    await runner.cleanup()
    assert site.hub.viewers == set()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client."""
    timeout = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(read_bufsize=1 << 22, timeout=timeout) as client:
        yield client
