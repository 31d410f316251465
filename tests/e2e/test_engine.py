"""The workflow of the plugins' README: killed in each of its states, and driven end to end by the official client."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from ..plugins.alerting.conftest import Receiver  # noqa: TID252 - tests are no package
from .processes import PATIENCE_SECONDS
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


async def answer_of(shop: Shop, path: str) -> Any:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{shop.collector.url}/api/v1/{path}") as answer,
    ):
        return await answer.json()


async def test_alerts_and_history_hold_for_runs_of_the_engine(tmp_path: Path) -> None:
    receiver = Receiver()
    await receiver.start()
    alerting = f"[alerting]\nwebhook = '{receiver.url}/hook'\ngroup_wait = '20ms'\n"
    async with open_shop(tmp_path, config=alerting) as shop:
        await shop.instances.create("Refund", account_id="any", instance_id="refund-7", params='{"order": 7}')
        os.close(await shop.gate("fetch"))
        await shop.until(lambda found: found.status == "waiting")
        await shop.instances.events.create(
            "approval", instance_id="refund-7", body={"approved": False, "reason": "too late"}, **WHERE
        )
        (heard,) = await receiver.until(1, PATIENCE_SECONDS)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (await answer_of(shop, "runs?workflow=Refund&status=failed"))["runs"]:  # noqa: ASYNC110 - until history has it
                await asyncio.sleep(0.05)
        await shop.restart()
        run = await answer_of(shop, "runs/refund-7")
        (listed,) = (await answer_of(shop, "runs?workflow=Refund"))["runs"]
    await receiver.stop()

    (alert,) = heard.json["alerts"]
    assert (alert["labels"]["workflow"], alert["annotations"]["run"]) == ("Refund", "refund-7")
    assert "too late" in str(alert["annotations"])
    assert (listed["status"], listed["error"]["type"]) == ("failed", "Rejected")
    assert [(step["name"], step["kind"], step["status"]) for step in run["steps"]] == [
        ("fetch", "do", "completed"),
        ("approve", "wait_for_event", "completed"),
    ]
    assert run["run"]["attributes"]["code.function.name"] == "Refund"
    assert run["run"]["attributes"]["workflow.version"]
