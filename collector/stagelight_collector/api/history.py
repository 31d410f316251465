"""How large history is, what it drops, and the deletion of a run."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from stagelight_collector.api.problem import Problem
from stagelight_collector.api.runs import reply, run_id, unknown
from stagelight_collector.rooms import view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stagelight_collector.archive import Archive
    from stagelight_collector.bus.contract import Bus
    from stagelight_collector.history import HistoryStatus
    from stagelight_collector.retention import Keeper
    from stagelight_collector.rooms.hub import Hub

HANDING_SECONDS: Final = 10.0
"""How long a deletion waits for history to take what was received of the run."""


@dataclass(slots=True)
class HistoryApi:
    """The routes that are about what is kept."""

    hub: Hub
    bus: Bus
    archive: Archive
    keeper: Keeper

    def routes(self) -> Sequence[web.AbstractRouteDef]:
        """Return the routes."""
        return [
            web.get("/api/v1/history", self.status),
            web.post("/api/v1/history/prune", self.prune),
            web.delete("/api/v1/runs/{id:[^/]+}", self.delete),
        ]

    async def status(self, request: web.Request) -> web.Response:
        """Say how large history is and how long it is kept."""
        del request
        return reply(self._status_view(await self.archive.history.status()))

    async def prune(self, request: web.Request) -> web.Response:
        """Drop what is older than it is kept, now."""
        found = await self.keeper.prune(dry_run=_flag(request, "dry_run"))
        rows, size = sum(item.rows for item in found.dropped), sum(item.bytes for item in found.dropped)
        dropped = [asdict(item) for item in found.dropped]
        return reply({"dropped": dropped, "rows": rows, "bytes": size, "runs": found.runs})

    async def delete(self, request: web.Request) -> web.Response:
        """Delete a run and all that belongs to it."""
        force = _flag(request, "force")
        room = await self.hub.find(run_id(request))
        if room is not None and room.run.final is None and not force:
            raise Problem(
                409,
                f"The run {run_id(request)!r} has not ended.",
                "What it still sends would make it appear again; add force=1 if nothing more will come.",
            )
        await self._hand_over()
        known = await self.archive.history.delete_run(run_id(request))
        if not known and room is None:
            raise unknown(request)
        await self.bus.forget(run_id(request))
        return reply({"run": run_id(request), "deleted": True})

    async def _hand_over(self) -> None:
        """Have everything that was received in history, so that nothing of the run comes after."""
        try:
            async with asyncio.timeout(HANDING_SECONDS):
                await self.archive.drain()
        except TimeoutError as error:
            raise Problem(
                503, "History has not taken yet what was received.", "Try again.", retry_after=5
            ) from error

    def _status_view(self, status: HistoryStatus) -> dict[str, Any]:
        return {
            "engine": status.engine,
            "rows": status.rows,
            "bytes": status.bytes,
            "parts": status.parts,
            "oldest_ms": view.ms(status.oldest),
            "tables": [
                {
                    "name": table.name,
                    "rows": table.rows,
                    "bytes": table.bytes,
                    "parts": table.parts,
                    "oldest_ms": view.ms(table.oldest),
                }
                for table in status.tables
            ],
            "retention_days": asdict(self.keeper.keep),
            "pruned_ms": view.ms(self.keeper.pruned),
            "problem": self.keeper.problem,
        }


def _flag(request: web.Request, name: str) -> bool:
    if unknown_names := sorted(set(request.query) - {name}):
        raise Problem(400, f"There is no parameter {unknown_names[0]!r}.", f"Possible is {name}.")
    text = request.query.get(name, "0")
    if text not in {"0", "1"}:
        raise Problem(400, f"{name}={text!r} is neither 0 nor 1.")
    return text == "1"
