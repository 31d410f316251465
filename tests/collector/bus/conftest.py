"""Buses of both kinds, and who listens to them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from nats.aio.client import Client

from stagelight.conventions import EventType
from stagelight.events import Event
from stagelight_collector.bus.address import address_of, open_bus
from stagelight_collector.bus.memory import MemoryBus
from stagelight_plugins.hookspecs import Batch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from stagelight_collector.bus.contract import Bus

PATIENCE_SECONDS = 60


class Ear:
    """Writes down what a bus tells."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, int]] = []
        self.heard: list[tuple[int, str]] = []
        self.torn: list[int] = []
        """How much was heard when a gap was told."""
        self.doubts = 0
        self.forgotten: list[str] = []
        self._news = asyncio.Condition()

    def begin(self, epoch: str, number: int) -> None:
        self.begun.append((epoch, number))
        self._tell()

    def take(self, event: Event, seq: int = 0, number: int = 0) -> None:
        del seq
        self.heard.append((number, event.message))
        self._tell()

    def tear(self) -> None:
        self.torn.append(len(self.heard))
        self._tell()

    def doubt(self) -> None:
        self.doubts += 1
        self._tell()

    def forget(self, run_id: str) -> None:
        self.forgotten.append(run_id)
        self._tell()

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.heard]

    @property
    def numbers(self) -> list[int]:
        return [number for number, _ in self.heard]

    def _tell(self) -> None:
        async def wake() -> None:
            async with self._news:
                self._news.notify_all()

        self._waking = asyncio.ensure_future(wake())

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something holds of what was heard."""
        async with asyncio.timeout(PATIENCE_SECONDS), self._news:
            await self._news.wait_for(condition)

    async def count(self, number: int) -> None:
        """Wait until so many events were heard."""
        await self.until(lambda: len(self.heard) >= number)


class House(Protocol):
    """Where buses of one kind come from."""

    async def bus(self) -> Bus:
        """Return a bus that all others of this house share."""
        ...

    async def trim(self, number: int) -> None:
        """Forget the events up to a number."""
        ...


class MemoryHouse:
    """One bus in memory."""

    def __init__(self) -> None:
        self._bus = MemoryBus("m", capacity=10)

    async def bus(self) -> Bus:
        return self._bus

    async def trim(self, number: int) -> None:
        self._bus.capacity = 10 - number
        await self._bus.publish(Batch(seq=0, events=events("latest")))
        self._bus.capacity = 10


class NatsHouse:
    """Buses on one NATS server."""

    def __init__(self, stack: AsyncExitStack, url: str) -> None:
        self._stack = stack
        self.url = url

    async def bus(self, kept: Callable[[], int] = lambda: 2**63) -> Any:
        """Return a bus of its own on the server."""
        bus = await open_bus(self.url, name=f"t{id(object())}", kept=kept)
        self._stack.push_async_callback(bus.close)
        return bus

    async def stream(self) -> Any:
        """Return the client's view of JetStream, past our code."""
        client: Any = Client()
        await client.connect(self.url)
        self._stack.push_async_callback(client.close)
        return client.jetstream()

    async def trim(self, number: int) -> None:
        stream = await self.stream()
        await stream.purge_stream(address_of(self.url).stream, seq=number + 1)
        await (await self.bus()).publish(Batch(seq=0, events=events("latest")))


@pytest.fixture
async def nats_house(nats_server: Any) -> AsyncIterator[NatsHouse]:
    async with AsyncExitStack() as stack:
        yield NatsHouse(stack, nats_server.url)


@pytest.fixture(params=["memory", "nats"])
def house(request: pytest.FixtureRequest) -> House:
    """Either kind."""
    if request.param == "memory":
        return MemoryHouse()
    found: House = request.getfixturevalue("nats_house")
    return found


def events(*texts: str, run_id: str = "r", time: int = 1) -> list[Event]:
    """Return log lines of a run."""
    return [Event(type=EventType.LOG, run_id=run_id, time=time, message=text) for text in texts]
