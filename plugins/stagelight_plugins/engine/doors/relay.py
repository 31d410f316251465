"""The relay: what is asked of the collector for workflows that run in a worker is handed on to that worker.

Workers say every few seconds where they are; one that has gone silent is forgotten. Only loopback is believed.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from yarl import URL

from stagelight_plugins.engine.doors import bodies
from stagelight_plugins.engine.doors.envelope import INVALID, Refused, refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

WORKERS: Final = "/api/v1/engine/workers"
EVERY_SECONDS: Final = 5.0
"""How often a worker says where it is."""
SILENT_SECONDS: Final = 16.0
"""After so long without a word a worker is forgotten."""
MOST: Final = 100
"""Workers that are known at once."""
SECONDS: Final = 30.0
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_HANDED_ON: Final = ("Content-Type", "Retry-After")


class Announcement(BaseModel):
    """What a worker says of itself."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(max_length=200)
    workflows: list[Annotated[str, Field(max_length=64)]] = Field(max_length=1_000)


_ANNOUNCEMENT: Final = TypeAdapter(Announcement)


@dataclass(slots=True)
class _Known:
    workflows: frozenset[str]
    heard: float


@dataclass(slots=True, eq=False)
class Relay:
    """Knows the workers of a collector."""

    steady: Callable[[], float] = time.monotonic
    knows: Callable[[str], bool] = bool
    """Whether a workflow runs here."""
    _known: dict[str, _Known] = field(default_factory=dict[str, _Known])
    _streams: set[asyncio.Task[Any]] = field(default_factory=set["asyncio.Task[Any]"])

    async def start(self) -> None:
        """Nothing to do: workers come by themselves."""

    async def stop(self) -> None:
        """End the streams that are handed on, so that the port can be closed."""
        for task in list(self._streams):
            task.cancel()

    def routes(self) -> Sequence[web.AbstractRouteDef]:
        """Return the route at which workers say where they are."""
        return [web.post(WORKERS, self._hear)]

    def urls(self) -> list[str]:
        """Return where the workers are that were heard of lately."""
        now = self.steady()
        self._known = {url: one for url, one in self._known.items() if now - one.heard < SILENT_SECONDS}
        return list(self._known)

    def of(self, workflow: str) -> str:
        """Return where a workflow runs; empty where no worker has it."""
        return next((url for url in self.urls() if workflow in self._known[url].workflows), "")

    async def _hear(self, request: web.Request) -> web.Response:
        try:
            said = await bodies.body_of(request, _ANNOUNCEMENT)
            self._take(said)
        except Refused as error:
            return refused(error.status, error.code, str(error))
        return web.json_response({"every_s": EVERY_SECONDS})

    def _take(self, said: Announcement) -> None:
        parts = urlsplit(said.url)
        if parts.scheme != "http" or parts.hostname not in _LOOPBACK or parts.path.strip("/") or parts.query:
            raise Refused(
                400, INVALID, f"url: {said.url!r} is no address of this machine, as in http://127.0.0.1:8787"
            )
        if said.url not in self.urls() and len(self._known) >= MOST:
            raise Refused(429, 10429, f"{MOST} workers are known already; stop some")
        self._known[said.url] = _Known(frozenset(said.workflows), self.steady())

    # --- handing on -----------------------------------------------------------------------------------------------

    def wrap(
        self, answer: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Return a handler that hands on requests for workflows which are not known here, but to a worker."""

        async def handle(request: web.Request) -> web.StreamResponse:
            workflow = request.match_info.get("workflow", "")
            url = self.of(workflow) if workflow and not self.knows(workflow) else ""
            return await self._hand_on(request, url) if url else await answer(request)

        return handle

    async def _hand_on(self, request: web.Request, url: str) -> web.StreamResponse:
        """Answer with what a worker answers; a stream is told while it comes."""
        body = await request.read()
        headers = {
            name: request.headers[name]
            for name in ("Content-Type", "Last-Event-ID")
            if name in request.headers
        }
        timeout = aiohttp.ClientTimeout(connect=SECONDS, sock_read=SECONDS)
        asked = URL(f"{url}{request.raw_path}", encoded=True)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(request.method, asked, data=body, headers=headers) as found,
            ):
                given = {name: found.headers[name] for name in _HANDED_ON if name in found.headers}
                if found.content_type == "text/event-stream":
                    return await self._tell(request, found, given)
                return web.Response(status=found.status, body=await found.read(), headers=given)
        except (aiohttp.ClientError, OSError, TimeoutError):
            return refused(503, 10503, f"the worker at {url} does not answer; look whether it runs")

    async def _tell(
        self, request: web.Request, found: aiohttp.ClientResponse, headers: dict[str, str]
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=found.status, headers=headers)
        await response.prepare(request)
        task = asyncio.current_task()
        if task is not None:
            self._streams.add(task)
            task.add_done_callback(self._streams.discard)
        async for part in found.content.iter_any():
            await response.write(part)
        return response

    async def workflows(self, path: str, key: str) -> list[dict[str, Any]]:
        """Return the workflows of all workers that do not run here, as `key` has them in the answer at a path."""
        found = await asyncio.gather(*(_listed(url, path, key) for url in self.urls()))
        return [one for listed in found for one in listed if not self.knows(one["name"])]


async def _listed(url: str, path: str, key: str) -> list[dict[str, Any]]:
    """Return a worker's workflows; none where it does not answer."""
    timeout = aiohttp.ClientTimeout(total=2.0)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"{url}{path}") as found:
            listed: list[dict[str, Any]] = (await found.json())[key]
            return [{**one, "worker": url} for one in listed]
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError):
        return []
