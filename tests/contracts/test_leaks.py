"""What is started and stopped leaves no task, thread or descriptor, and no process that will not end.

Each in a process of its own: what a library keeps for the life of the process is there after the first round, so the
rounds after it are compared with that one.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROUNDS: Final = 3

COUNT: Final = """
import os, threading
from pathlib import Path

def held():
    links = [Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    targets = sorted(os.readlink(link) for link in links if link.is_symlink())
    # The engine of history reads the /proc entries of its own pool of threads, which grows and shrinks as it likes.
    targets = [target for target in targets if not target.startswith("/proc/")]
    return sorted(thread.name for thread in threading.enumerate()), targets
"""

COLLECTOR: Final = """
import asyncio, sys
import aiohttp
from stagelight_collector.app import Collector
from stagelight_collector.config import Settings

async def once(folder):
    collector = Collector(Settings.model_validate({"data_dir": folder, "port": 0}))
    async with collector, aiohttp.ClientSession() as session:
        async with session.get(f"{collector.url}/api/v1/feed?room=") as feed:
            assert feed.status == 200, await feed.text()
            await feed.content.readline()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    assert not tasks, tasks

def rounds(folder):
    asyncio.run(once(folder))
    before = held()
    for _ in range(int(sys.argv[2])):
        asyncio.run(once(folder))
    assert held() == before, (before, held())

rounds(sys.argv[1])
"""

AGENT: Final = """
import sys
import stagelight

@stagelight.step
def load():
    stagelight.progress(1, 2)

@stagelight.workflow
def etl():
    load()

def once():
    stagelight.configure(endpoint=sys.argv[1])
    etl()
    stagelight.flush()
    stats = stagelight.stats()
    assert stats.delivered == stats.produced > 0, stats
    stagelight.shutdown()

once()
before = held()
for _ in range(int(sys.argv[2])):
    once()
assert held() == before, (before, held())
"""


pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


class Ear(BaseHTTPRequestHandler):
    """Accepts whatever it is sent, and keeps the connection."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's own name
        """Say nothing."""


@pytest.fixture
def ear() -> Iterator[str]:
    """Listen for telemetry; return the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Ear) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_collector_that_was_stopped_leaves_nothing(tmp_path: Path) -> None:
    _run(COLLECTOR, str(tmp_path))


def test_an_agent_that_was_shut_down_leaves_nothing(ear: str) -> None:
    _run(AGENT, ear)


def _run(script: str, argument: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", COUNT + script, argument, str(ROUNDS)],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "ResourceWarning" not in done.stderr
