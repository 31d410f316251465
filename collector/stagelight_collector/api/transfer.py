"""One run as a file, out of history and into it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from aiohttp import web

from stagelight_collector import runfile
from stagelight_collector.api.problem import Problem
from stagelight_collector.api.runs import reply, run_id, unknown
from stagelight_collector.archive import ArchiveStopped
from stagelight_collector.history import HistoryError, RunTooLarge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stagelight_collector.pipeline import Pipeline

BODY_SECONDS: Final = 120.0
"""How long a file may take to arrive."""
HANDING_SECONDS: Final = 10.0
"""How long an export waits for history to take what was received of the run."""


@dataclass(slots=True)
class TransferApi:
    """The routes for a run's file. One file at a time, so that memory is bounded."""

    pipeline: Pipeline
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def routes(self) -> Sequence[web.AbstractRouteDef]:
        """Return the routes."""
        return [
            web.get("/api/v1/runs/{id:[^/]+}/export", self.export),
            web.post("/api/v1/runs/import", self.take),
        ]

    async def export(self, request: web.Request) -> web.Response:
        """Return a run as a file, as far as it has come."""
        self._free()
        async with self._turn:
            await self._hand_over()
            try:
                batch = await self.pipeline.archive.history.run_batch(run_id(request), runfile.MAX_LINES)
            except RunTooLarge as error:
                raise _too_large(f"{error}.") from error
            if not batch.events:
                raise unknown(request)
            data = await asyncio.to_thread(lambda: "".join(runfile.write(run_id(request), batch)).encode())
        if len(data) > runfile.MAX_BYTES:
            raise _too_large(f"The run's file would have {len(data)} bytes, more than {runfile.MAX_BYTES}.")
        return web.Response(body=data, content_type="application/x-ndjson", charset="utf-8")

    async def take(self, request: web.Request) -> web.Response:
        """Take a run's file; answer when history has it."""
        self._free()
        async with self._turn:
            data = await _body(request)
            try:
                header, batch = await asyncio.to_thread(runfile.read, data)
            except runfile.NotARun as error:
                raise Problem(400, f"This is not the file of a run: {error}.") from error
            if self.pipeline.archive.problem:
                raise Problem(503, f"{self.pipeline.archive.problem}.", "Try again.", retry_after=5)
            await self._hand_over()
            try:
                await self.pipeline.restore(batch)
            except HistoryError as error:
                raise Problem(400, f"History refuses this run: {error}.") from error
            except ArchiveStopped as error:
                raise Problem(503, f"{error}.", retry_after=5) from error
        return reply({"run": header.run, "events": header.events, "spans": header.spans, "logs": header.logs})

    def _free(self) -> None:
        if self._turn.locked():
            raise Problem(503, "Another run is being exported or imported.", "Try again.", retry_after=1)

    async def _hand_over(self) -> None:
        """Have everything that was received in history, which is asked for what it has of the run."""
        try:
            async with asyncio.timeout(HANDING_SECONDS):
                await self.pipeline.drain()
                await self.pipeline.archive.drain()
        except TimeoutError as error:
            raise Problem(
                503, "History has not taken yet what was received.", "Try again.", retry_after=5
            ) from error


async def _body(request: web.Request) -> bytes:
    parts = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.content.iter_any():
                parts += part
                if len(parts) > runfile.MAX_BYTES:
                    raise _too_large(f"The file has more than {runfile.MAX_BYTES} bytes.")
    except TimeoutError as error:
        raise Problem(408, f"The file did not arrive within {BODY_SECONDS:g} s.") from error
    return bytes(parts)


def _too_large(detail: str) -> Problem:
    return Problem(413, detail, "Read the run with /events and /spans, page by page.")
