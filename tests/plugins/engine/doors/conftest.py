"""A running collector with workflows of a file, and the official client of the public API."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from cloudflare import AsyncCloudflare

from stagelight_collector.app import Collector
from stagelight_collector.config import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from cloudflare.types.workflows import InstanceGetResponse

ACCOUNT = "any"
FLOWS = '''
"""Workflows that the tests drive."""

from stagelight_plugins.engine import NonRetryableError, WorkflowEntrypoint


class Greet(WorkflowEntrypoint):
    schedules = ("0 9 * * 1-5",)

    async def run(self, event, step):
        name = await step.do("read name", lambda: event.payload["name"], sensitive="output")
        return await step.do("greet", lambda: f"Hello {name}")


class Approve(WorkflowEntrypoint):
    async def run(self, event, step):
        rows = await step.do("fetch", lambda: {"rows": 3})
        said = await step.wait_for_event("approval", event_type="approved", timeout="1 day")
        return {"rows": rows["rows"], "by": said.payload["by"]}


class Ask(WorkflowEntrypoint):
    async def run(self, event, step):
        return await step.wait_for_approval("let in", timeout="3 days")


class Fail(WorkflowEntrypoint):
    async def run(self, event, step):
        def charge():
            raise NonRetryableError("no card")

        return await step.do("charge", charge)


class Doze(WorkflowEntrypoint):
    async def run(self, event, step):
        await step.sleep("nap", "30 days")


class Undo(WorkflowEntrypoint):
    async def run(self, event, step):
        def book(ctx):
            if ctx.attempt == 1:
                raise ValueError("again")
            return "seat"

        await step.do("book", book, retries={"limit": 1, "delay": 20}, rollback=lambda: None)
        await step.wait_for_event("pay", event_type="pay", timeout="1 day")
'''


class Driver:
    """The official client, with an account."""

    def __init__(self, url: str, client: AsyncCloudflare) -> None:
        self.url = url
        self.workflows = client.workflows
        self.instances = client.workflows.instances
        self.client = client

    async def create(self, workflow: str, **options: Any) -> str:
        """Create an instance; return its id."""
        return (await self.instances.create(workflow, account_id=ACCOUNT, **options)).id

    async def get(self, workflow: str, instance: str) -> InstanceGetResponse:
        """Return an instance."""
        return await self.instances.get(instance, account_id=ACCOUNT, workflow_name=workflow)

    async def until(
        self, workflow: str, instance: str, wanted: str | Callable[[InstanceGetResponse], bool]
    ) -> InstanceGetResponse:
        """Wait until an instance has a status, or is as wanted."""
        async with asyncio.timeout(60):
            while True:
                found = await self.get(workflow, instance)
                if found.status == wanted if isinstance(wanted, str) else wanted(found):
                    return found
                await asyncio.sleep(0.01)


@pytest.fixture
async def collector(tmp_path: Path) -> AsyncIterator[Collector]:
    """A collector of its own for each test: the embedded history is open once in a process."""
    source = tmp_path / f"flows_{tmp_path.name}.py"
    source.write_text(FLOWS)
    plugins = {"engine": {"workflows": [str(source)]}}
    made = Settings.model_validate({"data_dir": tmp_path / "data", "port": 0, "plugins": plugins})
    async with Collector(made) as collector:
        yield collector


@pytest.fixture
async def driver(collector: Collector) -> AsyncIterator[Driver]:
    base = f"{collector.url}/client/v4"
    async with AsyncCloudflare(api_token=ACCOUNT, base_url=base, max_retries=0) as client:
        yield Driver(collector.url, client)
