"""A WebSocket viewer: the messages of the feed, rooms chosen while it is open, and an end that says why."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from aiohttp import WSCloseCode

from stagelight.conventions import EventType
from stagelight_collector.feed.ws import MAX_MISTAKES, MAX_TEXT
from stagelight_collector.rooms.hub import LINGER_SECONDS

from .conftest import Site, event, taking_nothing

T = EventType
HANDSHAKE = (
    "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)  # fmt: skip


async def take(socket: aiohttp.ClientWebSocketResponse, count: int) -> list[dict[str, Any]]:
    """Receive so many messages."""
    return [await socket.receive_json() for _ in range(count)]


async def end(socket: aiohttp.ClientWebSocketResponse) -> int | None:
    """Read to the end; return the close code."""
    async for _ in socket:
        pass
    return socket.close_code


async def test_a_viewer_gets_the_messages_of_the_feed(site: Site, session: aiohttp.ClientSession) -> None:
    await site.hub.write([event(T.RUN_STARTED, workflow="etl")])
    async with session.ws_connect(f"{site.url}/api/v1/runs/r/ws") as socket:
        (snapshot,) = await take(socket, 1)
        await site.hub.write([event(T.STEP_STARTED, step_id="s", step_name="load")])
        (started,) = await take(socket, 1)
    async with session.get(f"{site.url}/api/v1/runs/r/feed?last_event_id={snapshot['id']}") as response:
        lines = [(await response.content.readline()).decode().strip() for _ in range(5)]

    assert snapshot["data"]["run"]["workflow"] == "etl"
    assert started["data"]["step"]["name"] == "load"
    assert lines[2:4] == [f"id: {started['id']}", f"event: {started['event']}"]
    assert json.loads(lines[4].removeprefix("data: ")) == started["data"]


async def test_it_ends_when_the_run_has_ended_and_all_was_told(
    site: Site, session: aiohttp.ClientSession
) -> None:
    await site.hub.write([event(T.RUN_STARTED)])
    async with session.ws_connect(f"{site.url}/api/v1/runs/r/ws?types=progress") as socket:
        await take(socket, 1)
        await site.hub.write([event(T.LOG, message="hidden"), event(T.RUN_COMPLETED, time=2)])
        (ended,) = await take(socket, 1)
        site.now += LINGER_SECONDS + 1
        await site.hub.look_after()
        code = await end(socket)

    assert (ended["event"], code) == ("run_completed", WSCloseCode.OK)
    async with session.ws_connect(f"{site.url}/api/v1/runs/r/ws?last_event_id={ended['id']}") as socket:
        assert await end(socket) == WSCloseCode.OK


async def test_a_returning_viewer_gets_what_it_missed(site: Site, session: aiohttp.ClientSession) -> None:
    await site.hub.write([event(T.RUN_STARTED)])
    async with session.ws_connect(f"{site.url}/api/v1/runs/r/ws") as socket:
        (last,) = await take(socket, 1)
    await site.hub.write([event(T.LOG, time=number, message=str(number)) for number in range(1, 4)])

    async with session.ws_connect(f"{site.url}/api/v1/runs/r/ws?last_event_id={last['id']}") as socket:
        missed = await take(socket, 3)

    assert [message["data"]["log"]["message"] for message in missed] == ["1", "2", "3"]


async def test_rooms_are_chosen_while_it_is_open(site: Site, session: aiohttp.ClientSession) -> None:
    await site.hub.write([event(T.RUN_STARTED, "a"), event(T.RUN_STARTED, "b")])
    async with session.ws_connect(f"{site.url}/api/v1/ws") as socket:
        await socket.send_json({"type": "subscribe", "rooms": ["a", "nobody"], "types": ["step_started"]})
        subscribed, snapshot, gone = await take(socket, 3)
        await site.hub.write([event(T.STEP_STARTED, "b", step_id="s"), event(T.LOG, "a", message="hidden")])
        await site.hub.write([event(T.STEP_STARTED, "a", step_id="s")])
        (of_a,) = await take(socket, 1)
        await socket.send_json({"type": "unsubscribe", "rooms": ["a"]})
        await take(socket, 1)
        await site.hub.write([event(T.STEP_STARTED, "a", step_id="t")])
        await socket.send_json({"type": "subscribe", "rooms": ["lobby"]})
        last = await take(socket, 2)

    assert (subscribed["event"], subscribed["data"]) == ("subscribed", {"rooms": ["a"]})
    assert (snapshot["event"], snapshot["data"]["room"]) == ("snapshot", "a")
    assert (gone["event"], gone["data"]["room"]) == ("gone", "nobody")
    assert (of_a["event"], of_a["data"]["room"]) == ("step_started", "a")
    assert [message["data"].get("room") for message in last] == [None, "lobby"]


async def test_in_no_room_it_waits_for_another_one(site: Site, session: aiohttp.ClientSession) -> None:
    await site.hub.write([event(T.RUN_STARTED)])
    async with session.ws_connect(f"{site.url}/api/v1/runs/r/ws") as socket:
        await take(socket, 1)
        await socket.send_json({"type": "unsubscribe", "rooms": ["r"]})
        (unsubscribed,) = await take(socket, 1)
        site.now += LINGER_SECONDS + 1
        await site.hub.look_after()
        await socket.send_json({"type": "subscribe", "rooms": ["r"]})
        _, snapshot = await take(socket, 2)

    assert unsubscribed["data"] == {"rooms": []}
    assert snapshot["event"] == "snapshot", "no run had ended, so nothing else may be said"


async def test_a_type_that_there_is_not_is_told(site: Site, session: aiohttp.ClientSession) -> None:
    await site.hub.write([event(T.RUN_STARTED)])
    async with session.ws_connect(f"{site.url}/api/v1/ws") as socket:
        await socket.send_json({"type": "subscribe", "rooms": ["r"], "types": ["log", "dance"]})
        (error,) = await take(socket, 1)
        (viewer,) = site.hub.viewers
        assert (viewer.names, viewer.types) == ([], frozenset())

    assert error["event"] == "error"
    assert error["data"]["title"].startswith("There is no type 'dance'. Possible are attempt_failed")


async def test_a_ping_is_answered(site: Site, session: aiohttp.ClientSession) -> None:
    async with session.ws_connect(f"{site.url}/api/v1/ws") as socket:
        await socket.send_json({"type": "ping"})
        (pong,) = await take(socket, 1)

    assert pong == {"event": "pong", "data": {"time_ms": 1500.0}}


@pytest.mark.parametrize(
    "text",
    ["", "junk", "[]", "null", "{}", '{"type":"dance"}', '{"type":"subscribe","rooms":"a"}',
     '{"type":"subscribe","rooms":[1]}', '{"type":"subscribe","rooms":[],"types":"x"}', "[" * 5_000,
     '{"type":"subscribe","rooms":' + json.dumps([str(number) for number in range(17)]) + "}"],
)  # fmt: skip
async def test_junk_is_answered_with_what_is_understood(
    site: Site, session: aiohttp.ClientSession, text: str
) -> None:
    async with session.ws_connect(f"{site.url}/api/v1/ws") as socket:
        await socket.send_str(text)
        (error,) = await take(socket, 1)
        await socket.send_json({"type": "ping"})
        (pong,) = await take(socket, 1)

    assert error["event"] == "error"
    assert '{"type": "subscribe", "rooms"' in error["data"]["title"]
    assert pong["event"] == "pong"


async def test_too_many_rooms_are_refused_with_the_remedy(site: Site, session: aiohttp.ClientSession) -> None:
    rooms = [str(number) for number in range(20)]
    await site.hub.write([event(T.RUN_STARTED, run_id) for run_id in rooms])
    async with session.ws_connect(f"{site.url}/api/v1/ws") as socket:
        await socket.send_json({"type": "subscribe", "rooms": rooms[:10]})
        await take(socket, 11)
        await socket.send_json({"type": "subscribe", "rooms": rooms[10:]})
        (error,) = await take(socket, 1)
        (viewer,) = site.hub.viewers

    assert "at most 16 rooms" in error["data"]["title"]
    assert viewer.names == []  # it has left


async def test_too_much_junk_ends_the_connection(site: Site, session: aiohttp.ClientSession) -> None:
    async with session.ws_connect(f"{site.url}/api/v1/ws") as socket:
        for _ in range(MAX_MISTAKES):
            await socket.send_bytes(b"\xff")
        assert await end(socket) == WSCloseCode.POLICY_VIOLATION


async def test_too_long_a_text_ends_the_connection(site: Site, session: aiohttp.ClientSession) -> None:
    async with session.ws_connect(f"{site.url}/api/v1/ws") as socket:
        await socket.send_str("x" * (MAX_TEXT + 1))
        assert await end(socket) == WSCloseCode.MESSAGE_TOO_BIG


async def test_where_no_place_is_left_one_is_told_to_come_back(
    site: Site, session: aiohttp.ClientSession
) -> None:
    site.hub.limits.viewers = 0
    async with session.ws_connect(f"{site.url}/api/v1/ws") as socket:
        assert await end(socket) == WSCloseCode.TRY_AGAIN_LATER


async def test_a_collector_that_goes_down_says_so(site: Site, session: aiohttp.ClientSession) -> None:
    async with session.ws_connect(f"{site.url}/api/v1/ws?room=lobby") as socket:
        await take(socket, 1)
        site.hub.close()
        (last,) = await take(socket, 1)
        code = await end(socket)

    assert (last["event"], code) == ("restarting", WSCloseCode.SERVICE_RESTART)


async def test_a_viewer_that_takes_nothing_is_told_and_let_go(
    site: Site, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stagelight_collector.feed.stream.WRITE_SECONDS", 0.0)
    await site.hub.write([event(T.RUN_STARTED)])
    async with session.ws_connect(f"{site.url}/api/v1/runs/r/ws") as socket:
        await take(socket, 1)
        text = "x" * 8_000
        async with asyncio.timeout(20):
            number = 0
            while not site.hub.counters.dropped:
                number += 1
                await site.hub.write([event(T.LOG, time=number, message=f"{number}{text}")])
        assert await end(socket) == WSCloseCode.TRY_AGAIN_LATER

    assert site.hub.counters.dropped == 1


async def test_a_viewer_that_never_reads_loses_its_place(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stagelight_collector.feed.stream.WRITE_SECONDS", 0.1)
    monkeypatch.setattr("stagelight_plugins.goodbye.SECONDS", 0.1)
    await site.hub.write([event(T.RUN_STARTED)])
    text = "x" * 100_000
    with taking_nothing(site, "/api/v1/runs/r/ws", *HANDSHAKE):
        async with asyncio.timeout(60):
            while not site.hub.viewers:
                await site.hub.look_after()
                await asyncio.sleep(0)
            number = 0
            while site.hub.viewers:
                number += 1
                await site.hub.write([event(T.PROGRESS, time=number, message=f"{number}{text}")])
                await asyncio.sleep(0)
            while site.connections():  # what waits in its buffers does not keep it
                await site.hub.look_after()
                await asyncio.sleep(0)

    assert site.hub.counters.dropped == 1


async def test_an_unknown_run_is_404_and_no_upgrade_is_426(
    site: Site, session: aiohttp.ClientSession
) -> None:
    async with session.get(f"{site.url}/api/v1/runs/nobody/ws") as response:
        assert (response.status, response.content_type) == (404, "application/problem+json")
    async with session.get(f"{site.url}/api/v1/ws") as response:
        assert (response.status, response.headers["Upgrade"]) == (426, "websocket")
