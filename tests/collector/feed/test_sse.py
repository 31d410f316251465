"""A viewer on a real connection: a snapshot, then every event after it, resumable, with an end."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from yarl import URL

from stagelight.conventions import EventType
from stagelight_collector.rooms.channel import QUEUE_BYTES
from stagelight_collector.rooms.hub import LINGER_SECONDS, RETURN_SECONDS

from .conftest import Site, event

if TYPE_CHECKING:
    import aiohttp

T = EventType


@dataclass
class Told:
    """One message as it came over the wire."""

    id: str
    type: str
    data: dict[str, Any]


class Stream:
    """A feed that is being read."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self) -> Told | None:
        """Return the next message, None at the end."""
        told = Told("", "", {})
        async for raw in self.response.content:
            name, _, value = raw.decode().rstrip("\n").partition(": ")
            if name == "id":
                told.id = value
            elif name == "event":
                told.type = value
            elif name == "data":
                told.data = json.loads(value)
            elif not raw.strip() and told.type:
                return told
        return None

    async def take(self, count: int) -> list[Told]:
        """Return so many messages."""
        return [told for _ in range(count) if (told := await self.next()) is not None]


def types(messages: list[Told]) -> list[str]:
    return [told.type for told in messages]


async def test_a_viewer_gets_a_snapshot_and_then_every_event(
    site: Site, session: aiohttp.ClientSession
) -> None:
    await site.hub.write([event(T.RUN_STARTED, workflow="etl")])
    async with session.get(f"{site.url}/api/v1/runs/r/feed") as response:
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        stream = Stream(response)
        (snapshot,) = await stream.take(1)
        await site.hub.write([event(T.STEP_STARTED, step_id="s", step_name="load")])
        (started,) = await stream.take(1)

    assert snapshot.data["run"]["workflow"] == "etl"
    assert (started.type, started.data["step"]["name"]) == ("step_started", "load")
    assert started.id == f"e-{site.hub.seq}"


async def test_a_returning_viewer_gets_what_it_missed(site: Site, session: aiohttp.ClientSession) -> None:
    await site.hub.write([event(T.RUN_STARTED)])
    async with session.get(f"{site.url}/api/v1/runs/r/feed") as response:
        (last,) = await Stream(response).take(1)
    await site.hub.write([event(T.LOG, time=number, message=str(number)) for number in range(1, 4)])

    async with session.get(f"{site.url}/api/v1/runs/r/feed", headers={"Last-Event-ID": last.id}) as response:
        missed = await Stream(response).take(3)

    assert [told.data["log"]["message"] for told in missed] == ["1", "2", "3"]


@pytest.mark.parametrize("last_id", ["other-1", "e-99999999999999999999999", "e-x"])
async def test_a_gap_is_told_before_the_snapshot(
    site: Site, session: aiohttp.ClientSession, last_id: str
) -> None:
    await site.hub.write([event(T.RUN_STARTED)])
    async with session.get(f"{site.url}/api/v1/feed?room=r&room=lobby&last_event_id={last_id}") as response:
        messages = await Stream(response).take(4)

    assert types(messages) == ["reset", "reset", "snapshot", "snapshot"]
    assert {told.data["room"] for told in messages} == {"r", "lobby"}


async def test_only_the_last_of_several_snapshots_can_be_resumed_after(
    site: Site, session: aiohttp.ClientSession
) -> None:
    await site.hub.write([event(T.RUN_STARTED, "a"), event(T.RUN_STARTED, "b")])
    async with session.get(f"{site.url}/api/v1/feed?room=a&room=b") as response:
        first, second = await Stream(response).take(2)

    assert (first.id, second.id) == ("", f"e-{site.hub.seq}")


async def test_the_stream_ends_after_the_run_and_a_resume_answers_204(
    site: Site, session: aiohttp.ClientSession
) -> None:
    await site.hub.write([event(T.RUN_STARTED)])
    async with session.get(f"{site.url}/api/v1/runs/r/feed?types=progress") as response:
        stream = Stream(response)
        await stream.take(1)
        await site.hub.write([event(T.RUN_COMPLETED, time=2)])
        (ended,) = await stream.take(1)
        site.now += LINGER_SECONDS + 1
        await site.hub.look_after()
        assert await stream.next() is None

    assert ended.type == "run_completed", "a filter never hides how a run ends"
    async with session.get(f"{site.url}/api/v1/runs/r/feed", headers={"Last-Event-ID": ended.id}) as response:
        assert response.status == 204


async def test_a_viewer_that_lags_at_the_end_still_learns_how_it_ended(
    site: Site, session: aiohttp.ClientSession
) -> None:
    await site.hub.write([event(T.RUN_STARTED)])
    async with session.get(f"{site.url}/api/v1/runs/r/feed") as response:
        stream = Stream(response)
        await stream.take(1)
        (viewer,) = site.hub.viewers
        viewer.capacity = 1
        # Taken in one go: the viewer has no turn in between.
        for number in range(5):
            site.hub.take(event(T.LOG, time=number, message=str(number)))
        site.hub.take(event(T.RUN_FAILED, time=9))
        site.now += LINGER_SECONDS + 1
        await site.hub.look_after()
        reset, snapshot = await stream.take(2)
        assert await stream.next() is None

    assert (reset.type, snapshot.type) == ("reset", "snapshot")
    assert snapshot.data["run"]["status"] == "failed"


@pytest.mark.parametrize(
    ("query", "remedy"),
    [
        (
            "/runs/r/feed?types=log,step_complete",
            "There is no type 'step_complete'. Possible are attempt_failed",
        ),
        ("/runs/r/feed?speed=max&types=dance", "There is no type 'dance'. Possible are"),
        ("/feed?room=r&types=dance", "There is no type 'dance'. Possible are"),
        ("/feed?room=r&speed=max", "GET /api/v1/runs/{id}/feed?speed=max replays one run."),
        ("/runs/r/ws?types=dance", "There is no type 'dance'. Possible are"),
        ("/runs/r/ws?speed=max", "GET …/feed?speed=… replays this run."),
        ("/ws?room=r&speed=max", "GET /api/v1/runs/{id}/feed?speed=max replays one run."),
    ],
)
async def test_what_would_show_nothing_or_something_else_is_refused_with_the_remedy(
    site: Site, session: aiohttp.ClientSession, query: str, remedy: str
) -> None:
    site.past = [event(T.RUN_STARTED), event(T.RUN_COMPLETED, time=2)]
    await site.hub.write(site.past)
    async with session.get(f"{site.url}/api/v1{query}") as response:
        assert (response.status, response.content_type) == (400, "application/problem+json")
        assert remedy in (await response.json())["detail"]
    assert not site.hub.viewers


async def test_every_type_that_there_is_can_be_asked_for(site: Site, session: aiohttp.ClientSession) -> None:
    await site.hub.write([event(T.RUN_STARTED)])
    every = ",".join([*map(str, T), "run", "snapshot", "reset", "gone", "restarting"])
    async with session.get(f"{site.url}/api/v1/runs/r/feed?types={every}") as response:
        assert response.status == 200


async def test_an_unknown_run_is_404_alone_and_gone_among_others(
    site: Site, session: aiohttp.ClientSession
) -> None:
    async with session.get(f"{site.url}/api/v1/runs/nobody/feed") as response:
        assert (response.status, response.content_type) == (404, "application/problem+json")
    async with session.get(f"{site.url}/api/v1/feed?room=lobby&room=nobody") as response:
        messages = await Stream(response).take(2)

    assert [(told.type, told.data["room"]) for told in messages] == [
        ("snapshot", "lobby"),
        ("gone", "nobody"),
    ]


@pytest.mark.parametrize("run_id", ["lobby", "{x}", "ü/%", "a b", "../runs"])
async def test_any_run_id_has_a_room(site: Site, session: aiohttp.ClientSession, run_id: str) -> None:
    await site.hub.write([event(T.RUN_STARTED, run_id, workflow="odd")])
    address = URL(f"{site.url}/api/v1/runs/{quote(run_id, safe='')}/feed", encoded=True)
    async with session.get(address) as response:
        assert response.status == 200
        (snapshot,) = await Stream(response).take(1)

    assert snapshot.data["run"]["workflow"] == "odd"


async def test_a_collector_that_goes_down_says_so(site: Site, session: aiohttp.ClientSession) -> None:
    async with session.get(f"{site.url}/api/v1/feed") as response:
        stream = Stream(response)
        await stream.take(1)
        site.hub.close()
        (last,) = await stream.take(1)
        assert await stream.next() is None

    assert last.type == "restarting"


async def test_who_stayed_away_too_long_starts_afresh(site: Site, session: aiohttp.ClientSession) -> None:
    await site.hub.write([event(T.RUN_STARTED)])
    async with session.get(f"{site.url}/api/v1/runs/r/feed") as response:
        (last,) = await Stream(response).take(1)
    while site.hub.viewers:
        await site.hub.look_after()
        await asyncio.sleep(0)
    site.now += RETURN_SECONDS + 1
    await site.hub.write([event(T.LOG, time=1, message="unseen")])

    async with session.get(f"{site.url}/api/v1/runs/r/feed", headers={"Last-Event-ID": last.id}) as response:
        reset, snapshot = await Stream(response).take(2)

    assert (reset.type, snapshot.data["logs"][0]["message"]) == ("reset", "unseen")


async def test_a_viewer_that_reads_nothing_costs_bounded_memory_and_is_told_how_things_are(
    site: Site, session: aiohttp.ClientSession
) -> None:
    await site.hub.write([event(T.RUN_STARTED)])
    async with session.get(f"{site.url}/api/v1/runs/r/feed") as response:
        stream = Stream(response)
        await stream.take(1)
        (viewer,) = site.hub.viewers
        ready: Any = viewer.ready
        waiting = [0]
        text = "x" * 8_000
        for number in range(1, 12_000):
            await site.hub.write([event(T.PROGRESS, time=number, message=f"{number}{text}")])
            waiting.append(ready.__self__.request.transport.get_write_buffer_size())
        assert site.hub.counters.lagged + viewer.lags >= 1  # more, where the system's buffers grow meanwhile
        kinds: list[str] = []
        newest = ""
        while not newest.startswith("11999x"):
            told = await stream.next()
            assert told is not None
            kinds.append(told.type)
            newest = newest if told.type == "reset" else told.data["run"]["progress"]["message"]

    assert max(waiting) < QUEUE_BYTES + (2 << 20), "what waited in its queue, and what was on its way"
    assert kinds.count("reset") == site.hub.counters.lagged, (
        "counted when it happens, not when the viewer leaves"
    )
    assert kinds[kinds.index("reset") + 1] == "snapshot"
