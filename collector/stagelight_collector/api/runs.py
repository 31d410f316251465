"""Runs, their steps and events: from the rooms while they are in memory, else from history, in the same shape."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from stagelight.conventions import RunStatus, StepStatus
from stagelight_collector.api.problem import Problem
from stagelight_collector.encoding import encode
from stagelight_collector.history import RunFilter
from stagelight_collector.history.cursors import RunKey, encode as encode_cursor, run_key
from stagelight_collector.rooms import view

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stagelight_collector.history import History, RunRecord, WorkflowRecord
    from stagelight_collector.rooms.hub import Hub
    from stagelight_plugins.hookspecs import Page

PAGE: Final = 50
MAX_PAGE: Final = 500
MAX_ATTRIBUTES: Final = 8
MAX_SPANS: Final = 10_000
"""Attributes that a list may be filtered by at once."""


def reply(data: Any) -> web.Response:
    """Return data as JSON."""
    return web.Response(body=encode(data), content_type="application/json")


@dataclass(slots=True)
class RunsApi:
    """The routes below `/api/v1`."""

    hub: Hub
    history: History

    def routes(self) -> Sequence[web.AbstractRouteDef]:
        """Return the routes."""
        return [
            web.get("/api/v1/runs", self.list),
            web.get("/api/v1/runs/{id:[^/]+}", self.show),
            web.get("/api/v1/runs/{id:[^/]+}/events", self.events),
            web.get("/api/v1/runs/{id:[^/]+}/spans", self.spans),
            web.get("/api/v1/workflows", self.workflows),
        ]

    async def list(self, request: web.Request) -> web.Response:
        """List runs, newest first: what history has, each run that is in memory as it is now."""
        query = Query(request)
        query.only(*_FILTERS, "limit", "cursor")
        wanted = query.filter()
        page = await self.history.list_runs(wanted, query.cursor(), query.limit())
        runs = {record.id: record_view(record) for record in page.items}
        found = frozenset(runs)
        after = run_key(query.cursor() or "") if query.cursor() else None
        for run in self._in_memory():
            if run["id"] in runs or after is None or _key(run) < after:
                runs[run["id"]] = run
        ordered = sorted(
            (run for run in runs.values() if _passes(run, wanted, found)), key=_key, reverse=True
        )
        if page.cursor is not None:
            # What lies beyond this page of history may have company that only history knows.
            beyond = run_key(page.cursor)
            ordered = [run for run in ordered if _key(run) >= beyond]
        shown = ordered[: query.limit()]
        cursor = encode_cursor(_key(shown[-1])) if len(ordered) > len(shown) else page.cursor
        return reply({"runs": shown, "next_cursor": cursor})

    def _in_memory(self) -> Iterator[dict[str, Any]]:
        """Yield the runs of which memory knows all, as they are now, and what the lobby remembers of others."""
        rooms = self.hub.rooms
        yield from (room.summary() for room in rooms.values() if room.whole)
        yield from (run for run in self.hub.lobby.runs() if run["id"] not in rooms)

    async def show(self, request: web.Request) -> web.Response:
        """Return a run with its steps and log lines."""
        room = await self.hub.find(run_id(request))
        if room is None:
            raise unknown(request)
        return web.Response(body=room.snapshot(), content_type="application/json")

    async def events(self, request: web.Request) -> web.Response:
        """Return what happened in a run, in order of time."""
        query = Query(request)
        page = await self.history.run_events(run_id(request), limit=query.limit(), cursor=query.cursor())
        if not page.items and query.cursor() is None and run_id(request) not in self.hub.rooms:
            raise unknown(request)
        return reply({"events": [event.to_dict() for event in page.items], "next_cursor": page.cursor})

    async def spans(self, request: web.Request) -> web.Response:
        """Return the spans of the run's traces."""
        spans = await self.history.run_spans(run_id(request), limit=MAX_SPANS + 1)
        if not spans and await self.hub.find(run_id(request)) is None:
            raise unknown(request)
        return reply({"spans": spans[:MAX_SPANS], "truncated": len(spans) > MAX_SPANS})

    async def workflows(self, request: web.Request) -> web.Response:
        """List the workflows."""
        del request
        return reply({"workflows": [workflow_view(item) for item in await self.history.workflows()]})


def pages_routes(pages: Sequence[Page], grafana: str) -> Sequence[web.AbstractRouteDef]:
    """Return the route that says where the page can lead to: its navigation, and Grafana where there is one."""

    async def show(request: web.Request) -> web.Response:
        del request
        listed = [{"title": page.title, "href": page.href} for page in pages]
        return reply({"pages": listed, "grafana": grafana})

    return [web.get("/api/v1/pages", show)]


@dataclass(slots=True)
class Query:
    """The query of a request, checked."""

    request: web.Request

    def only(self, *names: str) -> None:
        """Refuse other parameters."""
        if unknown := sorted(set(self.request.query) - set(names)):
            raise Problem(400, f"There is no parameter {unknown[0]!r}.", f"Possible are {', '.join(names)}.")

    def text(self, name: str) -> str:
        """Return a text; empty where it is not given."""
        return self.request.query.get(name, "")

    def cursor(self) -> str | None:
        """Return where the page begins."""
        return self.text("cursor") or None

    def limit(self) -> int:
        """Return how many to answer with."""
        text = self.text("limit") or str(PAGE)
        if not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= MAX_PAGE:
            raise Problem(400, f"limit={text!r} is not a number from 1 to {MAX_PAGE}.")
        return int(text)

    def time(self, name: str) -> int | None:
        """Return a time in nanoseconds."""
        text = self.text(name)
        try:
            return int(float(text) * 1e6) if text else None
        except (ValueError, OverflowError) as error:
            raise Problem(400, f"{name}={text!r} is not a number of milliseconds.") from error

    def length(self, name: str) -> int | None:
        """Return a length of time in nanoseconds."""
        found = self.time(name)
        if found is not None and found < 0:
            raise Problem(400, f"{name}={self.text(name)!r} is not a length of time in milliseconds.")
        return found

    def attributes(self) -> tuple[tuple[str, str], ...]:
        """Return keys and values."""
        found = [text.partition("=") for text in self.request.query.getall("attribute", [])]
        for key, equals, value in found:
            if not (key and value):
                raise Problem(
                    400, f"attribute={key + equals + value!r} is not key=value.", "Neither may be empty."
                )
        if len(found) > MAX_ATTRIBUTES:
            raise Problem(400, f"There are more than {MAX_ATTRIBUTES} attributes.", "Leave some out.")
        return tuple([(key, value) for key, _, value in found])

    def filter(self) -> RunFilter:
        """Return which runs are asked for."""
        return RunFilter(
            workflow=self.text("workflow"),
            status=self.status(),
            service=self.text("service"),
            since=self.time("since"),
            until=self.time("until"),
            q=self.text("q"),
            error=self.text("error"),
            min_duration=self.length("min_duration_ms"),
            max_duration=self.length("max_duration_ms"),
            attributes=self.attributes(),
        )

    def status(self) -> RunStatus | None:
        """Return a status."""
        text = self.text("status")
        if text and text not in set(RunStatus):
            raise Problem(400, f"There is no status {text!r}.", f"One of {', '.join(RunStatus)} is possible.")
        return RunStatus(text) if text else None


_FILTERS: Final = (
    "workflow", "status", "service", "since", "until", "q", "error", "min_duration_ms", "max_duration_ms", "attribute",
)  # fmt: skip


def _key(run: dict[str, Any]) -> RunKey:
    return RunKey(round((run["started_ms"] or 0) * 1e6), run["id"])


def run_id(request: web.Request) -> str:
    """Return the run that the path names."""
    return request.match_info["id"]


def unknown(request: web.Request) -> Problem:
    """Return the problem that nobody knows the run."""
    return Problem(404, f"There is no run {run_id(request)!r}.", "GET /api/v1/runs lists the runs.")


def _passes(run: dict[str, Any], wanted: RunFilter, found: frozenset[str]) -> bool:
    """Whether a run passes as memory knows it; history, where it found the run, knows more of its attributes."""
    return matches(run, replace(wanted, attributes=()) if run["id"] in found else wanted)


def matches(run: dict[str, Any], wanted: RunFilter) -> bool:
    """Whether a run in memory passes a filter."""
    started = (run["started_ms"] or 0) * 1e6
    error, lasted = run["error"] or {"type": "", "message": ""}, run["duration_ms"]
    message = error["message"]
    text = f"{run['id']} {run['workflow']} {message}".lower()
    return (
        (not wanted.workflow or run["workflow"] == wanted.workflow)
        and (not wanted.status or run["status"] == wanted.status)
        and (not wanted.service or run["service"] == wanted.service)
        and (wanted.since is None or started >= wanted.since)
        and (wanted.until is None or started < wanted.until)
        and (not wanted.q or wanted.q.lower() in text)
        and (not wanted.error or wanted.error.lower() in f"{error['type']}: {message}".lower())
        and (wanted.min_duration is None or (lasted is not None and lasted * 1e6 >= wanted.min_duration))
        and (wanted.max_duration is None or (lasted is not None and lasted * 1e6 <= wanted.max_duration))
        and all(_text(run["attributes"].get(key)) == value for key, value in wanted.attributes)
    )


def _text(value: object) -> str:
    """Return an attribute's value as history writes it."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def record_view(record: RunRecord) -> dict[str, Any]:
    """Return a run that only history knows, in the shape of one in memory."""
    counts = {status.value: record.steps.get(status, 0) for status in StepStatus}
    ended = record.ended
    return {
        "id": record.id,
        "workflow": record.workflow,
        "service": record.service,
        "status": record.status.value,
        "started_ms": view.ms(record.started),
        "ended_ms": view.ms(ended),
        "duration_ms": None if ended is None else max(0, ended - record.started) / 1e6,
        "last_event_ms": view.ms(record.last_event),
        "error": record.error.to_dict() if record.error else None,
        "parent_run_id": record.parent_run_id,
        "parent_step_id": record.parent_step_id,
        "trace_ids": list(record.trace_ids),
        "attributes": {},
        "dropped_by_agent": 0,
        "progress": None,
        "running_step": "",
        "steps": {"total": sum(counts.values()), **counts},
    }


def workflow_view(record: WorkflowRecord) -> dict[str, Any]:
    """Return a workflow."""
    return {
        "name": record.name,
        "runs": record.runs,
        "running": record.running,
        "failed": record.failed,
        "last_started_ms": view.ms(record.last_started),
    }
