"""A desk whose clock the test moves, and receivers that are real servers on loopback."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from stagelight.conventions import EventType
from stagelight.events import Event, Failure
from stagelight_plugins.alerting.desk import Desk
from stagelight_plugins.alerting.settings import read
from stagelight_plugins.alerting.state.store import Saved

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from stagelight_plugins.alerting.delivery.delivery import Delivery

START = 1_764_000_000.0
_NS = 1_000_000_000


def event(kind: EventType, run: str, at: float, **more: Any) -> Event:
    """Return an event, received when it happened."""
    given: dict[str, Any] = {"workflow": "etl", **more}
    return Event(type=kind, run_id=run, time=int(at * _NS), received=int(at * _NS), **given)


@dataclass
class World:
    """A desk and its clock. What it sends is kept, and nothing waits."""

    desk: Desk
    now: float = START
    sent: list[Delivery] = field(default_factory=list["Delivery"])
    _runs: int = 0

    def pass_(self, seconds: float, step: float = 1.0) -> list[Delivery]:
        """Let time pass, turn by turn; return what was sent meanwhile."""
        before, end = len(self.sent), self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + step)
            self.sent += self.desk.turn(self.now)
        return self.sent[before:]

    def tell(self, kind: EventType, run: str, **more: Any) -> None:
        """Have an event happen now."""
        self.desk.take([event(kind, run, self.now, **more)], self.now)

    def fail(self, run: str = "", workflow: str = "etl", message: str = "no rows") -> str:
        """Have a run fail now; return its id."""
        self._runs += 1
        run = run or f"run-{self._runs}"
        self.tell(EventType.RUN_STARTED, run, workflow=workflow)
        error = Failure(type="ValueError", message=message)
        self.tell(EventType.RUN_FAILED, run, workflow=workflow, error=error)
        return run

    def succeed(self, workflow: str = "etl", lasts: float = 0.0) -> None:
        """Have a run complete."""
        self._runs += 1
        self.tell(EventType.RUN_STARTED, f"run-{self._runs}", workflow=workflow)
        self.pass_(lasts)
        self.tell(EventType.RUN_COMPLETED, f"run-{self._runs}", workflow=workflow)

    @property
    def titles(self) -> list[str]:
        """What was said."""
        return [delivery.notification.title for delivery in self.sent]

    @property
    def firing(self) -> set[str]:
        """The rules whose alerts fire."""
        return {self.desk.book.alerts[each].rule for each in self.desk.book.firing}


def world(table: dict[str, Any] | None = None, saved: Saved | None = None, now: float = START) -> World:
    """Return a desk with settings."""
    desk = Desk(
        read({"webhook": "https://example.com/hook", **(table or {})}), "http://127.0.0.1:4318", settle=0
    )
    desk.restore(saved or Saved([], [], [], [], {}), now)
    return World(desk, now)


@dataclass
class Heard:
    """A request that a receiver got."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """A real server. What it answers is up to the test: a status, or a function of the request."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.answers: deque[int | Callable[[web.Request], Any]] = deque()
        self.url = ""
        self._news = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=1 << 24)
        app.add_routes([web.route("*", "/{path:.*}", self._answer)])
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def until(self, count: int, seconds: float = 60.0) -> list[Heard]:
        """Return what was heard when so many requests have come."""
        async with asyncio.timeout(seconds):
            while len(self.heard) < count:
                self._news.clear()
                await self._news.wait()
        return self.heard

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.heard.append(Heard(request.path, dict(request.headers), await request.read()))
        self._news.set()
        answer = self.answers.popleft() if self.answers else 200
        if isinstance(answer, int):
            return web.Response(status=answer)
        response: web.StreamResponse = await answer(request)
        return response


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """One receiver."""
    receiver = Receiver()
    await receiver.start()
    yield receiver
    await receiver.stop()
