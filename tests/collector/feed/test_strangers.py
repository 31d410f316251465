"""What nobody knows and what is made up: a clear answer each time, and nothing of it stays in memory."""

from __future__ import annotations

import asyncio
import itertools
import tracemalloc
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest
from aiohttp import WSCloseCode
from yarl import URL

from stagelight.conventions import EventType
from stagelight_collector.feed.admission import MAX_ROOMS

from .conftest import Site, event

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES: Final = 100_000
AT_ONCE: Final = MAX_ROOMS - 1
"""So many are asked for at once beside the room that is watched."""
TRACED: Final = 30_000
"""Over the last of them every allocation is traced, which is slow."""
MOST_BYTES: Final = 3 << 20
"""What may be left of these: the bounded caches of pydantic and yarl, about half of it."""
FORGED: Final = (
    "%00", "%FF%FE", "..%2F..%2Fetc%2Fpasswd", "%27%20OR%201%3D1%20--", "%7B%7D", "lobby", "%20", "%0D%0AX-Evil:1",
    "-1", "e-1", "r%00", "%F0%9F%92%A9", "x" * 4_000,
)  # fmt: skip
_numbers = itertools.count()


def batches(count: int) -> Iterator[list[str]]:
    """Yield about so many names of runs that nobody has seen, others at each call."""
    for _ in range(0, count, AT_ONCE):
        yield [f"a-stranger-with-a-long-name-{next(_numbers)}" for _ in range(AT_ONCE)]


async def ask_for(socket: aiohttp.ClientWebSocketResponse, rooms: list[str]) -> list[Any]:
    """Subscribe to rooms; return the answers."""
    await socket.send_json({"type": "subscribe", "rooms": rooms})
    return [await socket.receive_json() for _ in range(1 + len(rooms))]


async def flood(
    site: Site, session: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse, count: int
) -> None:
    """Ask for so many rooms on one socket, and for a tenth as many on streams."""
    for names in batches(count):
        subscribed, *gone = await ask_for(socket, names)
        assert subscribed["data"] == {"rooms": ["r"]}
        assert [message["event"] for message in gone] == ["gone"] * AT_ONCE
    for names in batches(count // 10):
        query = "&".join(f"room={name}" for name in names)
        async with session.get(f"{site.url}/api/v1/feed?{query}") as response:
            assert response.status == 200


async def test_a_flood_of_unknown_rooms_leaves_nothing_behind(
    site: Site, session: aiohttp.ClientSession
) -> None:
    await site.hub.write([event(EventType.RUN_STARTED)])
    async with session.ws_connect(f"{site.url}/api/v1/ws?room=r") as socket:
        await socket.receive_json()
        await ask_for(socket, ["nobody"])
        await flood(site, session, socket, NAMES - TRACED)
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            await flood(site, session, socket, TRACED)
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert set(site.hub.rooms) == {"r"}
        assert after - before < MOST_BYTES

        await site.hub.write([event(EventType.RUN_COMPLETED, time=2)])
        assert (await socket.receive_json())["event"] == "run_completed"


@pytest.mark.parametrize("forged", FORGED)
async def test_a_forged_id_is_a_run_that_nobody_knows(
    site: Site, session: aiohttp.ClientSession, forged: str
) -> None:
    for path in (f"/api/v1/runs/{forged}/feed", f"/api/v1/runs/{forged}/ws"):
        async with session.get(URL(site.url + path, encoded=True)) as response:
            assert (response.status, response.content_type) == (404, "application/problem+json")
            assert (await response.json())["title"]
            assert "X-Evil" not in response.headers
    assert not site.hub.rooms


async def test_unknown_rooms_cost_history_one_question_at_a_time(
    site: Site, session: aiohttp.ClientSession
) -> None:
    asking, most = [0], [0]
    load = site.hub.load

    async def slow(run_id: str) -> Any:
        asking[0] += 1
        most[0] = max(most[0], asking[0])
        await asyncio.sleep(0)
        asking[0] -= 1
        return await load(run_id)

    site.hub.load = slow
    async with session.ws_connect(f"{site.url}/api/v1/ws") as socket:
        for names in batches(10 * AT_ONCE):
            await socket.send_json({"type": "subscribe", "rooms": names})
        for _ in range(10 * (1 + AT_ONCE)):
            await socket.receive_json()

    assert most == [1]


async def test_who_goes_away_leaves_no_trace(site: Site, session: aiohttp.ClientSession) -> None:
    """A browser that leaves the page closes with 1001 (RFC 6455, section 7.4.1); that is no fault of its."""
    await site.hub.write([event(EventType.RUN_STARTED)])
    async with session.ws_connect(f"{site.url}/api/v1/runs/r/ws") as socket:
        await socket.receive_json()
        (viewer,) = site.hub.viewers
        await socket.close(code=WSCloseCode.GOING_AWAY)

    async with asyncio.timeout(10):
        while viewer in site.hub.viewers:
            await site.hub.write([event(EventType.LOG, message="to nobody")])
    assert not site.hub.rooms["r"].channel.viewers
    assert site.hub.counters.dropped == 0
