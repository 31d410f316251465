"""How workflows and their steps go, and why runs fail."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from stagelight_collector.api.problem import Problem
from stagelight_collector.api.runs import Query, reply
from stagelight_collector.rooms import view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stagelight_collector.history import ErrorGroup, History, WorkflowStatistics


@dataclass(slots=True)
class StatisticsApi:
    """The routes that tell of many runs at once; they know what is in history."""

    history: History

    def routes(self) -> Sequence[web.AbstractRouteDef]:
        """Return the routes."""
        return [
            web.get("/api/v1/workflows/{name:[^/]+}", self.workflow),
            web.get("/api/v1/errors", self.errors),
        ]

    async def workflow(self, request: web.Request) -> web.Response:
        """Say how a workflow's runs and steps went."""
        query = Query(request)
        query.only("since")
        name = request.match_info["name"]
        found = await self.history.workflow(name, query.time("since") or 0)
        if found is None:
            raise Problem(
                404,
                f"History has no run of a workflow {name!r}.",
                "GET /api/v1/workflows lists the workflows.",
            )
        return reply({"workflow": statistics_view(found)})

    async def errors(self, request: web.Request) -> web.Response:
        """Say why runs failed, the most frequent reason first."""
        query = Query(request)
        query.only("workflow", "since", "limit")
        found = await self.history.errors(query.text("workflow"), query.time("since") or 0, query.limit())
        return reply({"errors": [error_view(item) for item in found]})


def statistics_view(found: WorkflowStatistics) -> dict[str, Any]:
    """Return statistics with their error rates: failed of those that completed or failed."""
    data = asdict(found)
    for item in (data, *data["steps"]):
        ended = item["completed"] + item["failed"]
        item["error_rate"] = item["failed"] / ended if ended else None
        item["duration_ms"] = item.pop("durations")
        item["baseline_ms"] = item.pop("baseline")
        for part in item["trend"]:
            part["start_ms"], part["p50_ms"] = view.ms(part.pop("start")), part.pop("p50")
    return data


def error_view(group: ErrorGroup) -> dict[str, Any]:
    """Return an error group."""
    data = asdict(group)
    first, last = data.pop("first"), data.pop("last")
    return {**data, "first_ms": view.ms(first), "last_ms": view.ms(last)}
