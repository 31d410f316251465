"""Subscriptions: every event of an instance, once and in order, until it has ended."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from stagelight_collector.app import Collector

    from .conftest import Driver


class Reader:
    """Reads server-sent events."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def read(self, workflow: str, instance: str, query: str = "", **headers: str) -> list[Any]:
        """Return the events until the stream ends; the status alone where there is none."""
        return [event async for event in self.follow(workflow, instance, query, **headers)]

    async def follow(
        self, workflow: str, instance: str, query: str = "", **headers: str
    ) -> AsyncIterator[Any]:
        """Yield the events."""
        path = f"/client/v4/accounts/x/workflows/{workflow}/instances/{instance}/subscribe{query}"
        async with self.session.get(self.url + path, headers=headers) as response:
            if response.status != 200 or response.content_type != "text/event-stream":
                yield response.status, await response.text()
                return
            async for line in response.content:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])


@pytest.fixture
async def reader(driver: Driver) -> AsyncIterator[Reader]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60)) as session:
        yield Reader(session, driver.url)


async def test_a_subscription_tells_what_was_and_what_comes_until_the_end(
    driver: Driver, reader: Reader
) -> None:
    instance = await driver.create("Approve")
    await driver.until("Approve", instance, "waiting")
    found: list[Any] = []
    async for event in reader.follow("Approve", instance):
        found.append(event)
        if event["type"] == "workflow_waiting":
            await driver.instances.events.create(
                "approved",
                account_id="x",
                workflow_name="Approve",
                instance_id=instance,
                body={"by": "Ada"},
            )

    types = [event["type"] for event in found]
    assert types[:3] == ["workflow_queued", "workflow_started", "step_started"]
    assert types[-1] == "workflow_completed"
    assert {
        "attempt_started",
        "attempt_completed",
        "step_completed",
        "wait_started",
        "wait_completed",
    } <= set(types)
    ids = [event["eventId"] for event in found]
    assert ids == sorted(set(ids))
    step = next(event for event in found if event["type"] == "step_completed")
    assert (step["stepName"], step["stepCount"], step["stepType"]) == ("fetch", 1, "do")
    assert step["output"] == {"rows": 3}
    assert {event["instanceId"] for event in found} == {instance}


async def test_a_subscription_goes_on_after_a_cursor_and_is_over_after_the_last(
    driver: Driver, reader: Reader
) -> None:
    instance = await driver.create("Greet", params='{"name": "Ada"}')
    await driver.until("Greet", instance, "complete")
    everything = await reader.read("Greet", instance)
    middle = everything[len(everything) // 2]["eventId"]
    rest = await reader.read("Greet", instance, f"?cursor={middle}")
    last = everything[-1]["eventId"]

    assert rest == [event for event in everything if event["eventId"] > middle]
    assert await reader.read("Greet", instance, f"?cursor={last}") == [(204, "")]
    assert await reader.read("Greet", instance, **{"Last-Event-ID": str(middle)}) == rest
    assert "[REDACTED]" in str(everything)
    assert [event for event in everything if event.get("output") == "Ada"] == []


async def test_no_filter_hides_the_end(driver: Driver, reader: Reader) -> None:
    instance = await driver.create("Fail")
    found = await reader.read("Fail", instance, "?filter=attempt_errored,step_started")

    assert [event["type"] for event in found] == ["step_started", "attempt_errored", "workflow_errored"]
    assert found[1]["error"]["message"] == "no card"


@pytest.mark.parametrize(
    ("query", "says"), [("?cursor=-1", "no eventId"), ("?filter=nonsense", "event types are workflow_queued")]
)
async def test_what_is_wrong_is_said_before_the_stream_begins(
    driver: Driver, reader: Reader, query: str, says: str
) -> None:
    instance = await driver.create("Doze")
    ((status, text),) = await reader.read("Doze", instance, query)
    ((missing, _),) = await reader.read("Doze", "nobody")

    assert (status, missing) == (400, 404)
    assert says in text


async def test_streams_end_when_the_collector_stops(
    driver: Driver, reader: Reader, collector: Collector
) -> None:
    instance = await driver.create("Doze")
    waiting = asyncio.Event()

    async def read() -> int:
        count = 0
        async for event in reader.follow("Doze", instance):
            count += 1
            if event["type"] == "workflow_waiting":
                waiting.set()
        return count

    task = asyncio.ensure_future(read())
    await asyncio.wait_for(waiting.wait(), 60)
    await collector.stop()

    assert await asyncio.wait_for(task, 60) > 3
    assert not collector.left_behind


async def test_a_failed_attempt_says_how_long_its_retry_waits(driver: Driver, reader: Reader) -> None:
    instance = await driver.create("Undo")
    await driver.until("Undo", instance, lambda found: len(found.steps) == 2)  # it waits for its retry, too
    await driver.instances.status.edit(
        instance,
        status="terminate",
        account_id="x",
        workflow_name="Undo",
        extra_body={"rollback": True},
    )
    found = await reader.read("Undo", instance)
    (failed,) = [event for event in found if event["type"] == "attempt_errored"]

    assert (failed["attempt"], failed["retryDelayMs"], failed["error"]["message"]) == (1, 20, "again")
    assert [event["type"] for event in found][-7:] == [
        "rollback_started",
        "rollback_step_started",
        "rollback_attempt_started",
        "rollback_attempt_completed",
        "rollback_step_completed",
        "rollback_completed",
        "workflow_terminated",
    ]


async def test_a_subscription_ends_when_its_instance_is_deleted(driver: Driver, reader: Reader) -> None:
    instance = await driver.create("Doze")
    found: list[str] = []
    async for event in reader.follow("Doze", instance):
        found.append(event["type"])
        if event["type"] == "workflow_waiting":
            await driver.client.delete(f"/accounts/x/workflows/Doze/instances/{instance}", cast_to=object)

    # The end is told where it is seen before it is published.
    assert found[-1] in {"workflow_waiting", "workflow_terminated"}
