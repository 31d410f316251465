"""The native API, against a running collector."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .conftest import Driver


class Native:
    """Asks the native API."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.root = f"{url}/api/v1/engine"
        self.session = session

    async def ask(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        """Return the status and the body of an answer."""
        async with self.session.request(method, f"{self.root}/{path}", json=body, **options) as answer:
            return answer.status, await answer.json() if answer.status != 204 else None

    async def post(self, path: str, **body: Any) -> Any:
        """Return the body of a change that is done."""
        status, found = await self.ask("POST", f"workflows/{path}", body)
        assert status in {200, 201}, found
        return found

    async def until(self, path: str, status: str) -> Any:
        """Wait until an instance has a status."""
        async with asyncio.timeout(60):
            while True:
                _, found = await self.ask("GET", f"workflows/{path}")
                if found["instance"]["status"] == status:
                    return found
                await asyncio.sleep(0.01)


@pytest.fixture
async def native(driver: Driver) -> AsyncIterator[Native]:
    async with aiohttp.ClientSession() as session:
        yield Native(driver.url, session)


async def test_an_instance_is_started_steered_and_deleted(native: Native) -> None:
    made = await native.post("Approve/instances", id="one", params={"a": 1})
    waiting = await native.until("Approve/instances/one", "waiting")
    paused = await native.post("Approve/instances/latest/pause")
    await native.post("Approve/instances/one/resume")
    await native.post("Approve/instances/one/events", type="approved", payload={"by": "Ada"})
    ended = await native.until("Approve/instances/one", "complete")
    await native.post("Approve/instances/one/restart", step="approval", type="wait_for_event")
    await native.until("Approve/instances/one", "waiting")
    skipped = await native.post("Approve/instances/one/skip", step="approval", output={"by": "Bob"})
    again = await native.until("Approve/instances/one", "complete")
    gone = await native.ask("DELETE", "workflows/Approve/instances/one")
    missing = await native.ask("GET", "workflows/Approve/instances/one")

    assert (made["instance"]["id"], made["instance"]["params"]) == ("one", {"a": 1})
    assert waiting["can"] == ["pause", "terminate", "restart", "skip", "events"]
    assert [(step["name"], step["state"]) for step in waiting["steps"]] == [
        ("fetch", "completed"),
        ("approval", "waiting"),
    ]
    assert paused["instance"]["status"] == "paused"
    assert paused["can"] == ["resume", "terminate", "restart", "skip", "events"]
    assert ended["instance"]["output"] == {"rows": 3, "by": "Ada"}
    assert ended["can"] == ["restart"]
    assert skipped["instance"]["id"] == "one"
    assert again["instance"]["output"] == {"rows": 3, "by": "Bob"}
    assert gone == (204, None)
    assert (missing[0], missing[1]["code"]) == (404, 10400)


async def test_an_approval_is_answered(native: Native) -> None:
    for name in ("yes", "no"):
        await native.post("Ask/instances", id=name)
        await native.until(f"Ask/instances/{name}", "waiting")
    await native.post("Ask/instances/yes/approve", metadata=7)
    await native.post("Ask/instances/no/reject", reason="too late")

    assert (await native.until("Ask/instances/yes", "complete"))["instance"]["output"] == 7
    assert "too late" in (await native.until("Ask/instances/no", "errored"))["instance"]["error"]["message"]


async def test_queues_and_lists_are_seen(native: Native) -> None:
    for number in range(3):
        await native.post("Doze/instances", id=f"d{number}")
        await native.until(f"Doze/instances/d{number}", "waiting")
    _, workflows = await native.ask("GET", "workflows")
    _, doze = await native.ask("GET", "workflows/Doze")
    _, page = await native.ask("GET", "workflows/Doze/instances?limit=2&status=waiting")
    _, rest = await native.ask("GET", f"workflows/Doze/instances?limit=2&cursor={page['next_cursor']}")
    _, health = await native.ask("GET", "health")

    assert [one["name"] for one in workflows["workflows"]] == [
        "Approve",
        "Ask",
        "Doze",
        "Fail",
        "Greet",
        "Undo",
    ]
    assert (doze["counts"], doze["queue"]["queued"], doze["queue"]["running"]) == ({"waiting": 3}, 0, 0)
    assert doze["queue"]["limit"] == doze["queue"]["account_limit"] == 50_000
    assert [one["id"] for one in page["instances"] + rest["instances"]] == ["d2", "d1", "d0"]
    assert (page["total"], rest["next_cursor"]) == (3, None)
    assert health["problem"] == ""
    assert health["transitions"] > 0


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("GET", "workflows/Nobody", None, 404, "no workflow is named 'Nobody'"),
        ("POST", "workflows/Doze/instances", {"id": "a b"}, 400, "instance id"),
        ("POST", "workflows/Doze/instances", {"parms": 1}, 400, "parms"),
        ("POST", "workflows/Doze/instances", {"retention": "soon"}, 400, "soon"),
        ("POST", "workflows/Doze/instances/nobody/pause", None, 404, "has no instance 'nobody'"),
        ("POST", "workflows/Doze/instances/nobody/skip", {"step": "nap"}, 404, "has no instance 'nobody'"),
        ("GET", "workflows/Doze/instances?limit=0", None, 400, "limit"),
        ("GET", "workflows/Doze/instances?cursor=x", None, 400, "cursor"),
    ],
)
async def test_what_is_wrong_is_a_problem_with_the_remedy(
    native: Native, method: str, path: str, body: Any, status: int, says: str
) -> None:
    found, problem = await native.ask(method, path, body)

    assert found == status
    assert says in problem["detail"]
    assert problem["status"] == status
    assert problem["code"] > 10_000


async def test_a_body_that_is_no_json_is_refused(native: Native) -> None:
    url = f"{native.root}/workflows/Doze/instances"
    async with native.session.post(url, data=b"{") as answer:
        assert answer.status == 400
        assert answer.content_type == "application/problem+json"
        assert "not JSON" in (await answer.json())["detail"]


async def test_pages_of_other_origins_start_nothing(native: Native) -> None:
    url = f"{native.root}/workflows/Doze/instances"
    async with native.session.post(url, json={}, headers={"Origin": "http://evil.example"}) as answer:
        assert answer.status == 403
    _, page = await native.ask("GET", "workflows/Doze/instances")
    assert page["instances"] == []
