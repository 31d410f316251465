"""A collector that says what a test tells it to, over real sockets and in the documented shapes."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from stagelight_dashboards import static_files

if TYPE_CHECKING:
    from collections.abc import Awaitable

Json = dict[str, Any]

CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types svelte-trusted-html"
)
ENDED: Final = frozenset({"completed", "failed", "terminated", "skipped"})


def now_ms() -> float:
    """Return the time as the API tells it."""
    return time.time() * 1000


@dataclass
class Run:
    """One run and everything in it, as a snapshot holds it."""

    state: Json
    steps: dict[str, Json] = field(default_factory=dict[str, Json])
    logs: list[Json] = field(default_factory=list[Json])
    truncated: Json = field(default_factory=lambda: {"steps": 0, "logs": 0})

    def snapshot(self) -> Json:
        """Return the `Snapshot`, with the counts of steps brought up to date."""
        self.count()
        steps = list(self.steps.values())
        return {"run": self.state, "steps": steps, "logs": self.logs, "truncated": self.truncated}

    def count(self) -> None:
        """Bring the run's counts of steps up to date."""
        counts = dict.fromkeys(("pending", "running", "waiting", "completed", "failed", "skipped"), 0)
        for step in self.steps.values():
            counts[step["status"]] += 1
        self.state["steps"] = {"total": len(self.steps), **counts}


class FakeCollector:
    """Serves the page, the API and the feed; `put_run`, `put_step` and `log` are what a test speaks with."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.older: list[Json] = []
        self.diagrams: dict[str, Json] = {}
        """By workflow: the answer to the question for its diagram."""
        self.sources: dict[str, Json] = {}
        self.pages: list[Json] = []
        """What `GET /api/v1/pages` lists."""
        self.grafana = ""
        """Where Grafana is, as `GET /api/v1/pages` says."""
        self.prefix = "/"
        self.feeds_opened = 0
        self.feeds_open = 0
        self._epoch = 0
        self._messages: list[tuple[str, str, Json]] = []
        self._changed = asyncio.Event()
        self._cut = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://127.0.0.1:{self.port}{self.prefix}"

    async def start(self, port: int = 0) -> None:
        """Listen; after a `stop`, on the same port and as another life of the collector."""
        self._epoch += 1
        self._messages = []
        self._cut = asyncio.Event()
        app = web.Application()
        app.router.add_get(f"{self.prefix}api/v1/feed", self._feed)
        app.router.add_get(f"{self.prefix}api/v1/runs/{{id}}/feed", self._feed)
        app.router.add_get(f"{self.prefix}api/v1/runs", self._list)
        app.router.add_get(f"{self.prefix}api/v1/workflows/{{name}}/diagram", self._diagram)
        app.router.add_get(f"{self.prefix}api/v1/workflows/{{name}}/source", self._source)
        app.router.add_get(f"{self.prefix}api/v1/pages", self._pages)
        app.router.add_get(f"{self.prefix}{{path:.*}}", self._static)
        app.on_response_prepare.append(_secure)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.2, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port or self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Cut every stream and stop listening."""
        self._cut.set()
        if self._runner is not None:
            await self._runner.cleanup()
        self._runner = None

    def put_run(self, run_id: str, **changes: Any) -> Json:
        """Create or change a run and tell everybody."""
        run = self.runs.setdefault(run_id, Run(_new_run(run_id)))
        run.state.update(changes, last_event_ms=now_ms())
        run.count()
        self._tell(run_id, f"run_{run.state['status']}")
        return run.state

    def put_step(self, run_id: str, step_id: str, **changes: Any) -> Json:
        """Create or change a step and tell everybody."""
        run = self.runs[run_id]
        step = run.steps.setdefault(step_id, _new_step(step_id))
        step.update(changes)
        run.count()
        self._tell(run_id, "step_started", step=step)
        return step

    def log(
        self, run_id: str, message: str, *, step_id: str = "", severity: str = "INFO", **attributes: Any
    ) -> None:
        """Add a log line and tell everybody."""
        line: Json = {"time_ms": now_ms(), "step_id": step_id, "severity": severity, "message": message}
        line["attributes"] = attributes
        self.runs[run_id].logs.append(line)
        self._tell(run_id, "log", log=line)

    def fall_silent(self, run_id: str, seconds: float) -> None:
        """Let the run have been heard of last so long ago, as whoever opens a page now is told."""
        state = self.runs[run_id].state
        state.update(started_ms=now_ms() - (seconds + 30) * 1000, last_event_ms=now_ms() - seconds * 1000)

    def let_go(self, run_id: str) -> None:
        """Take the run out of the lobby's memory and tell everybody."""
        del self.runs[run_id]
        self._say("lobby", "gone", {"room": "lobby", "run_id": run_id})

    def _tell(self, run_id: str, event: str, *, step: Json | None = None, log: Json | None = None) -> None:
        run = json.loads(json.dumps(self.runs[run_id].state))
        step = json.loads(json.dumps(step))
        self._say(run_id, event, {"room": run_id, "run": run, "step": step, "log": log, "event": {}})
        self._say("lobby", "run", {"room": "lobby", "run": run})

    def _say(self, room: str, event: str, data: Json) -> None:
        self._messages.append((room, event, data))
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _feed(self, request: web.Request) -> web.StreamResponse:
        run = request.match_info.get("id")
        rooms = request.query.getall("room") if run is None else [run]
        self.feeds_opened += 1
        if any(room != "lobby" and room not in self.runs for room in rooms):
            return web.json_response({"title": "no such room"}, status=404)
        epoch, _, seq = request.headers.get("Last-Event-ID", "").partition("-")
        resumed = epoch == str(self._epoch)
        position = int(seq) if resumed else len(self._messages)
        if resumed and position == len(self._messages) and self._all_ended(rooms):
            return web.Response(status=204)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        if not resumed:
            for room in rooms:
                await self._send(response, position, "snapshot", {"room": room, **self._snapshot(room)})
        self.feeds_open += 1
        try:
            await self._follow(response, set(rooms), position)
        finally:
            self.feeds_open -= 1
        return response

    async def _follow(self, response: web.StreamResponse, rooms: set[str], position: int) -> None:
        while not self._cut.is_set():
            changed, end = self._changed, len(self._messages)
            for number in range(position, end):
                room, event, data = self._messages[number]
                if room in rooms:
                    await self._send(response, number + 1, event, data)
            position = end
            if self._all_ended(rooms):
                return
            await _first(changed.wait(), self._cut.wait())

    async def _send(self, response: web.StreamResponse, seq: int, event: str, data: Json) -> None:
        text = f"id: {self._epoch}-{seq}\nevent: {event}\ndata: {json.dumps(data)}\n\n"
        await response.write(text.encode())

    def _all_ended(self, rooms: set[str] | list[str]) -> bool:
        return all(room != "lobby" and self.runs[room].state["status"] in ENDED for room in rooms)

    def _snapshot(self, room: str) -> Json:
        return (
            {"runs": [run.state for run in self.runs.values()]}
            if room == "lobby"
            else self.runs[room].snapshot()
        )

    async def _list(self, request: web.Request) -> web.Response:
        start = int(request.query.get("cursor") or 0)
        end = start + int(request.query.get("limit", "100"))
        following = str(end) if end < len(self.older) else None
        return web.json_response({"runs": self.older[start:end], "next_cursor": following})

    async def _diagram(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        return web.json_response(self.diagrams.get(name) or diagram(name, None, state="none"))

    async def _source(self, request: web.Request) -> web.Response:
        return web.json_response(self.sources[request.match_info["name"]])

    async def _pages(self, _request: web.Request) -> web.Response:
        return web.json_response({"pages": self.pages, "grafana": self.grafana})

    async def _static(self, request: web.Request) -> web.Response:
        file = static_files().get(request.match_info["path"] or "index.html")
        if file is None:
            raise web.HTTPNotFound
        return web.Response(body=file.body, headers={"Content-Type": file.content_type, "ETag": file.etag})


async def _first(*waits: Awaitable[object]) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def _secure(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Content-Security-Policy"] = CSP
    response.headers["X-Content-Type-Options"] = "nosniff"


def _new_run(run_id: str) -> Json:
    return {
        "id": run_id, "workflow": "etl", "service": "billing", "status": "running", "started_ms": now_ms(),
        "ended_ms": None, "duration_ms": None, "last_event_ms": now_ms(), "error": None, "parent_run_id": "",
        "parent_step_id": "", "trace_ids": ["4bf92f3577b34da6a3ce929d0e0e4736"], "attributes": {},
        "dropped_by_agent": 0, "progress": None, "steps": {},
    }  # fmt: skip


def _new_step(step_id: str) -> Json:
    return {
        "id": step_id, "name": step_id, "kind": "do", "parent_id": "", "status": "running", "started_ms": now_ms(),
        "ended_ms": None, "duration_ms": None, "attempt": 1, "error": None, "progress": None, "attributes": {},
        "child_run_id": "", "attempts": [],
    }  # fmt: skip


def diagram(workflow: str, nodes: list[Json] | None, **changes: Any) -> Json:
    """Return the answer to the question for a workflow's diagram."""
    graph: Json | None = None if nodes is None else {"class_name": workflow, "functions": {}, "nodes": nodes}
    return {
        "workflow": workflow, "version": "v1", "versions": ["v1"], "exact": True, "run_version": "v1", "state": "drawn",
        "error": None, "main": "app.py", "created_ms": 1.0, "graph": graph, **changes,
    }  # fmt: skip


def failure(type_: str, message: str, stacktrace: str = "") -> Json:
    """Return an `error` object."""
    return {"type": type_, "message": message, "stacktrace": stacktrace}


def attempt(
    number: int, status: str, started_ms: float, ended_ms: float | None, error: Json | None = None
) -> Json:
    """Return one entry of a step's `attempts`."""
    times = {"started_ms": started_ms, "ended_ms": ended_ms}
    return {"attempt": number, "status": status, **times, "error": error}


def fill_large(collector: FakeCollector, run_id: str, steps: int) -> None:
    """Put a run of this many finished steps, in groups of fifty, and one that runs."""
    start = now_ms() - steps * 20
    run = collector.runs[run_id] = Run(_new_run(run_id) | {"workflow": "backfill", "started_ms": start})
    for number in range(steps):
        at = start + number * 20
        parent = f"s{number - number % 50}" if number % 50 else ""
        length = 1000.0 if not parent else 15.0 + number % 7 * 30
        run.steps[f"s{number}"] = _new_step(f"s{number}") | {
            "name": f"{'batch' if not parent else 'load_part'} {number}", "parent_id": parent, "status": "completed",
            "started_ms": at, "ended_ms": at + length, "duration_ms": length,
        }  # fmt: skip
    run.steps[f"s{steps - 1}"].update(status="running", ended_ms=None, duration_ms=None)
