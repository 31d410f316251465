"""Three collectors on one NATS: who watches at one sees what arrives at the others, whatever is killed meanwhile."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest

from .processes import PATIENCE_SECONDS, CollectorProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PAUSE_SECONDS: Final = 0.03
"""Between two lines of a sender: on a slow machine the viewer who comes back would be too far behind for all of it, and start anew."""

pytestmark = [pytest.mark.crash, pytest.mark.timeout(240)]

RUN: Final = "shared"


class Sender:
    """An app that sends one line after the other to one collector, each until it is acknowledged."""

    def __init__(self, session: aiohttp.ClientSession, collector: CollectorProcess, name: str) -> None:
        self.session = session
        self.collector = collector
        self.name = name
        self.acknowledged = 0
        self.stopping = False
        self.news = asyncio.Condition()

    async def run(self) -> None:
        while not self.stopping:
            await asyncio.sleep(PAUSE_SECONDS)
            await self.send("", f"{self.name} {self.acknowledged}")
            async with self.news:
                self.acknowledged += 1
                self.news.notify_all()

    async def until(self, count: int) -> None:
        """Wait until so many lines were acknowledged."""
        async with self.news:
            await self.news.wait_for(lambda: self.acknowledged >= count)

    async def send(self, event: str, text: str) -> None:
        record = {
            "timeUnixNano": str(time.time_ns()),
            "eventName": event,
            "body": {"stringValue": text},
            "attributes": [
                {"key": key, "value": {"stringValue": value}}
                for key, value in (("workflow.run.id", RUN), ("workflow.name", "crowd"))
            ],
        }
        body = {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}
        while True:
            with suppress(aiohttp.ClientError, TimeoutError):
                url = f"{self.collector.url}/v1/logs"
                async with self.session.post(url, json=body, timeout=aiohttp.ClientTimeout(10)) as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.05)


class Viewer:
    """Reads the run's room at one collector, and writes down what it is told."""

    def __init__(self, session: aiohttp.ClientSession, collector: CollectorProcess) -> None:
        self.session = session
        self.collector = collector
        self.told: list[tuple[str, str, str]] = []
        """Id, type, and the text of a line."""
        self.first: list[str] = []
        """The lines of the first snapshot."""
        self.news = asyncio.Condition()

    async def run(self, last_id: str = "") -> None:
        headers = {"Last-Event-ID": last_id} if last_id else {}
        url = f"{self.collector.url}/api/v1/runs/{RUN}/feed"
        async with self.session.get(url, headers=headers) as response:
            assert response.status == 200
            async for id_, kind, data in messages(response):
                if kind == "snapshot" and not self.told:
                    self.first = [line["message"] for line in data["logs"]]
                async with self.news:
                    line: Any = data.get("log") or {}
                    self.told.append((id_, kind, line.get("message", "")))
                    self.news.notify_all()

    @property
    def lines(self) -> list[str]:
        return self.first + [text for _, kind, text in self.told if kind == "log"]

    def of(self, name: str) -> list[int]:
        """Return the numbers of a sender's lines as they were told."""
        return [int(line.split()[1]) for line in self.lines if line.startswith(name)]

    async def until(self, **counts: int) -> None:
        """Wait until so many lines of each sender were told."""
        async with asyncio.timeout(PATIENCE_SECONDS), self.news:
            await self.news.wait_for(lambda: all(len(self.of(name)) >= n for name, n in counts.items()))

    async def count(self, number: int) -> None:
        """Wait until so much was told."""
        async with asyncio.timeout(PATIENCE_SECONDS), self.news:
            await self.news.wait_for(lambda: len(self.told) >= number)

    async def settled(self) -> str:
        """Return an id after which any collector can go on."""
        async with asyncio.timeout(PATIENCE_SECONDS), self.news:
            await self.news.wait_for(lambda: "!" not in self.told[-1][0])
            return self.told[-1][0]


async def messages(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, str, dict[str, Any]]]:
    fields: dict[str, str] = {}
    async for raw in response.content:
        line = raw.decode().rstrip("\n")
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield fields.get("id", ""), fields["event"], json.loads(fields["data"])
            fields = {}


async def eventually(session: aiohttp.ClientSession, url: str, text: str) -> None:
    """Wait until an address answers with a text."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            async with session.get(url) as response:
                if response.status == 200 and text in await response.text():
                    return
            await asyncio.sleep(0.05)


async def test_a_viewer_sees_everything_in_order_whatever_is_killed(
    nats_server: Any, tmp_path_factory: pytest.TempPathFactory, session: aiohttp.ClientSession
) -> None:
    async with AsyncExitStack() as stack:
        a, b, c = (
            CollectorProcess(
                tmp_path_factory.mktemp("collector"), environment={"STAGELIGHT_BUS": nats_server.url}
            )
            for _ in "abc"
        )
        for each in (a, b, c):
            stack.push_async_callback(each.kill)
        await asyncio.gather(*(each.start() for each in (a, b, c)))
        senders = [Sender(session, b, "B"), Sender(session, c, "C")]
        await senders[0].send("workflow.run_started", "")
        await eventually(session, f"{a.url}/api/v1/runs/{RUN}", RUN)
        viewer = Viewer(session, a)
        watching = asyncio.create_task(viewer.run())
        sending = [asyncio.create_task(sender.run()) for sender in senders]
        stack.callback(watching.cancel)
        await viewer.until(B=10, C=10)

        await b.kill()
        await viewer.until(C=len(viewer.of("C")) + 10)  # the others go on
        await b.start()
        await viewer.until(B=len(viewer.of("B")) + 10)  # and it goes on, too
        settled = await viewer.settled()

        await nats_server.kill()
        await eventually(session, f"{a.url}/healthz", "is away")
        before = [sender.acknowledged for sender in senders]
        async with asyncio.timeout(PATIENCE_SECONDS):
            for sender, count in zip(senders, before, strict=True):
                await sender.until(count + 10)  # what arrives is still acknowledged
        await nats_server.start()
        await viewer.until(B=before[0] + 10, C=before[1] + 10)
        await eventually(session, f"{a.url}/healthz", '"ok"')

        for sender in senders:
            sender.stopping = True
        await asyncio.gather(*sending)
        await viewer.until(B=senders[0].acknowledged, C=senders[1].acknowledged)

        assert viewer.of("B") == list(range(senders[0].acknowledged))
        assert viewer.of("C") == list(range(senders[1].acknowledged))
        assert Counter(kind for _, kind, _ in viewer.told if kind != "log") == {"snapshot": 1}

        # Another collector goes on from the first one's id: with all that came after it, and nothing else.
        ids = [id_ for id_, _, _ in viewer.told]
        rest = viewer.told[ids.index(settled) + 1 :]
        for other in (c, b):
            again = Viewer(session, other)
            returning = asyncio.create_task(again.run(settled))
            stack.callback(returning.cancel)
            await again.count(len(rest))
            assert [told[1:] for told in again.told] == [told[1:] for told in rest]
            assert [number(id_) for id_, _, _ in again.told] == [number(id_) for id_, _, _ in rest]


def number(id_: str) -> int:
    """Return what is the same at every collector."""
    return int(id_.rpartition("-")[2])
