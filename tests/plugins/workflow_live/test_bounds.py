"""What is too much, too slow or refused: nothing is lost, nobody is harmed, and the client is told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import WSCloseCode, WSMsgType

from stagelight_collector.app import Collector
from stagelight_plugins.errors import NotAccepted
from stagelight_plugins.workflow_live.rooms import MAX_TEXT
from stagelight_plugins.workflow_live.routes import MAX_WORKFLOW

from .conftest import Client, taking_nothing

if TYPE_CHECKING:
    import pytest

MESSAGES = 120
"""Of half a megabyte each: more than may wait for a socket and on its way to it."""


async def test_what_is_too_large_is_told_with_the_limit_and_changes_nothing(client: Client) -> None:
    workflow = await client.create("load", "save")
    path, (first, second) = f"/workflow/{workflow['id']}/stage", workflow["stages"]
    much = {"stageId": first["id"], "updates": {"data": "x" * 600_000}}
    _, found = await client.ask("PUT", path, much)
    status, text = await client.ask("PUT", path, {**much, "stageId": second["id"]})
    assert (status, text) == (
        413, f"The workflow would have more than {MAX_WORKFLOW} characters; keep large data elsewhere",
    )  # fmt: skip
    status, text = await client.ask("PUT", path, {**much, "updates": {"data": "x" * 1_100_000}})
    assert (status, text) == (413, "The body has more than 1048576 bytes; send less")

    assert await client.ask("GET", f"/workflow/{workflow['id']}") == (200, found)


async def test_what_was_not_accepted_may_be_asked_for_again(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or else the run would lack what the client was told had not happened, for ever."""

    async def full(*_: object) -> None:
        raise NotAccepted("the journal is full")

    workflow = await client.create("load")
    base, stage = f"/workflow/{workflow['id']}", workflow["stages"][0]["id"]
    requests: list[tuple[str, str, Any]] = [
        ("POST", f"{base}/start", None),
        ("PUT", f"{base}/stage", {"stageId": stage, "updates": {"status": "completed"}}),
        ("POST", "/workflow/create", {"name": "etl", "stages": []}),
    ]
    with monkeypatch.context() as broken:
        broken.setattr(Collector, "accept", full)
        for request in requests:
            assert await client.ask(*request) == (503, "the journal is full; try again in 1 s")
        assert await client.ask("GET", "/workflow/") == (200, [workflow])
    for request in requests:
        assert (await client.ask(*request))[0] == 200
    await client.collector.settle()

    (run,) = [run for run in client.collector.runs() if run["id"] == workflow["id"]]
    assert (run["status"], run["steps"]["completed"]) == ("completed", 1)
    assert len((await client.ask("GET", "/workflow/"))[1]) == 2


async def test_changes_that_come_at_once_are_all_made(client: Client) -> None:
    workflow = await client.create(*map(str, range(20)))
    path = f"/workflow/{workflow['id']}/stage"
    changes = [{"stageId": stage["id"], "updates": {"status": "completed"}} for stage in workflow["stages"]]
    await asyncio.gather(*(client.ask("PUT", path, change) for change in changes))

    _, found = await client.ask("GET", f"/workflow/{workflow['id']}")
    assert found["status"] == "completed"


async def test_a_long_text_and_a_stop_close_the_socket_with_their_codes(client: Client) -> None:
    async with client.listen("x") as room:
        await room.receive_json()
        await room.send_str("x" * (MAX_TEXT + 1))
        assert (await room.receive()).type is WSMsgType.CLOSE
        assert room.close_code == WSCloseCode.MESSAGE_TOO_BIG
    async with client.listen("x") as room:
        await room.receive_json()
        await client.collector.stop()
        goodbye = await room.receive()
        assert (goodbye.type, goodbye.data) == (WSMsgType.CLOSE, WSCloseCode.SERVICE_RESTART)


async def test_where_no_place_is_left_one_is_told_to_come_back(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stagelight_plugins.workflow_live.rooms.MAX_SOCKETS", 0)
    async with client.listen("x") as room:
        goodbye = await room.receive()

    assert (goodbye.type, goodbye.data, goodbye.extra) == (
        WSMsgType.CLOSE, WSCloseCode.TRY_AGAIN_LATER, "no place",
    )  # fmt: skip
    assert (await client.health())["sockets"] == 0


async def test_a_slow_socket_is_closed_and_harms_nobody(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stagelight_plugins.workflow_live.rooms.WRITE_SECONDS", 300.0)
    async with client.listen("x") as slow, client.listen("x") as quick:
        assert (await slow.receive_json())["type"] == "connected"
        assert (await quick.receive_json())["type"] == "connected"
        text = "x" * 500_000
        for number in range(MESSAGES):
            status, _ = await client.ask("POST", "/room/x/broadcast", {"number": number, "text": text})
            assert status == 200
            assert (await quick.receive_json())["data"]["number"] == number
        received = [message async for message in slow]

    assert len(received) < MESSAGES
    assert slow.close_code == WSCloseCode.TRY_AGAIN_LATER


async def test_a_socket_that_takes_nothing_loses_its_place(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stagelight_plugins.workflow_live.rooms.WRITE_SECONDS", 0.1)
    monkeypatch.setattr("stagelight_plugins.goodbye.SECONDS", 0.1)
    with taking_nothing(client.collector.url, "/room/x/websocket"):
        async with asyncio.timeout(60):
            while (await client.health())["sockets"] == 0:
                pass
            while (await client.health())["sockets"] == 1:
                await client.ask("POST", "/room/x/broadcast", "x" * 1_000_000)

        assert await client.health() == {"workflows": 0, "forgotten": 0, "sockets": 0, "dropped": 1}
