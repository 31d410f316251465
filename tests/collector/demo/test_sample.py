"""The sample workflows are played through the plugin's own routes, and never left running."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from stagelight_collector.app import Collector
from stagelight_collector.config import Settings
from stagelight_collector.demo.sample import LEAST_SECONDS, MOST_SECONDS, STAGES, Sample

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

Session = aiohttp.ClientSession
SEED = 7
"""With it some workflow fails and some does not."""


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[Session]:
    settings = Settings.model_validate({"data_dir": tmp_path, "port": 0})
    async with Collector(settings) as collector, Session(collector.url, raise_for_status=True) as session:
        yield session


async def workflows(session: Session) -> list[dict[str, Any]]:
    async with session.get("/workflow/") as response:
        return await response.json()  # type: ignore[no-any-return]  # what JSON holds


async def outcomes(session: Session, paused: list[float], seed: int) -> list[tuple[Any, ...]]:
    """Play; return how each workflow ended."""

    async def sleep(seconds: float) -> None:
        paused.append(seconds)

    before = len(await workflows(session))
    await Sample(session, Random(seed), sleep).play()
    return [
        (each["name"], each["status"], each.get("error"), *(stage["status"] for stage in each["stages"]))
        for each in (await workflows(session))[before:]
    ]


async def test_the_same_seed_plays_the_same(session: Session) -> None:
    paused: list[float] = []
    first = await outcomes(session, paused, SEED)

    assert await outcomes(session, [], SEED) == first
    assert {status for _, status, *_ in first} == {"completed", "failed"}
    assert all(LEAST_SECONDS <= seconds <= MOST_SECONDS for seconds in paused)
    for _, status, error, *stages in first:
        assert error == ("Stage failed" if status == "failed" else None)
        assert len(stages) == len(STAGES)
        assert stages.count("failed") == (status == "failed")


async def test_a_stage_that_fails_says_so_and_is_the_last(session: Session) -> None:
    await outcomes(session, [], SEED)
    failed = next(each for each in await workflows(session) if each["status"] == "failed")
    place = [stage["status"] for stage in failed["stages"]].index("failed")

    assert [stage["name"] for stage in failed["stages"]] == list(STAGES)
    assert failed["stages"][place]["error"] == "Simulated failure"
    assert {stage["status"] for stage in failed["stages"][place + 1 :]} <= {"pending"}


async def test_what_is_stopped_does_not_run_for_ever(session: Session) -> None:
    asleep = asyncio.Semaphore(0)

    async def sleep(_seconds: float) -> None:
        asleep.release()
        await asyncio.Event().wait()

    playing = asyncio.create_task(Sample(session, Random(SEED), sleep).play(2))
    for _ in range(2):
        await asleep.acquire()
    playing.cancel()
    await asyncio.wait([playing])

    assert playing.cancelled()
    assert [(each["status"], each["error"]) for each in await workflows(session)] == [
        ("failed", "Stopped")
    ] * 2
