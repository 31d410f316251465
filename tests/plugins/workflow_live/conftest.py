"""A client of Workflow Live, and the collector that it talks to."""

from __future__ import annotations

import io
import json
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from stagelight_collector.app import Collector
from stagelight_collector.config import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator
    from pathlib import Path

CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type, Authorization",
}


class Client:
    """A client that knows only the article."""

    def __init__(self, collector: Collector, session: aiohttp.ClientSession) -> None:
        self.collector = collector
        self._session = session

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Send a request; return status, and JSON or text. Every answer has the CORS headers."""
        data = None if body is None else io.BytesIO(json.dumps(body).encode())
        async with self._session.request(method, f"{self.collector.url}{path}", data=data) as response:
            assert {name: response.headers.get(name) for name in CORS} == CORS
            is_json = response.content_type == "application/json"
            return response.status, await (response.json() if is_json else response.text())

    async def create(self, *stages: str) -> dict[str, Any]:
        """Create a workflow."""
        body = {"name": "etl", "stages": [{"name": name} for name in stages]}
        status, workflow = await self.ask("POST", "/workflow/create", body)
        assert status == 200
        return workflow  # type: ignore[no-any-return]  # what JSON holds

    async def health(self) -> dict[str, int]:
        """Ask what is in memory."""
        async with self._session.get(f"{self.collector.url}/-/workflow_live/health") as response:
            return await response.json()  # type: ignore[no-any-return]  # what JSON holds

    def listen(self, room: str) -> Any:
        """Open a room."""
        return self._session.ws_connect(f"{self.collector.url}/room/{room}/websocket")


@contextmanager
def taking_nothing(url: str, path: str) -> Generator[None]:
    """Open a WebSocket, and never read from it."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        raw.connect((host, int(port)))
        raw.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        yield


def settings(folder: Path) -> Settings:
    return Settings.model_validate({"data_dir": folder, "port": 0})


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with Collector(settings(tmp_path)) as collector, aiohttp.ClientSession() as session:
        yield Client(collector, session)
