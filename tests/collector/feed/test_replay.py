"""A run is told again from history: in order, at its pace or faster, resumable, with an end."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from stagelight.conventions import EventType
from stagelight_collector.feed.replay import MAX_PAUSE_SECONDS, MAX_REPLAYS

from .conftest import Site, event, taking_nothing

if TYPE_CHECKING:
    import aiohttp

    from stagelight.events import Event

T = EventType
SECOND = 1_000_000_000


def at(kind: EventType, second: float, **fields: Any) -> Event:
    return event(kind, time=round(second * SECOND), **fields)


PAST = [
    at(T.RUN_COMPLETED, 100),
    at(T.RUN_STARTED, 1, workflow="etl"),
    at(T.STEP_STARTED, 1, step_id="s", step_name="load"),
    at(T.LOG, 2, message="half"),
    at(T.STEP_COMPLETED, 5, step_id="s"),
]


async def replayed(
    site: Site, session: aiohttp.ClientSession, query: str
) -> list[tuple[str, str, dict[str, Any]]]:
    """Return id, type and data of every message of a replay."""
    async with session.get(f"{site.url}/api/v1/runs/r/feed?{query}") as response:
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        blocks = (await response.text()).strip().split("\n\n")
    told: list[tuple[str, str, dict[str, Any]]] = []
    for block in blocks:
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        told.append((fields["id"], fields["event"], json.loads(fields["data"])))
    return told


async def test_a_replay_tells_every_event_in_order_from_an_empty_run_to_its_end(
    site: Site, session: aiohttp.ClientSession
) -> None:
    site.past = PAST
    told = await replayed(site, session, "speed=max")

    assert [kind for _, kind, _ in told] == [
        "snapshot", "run_started", "step_started", "log", "step_completed", "run_completed",
    ]  # fmt: skip
    assert [identity for identity, _, _ in told] == [f"replay-{number}" for number in range(6)]
    assert told[0][2]["steps"] == []
    assert [data["run"]["status"] for _, _, data in told[1:]] == ["running"] * 4 + ["completed"]
    assert (told[2][2]["step"]["status"], told[4][2]["step"]["status"]) == ("running", "completed")
    assert site.slept == []


@pytest.mark.parametrize(
    ("speed", "pauses"), [("1", [1.0, 3.0, MAX_PAUSE_SECONDS]), ("10", [0.1, 0.3, MAX_PAUSE_SECONDS])]
)
async def test_a_replay_keeps_the_pace_of_the_run(
    site: Site, session: aiohttp.ClientSession, speed: str, pauses: list[float]
) -> None:
    site.past = PAST
    await replayed(site, session, f"speed={speed}")

    assert site.slept == pauses


async def test_a_replay_goes_on_where_the_viewer_was(site: Site, session: aiohttp.ClientSession) -> None:
    site.past = PAST
    whole = await replayed(site, session, "speed=max")

    for place in range(1, 5):
        assert await replayed(site, session, f"speed=max&last_event_id=replay-{place}") == whole[place + 1 :]
    async with session.get(
        f"{site.url}/api/v1/runs/r/feed?speed=max", headers={"Last-Event-ID": "replay-5"}
    ) as response:
        assert response.status == 204


async def test_what_the_bus_tells_too_is_told_once_under_the_same_ids(
    site: Site, session: aiohttp.ClientSession
) -> None:
    """The bus forgets sooner than history; who comes back then must not be taken for further than it is."""
    site.past = [*PAST, *reversed(PAST)]
    both = await replayed(site, session, "speed=max")
    site.past = PAST
    alone = await replayed(site, session, "speed=max")

    assert both == alone
    assert [identity for identity, _, _ in both] == [f"replay-{number}" for number in range(6)]


async def test_what_happened_at_one_time_begins_before_it_ends(
    site: Site, session: aiohttp.ClientSession
) -> None:
    kinds = [T.RUN_CREATED, T.RUN_STARTED, T.STEP_STARTED, T.PROGRESS, T.STEP_FAILED, T.RUN_FAILED]
    site.past = [at(kind, 1, step_id="s" * kind.startswith(("step", "prog"))) for kind in reversed(kinds)]
    told = await replayed(site, session, "speed=max&types=step_started,step_failed")
    assert [kind for _, kind, _ in told] == ["snapshot", "step_started", "step_failed", "run_failed"]

    site.past.reverse()
    assert await replayed(site, session, "speed=max&types=step_started,step_failed") == told


async def test_two_facts_that_differ_only_in_detail_are_both_told(
    site: Site, session: aiohttp.ClientSession
) -> None:
    site.past = [
        at(T.RUN_STARTED, 1),
        *(at(T.LOG, 2, message="x", severity=word) for word in ("INFO", "WARN", "INFO")),
    ]
    told = await replayed(site, session, "speed=max&types=log")

    assert [data["log"]["severity"] for _, _, data in told[1:]] == ["INFO", "WARN"]


async def test_who_reads_nothing_keeps_nobody_from_a_replay(
    site: Site, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stagelight_collector.feed.replay.WRITE_SECONDS", 0.1)
    monkeypatch.setattr("stagelight_collector.feed.replay.MAX_REPLAYS", 1)
    text = "x" * 100_000
    site.past = [at(T.LOG, number, message=text) for number in range(300)]
    with taking_nothing(site, "/api/v1/runs/r/feed?speed=max"):
        async with asyncio.timeout(60):
            while not site.hub.counters.dropped:
                await site.hub.look_after()
                await asyncio.sleep(0)
    site.past = PAST

    assert len(await replayed(site, session, "speed=max")) == 6


@pytest.mark.parametrize("last_id", ["e-3", "replay-", "replay-x", "replay-99999999999", "-3"])
async def test_an_id_that_no_replay_gave_starts_from_the_beginning(
    site: Site, session: aiohttp.ClientSession, last_id: str
) -> None:
    site.past = PAST

    assert len(await replayed(site, session, f"speed=max&last_event_id={last_id}")) == 6


async def test_a_filter_never_hides_how_it_ended(site: Site, session: aiohttp.ClientSession) -> None:
    site.past = PAST
    told = await replayed(site, session, "speed=max&types=log")

    assert [kind for _, kind, _ in told] == ["snapshot", "log", "run_completed"]


@pytest.mark.parametrize(
    ("path", "status", "remedy"),
    [("r/feed?speed=2", 400, "1, 10, max"), ("nobody/feed?speed=max", 404, "GET /api/v1/runs")],
)
async def test_what_cannot_be_replayed_is_told_with_the_remedy(
    site: Site, session: aiohttp.ClientSession, path: str, status: int, remedy: str
) -> None:
    async with session.get(f"{site.url}/api/v1/runs/{path}") as response:
        assert response.status == status
        assert remedy in (await response.json())["detail"]


async def test_replays_are_bounded(
    site: Site, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.past = PAST
    monkeypatch.setattr("stagelight_collector.feed.replay.MAX_REPLAYS", 0)
    async with session.get(f"{site.url}/api/v1/runs/r/feed?speed=max") as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "5")
    monkeypatch.setattr("stagelight_collector.feed.replay.MAX_REPLAYS", 1)
    for _ in range(MAX_REPLAYS):
        assert len(await replayed(site, session, "speed=max")) == 6
