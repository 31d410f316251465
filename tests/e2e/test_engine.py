"""The workflow of the plugins' README: killed in each of its states, and driven end to end by the official client."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from .shop import WHERE, Shop, open_shop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.crash, pytest.mark.timeout(200)]


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as shop:
        yield shop


async def test_the_sample_is_killed_in_each_of_its_states_and_ends_right(shop: Shop) -> None:
    await shop.instances.create("Refund", account_id="any", instance_id="refund-7", params='{"order": 7}')

    await shop.killed("fetch")
    os.close(await shop.gate("fetch"))

    await shop.until(lambda found: found.status == "waiting")
    await shop.restart()
    waiting = await shop.until(lambda found: found.status == "waiting")
    await shop.instances.events.create(
        "approval", instance_id="refund-7", body={"approved": True, "reason": "he is right"}, **WHERE
    )

    await shop.killed("process")
    os.close(await shop.gate("process"))
    ended = await shop.until(lambda found: found.end is not None)

    assert [(step.type, step.name) for step in waiting.steps] == [
        ("step", "fetch-1"),
        ("waitForEvent", "approve-1"),
    ]
    assert ended.status == "complete"
    assert ended.output == {"order": 7, "paid": True}
    assert shop.calls == ["fetch", "fetch", "process", "process"]
    assert [len(step.attempts) for step in ended.steps if step.type == "step"] == [2, 2]


async def test_the_sample_is_rejected_and_fails_without_processing(shop: Shop) -> None:
    await shop.instances.create("Refund", account_id="any", instance_id="refund-7", params='{"order": 7}')
    os.close(await shop.gate("fetch"))
    await shop.until(lambda found: found.status == "waiting")
    await shop.instances.events.create(
        "approval", instance_id="refund-7", body={"approved": False, "reason": "too late"}, **WHERE
    )
    ended = await shop.until(lambda found: found.end is not None)

    assert ended.status == "errored"
    assert "too late" in ended.error.message
    assert shop.calls == ["fetch"]
