"""The OpenAPI document of the collector's own routes, `GET /api/v1/openapi.json`; a test holds it to what is answered."""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from stagelight.conventions import RunStatus
from stagelight_collector.api.runs import reply
from stagelight_collector.api.shapes import SCHEMAS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PATH: Final = "/api/v1/openapi.json"
_Data = dict[str, Any]

_TEXTS: Final[Mapping[str, str]] = {
    "workflow": "The whole name of the workflow.",
    "service": "The whole name of the service.",
    "q": "Text within the run's id, the workflow's name or the error's message.",
    "error": "Text within `type: message` of the error.",
    "cursor": "`next_cursor` of the page before.",
    "types": "Event types, separated by commas; run ends, `snapshot` and `reset` come in any case.",
    "last_event_id": "Where to go on, as the header `Last-Event-ID`.",
    "speed": "Tells history again: 1, 10 or max.",
}
_NUMBERS: Final[Mapping[str, str]] = {
    "since": "The earliest start, Unix milliseconds.",
    "until": "The latest start, exclusive.",
    "min_duration_ms": "Only runs that have ended have a duration.",
    "max_duration_ms": "As above.",
}
_FLAGS: Final[Mapping[str, str]] = {
    "dry_run": "1 only says what would be dropped.",
    "force": "1 deletes a run that has not ended.",
}


def document() -> _Data:
    """Return the document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Stagelight's collector",
            "version": importlib.metadata.version("stagelight"),
            "description": "Times are Unix milliseconds. Errors are application/problem+json. Plugins have routes of their own.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": _paths(),
        "components": {"schemas": dict(SCHEMAS)},
    }


def routes() -> Sequence[web.AbstractRouteDef]:
    """Return the route of the document."""

    async def show(request: web.Request) -> web.Response:
        del request
        return reply(document())

    return [web.get(PATH, show)]


def _paths() -> _Data:
    run = "/api/v1/runs/{id}"
    listed = ("workflow", "status", "service", "since", "until", "q", "error", "min_duration_ms", "max_duration_ms",
              "attribute", "limit", "cursor")  # fmt: skip
    feed = ("types", "last_event_id")
    paths = {
        "/api/v1/runs": {"get": _operation("List runs, newest first.", "RunPage", *listed)},
        run: {
            "get": _operation("A run with its steps and log lines.", "Snapshot", missing=True),
            "delete": _operation("Delete a run.", "Deleted", "force", missing=True),
        },
        f"{run}/events": {"get": _operation("What happened, in order of time.", "EventPage", "limit", "cursor", missing=True)},
        f"{run}/spans": {"get": _operation("The spans of the run's traces.", "Spans", missing=True)},
        f"{run}/export": {"get": _operation("The run as a file.", "application/x-ndjson", missing=True)},
        f"{run}/feed": {"get": _operation("The run while it goes on.", "text/event-stream", *feed, "speed", missing=True)},
        f"{run}/ws": {"get": _operation("The same over a WebSocket.", "", *feed, missing=True)},
        "/api/v1/runs/import": {"post": _operation("Take an exported run.", "Imported", body="application/x-ndjson")},
        "/api/v1/feed": {"get": _operation("Several rooms at once; `lobby` is the room of all runs.", "text/event-stream", "room", *feed)},
        "/api/v1/ws": {"get": _operation("Rooms that are chosen while it is open.", "", "room", *feed)},
        "/api/v1/workflows": {"get": _operation("List workflows.", "Workflows")},
        "/api/v1/workflows/{name}": {"get": _operation("How a workflow's runs and steps went.", "WorkflowAnswer", "since", missing=True)},
        "/api/v1/errors": {"get": _operation("Why runs fail.", "Errors", "workflow", "since", "limit")},
        "/api/v1/history": {"get": _operation("How large history is.", "History")},
        "/api/v1/history/prune": {"post": _operation("Drop what is old.", "Pruned", "dry_run")},
        "/api/v1/sql": {"post": _operation("Ask history in SQL that only reads.", "SqlAnswer", body="SqlQuestion")},
        "/api/v1/pages": {"get": _operation("Where the page can lead to.", "Pages")},
        PATH: {"get": _operation("This document.", "Document")},
        "/healthz": {"get": _operation("Whether all is well.", "Health")},
        "/metrics": {"get": _operation("Counters and gauges.", "text/plain")},
        **{f"/v1/{signal}": {"post": _received(signal)} for signal in ("traces", "logs", "metrics")},
    }  # fmt: skip
    for path, operations in paths.items():
        for name in ("id", "name"):
            if f"{{{name}}}" in path:
                where = {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for operation in operations.values():
                    operation["parameters"] = [where, *operation.get("parameters", ())]
    return paths


def _operation(summary: str, answer: str, *parameters: str, body: str = "", missing: bool = False) -> _Data:
    """Return an operation; an answer or a body is a schema, or a content type of which only that is said."""
    ok: _Data = {"description": summary}
    if answer:
        ok["content"] = _content(answer)
    problem = {
        "description": "Why not.",
        "content": {"application/problem+json": {"schema": _ref("Problem")}},
    }
    made: _Data = {
        "summary": summary,
        "responses": {
            "200" if answer else "101": ok,
            **({"404": problem} if missing else {}),
            "default": problem,
        },
    }
    if parameters:
        made["parameters"] = [_parameter(name) for name in parameters]
    if body:
        made["requestBody"] = {"required": True, "content": _content(body)}
    return made


def _received(signal: str) -> _Data:
    kinds = ("application/x-protobuf", "application/json")
    taken = {
        kind: {"schema": {"description": f"OTLP's Export{signal.title()}ServiceRequest"}} for kind in kinds
    }
    said = {kind: {"schema": {"description": "OTLP's response, or google.rpc.Status"}} for kind in kinds}
    return {
        "summary": f"Receive {signal} over OTLP.",
        "requestBody": {"required": True, "content": taken},
        "responses": {
            "200": {"description": "It is on disk.", "content": said},
            "default": {"description": "Not taken; 429 and 503 may be tried again.", "content": said},
        },
    }


def _content(what: str) -> _Data:
    if "/" in what:
        return {what: {"schema": {"type": "string"}}}
    return {"application/json": {"schema": _ref(what)}}


def _ref(name: str) -> _Data:
    return {"$ref": f"#/components/schemas/{name}"}


def _parameter(name: str) -> _Data:
    made: _Data = {"name": name, "in": "query"}
    if name in _FLAGS:
        return {**made, "description": _FLAGS[name], "schema": {"enum": ["0", "1"]}}
    if name in _NUMBERS:
        return {**made, "description": _NUMBERS[name], "schema": {"type": "number"}}
    if name == "limit":
        return {**made, "schema": {"type": "integer", "minimum": 1, "maximum": 500, "default": 50}}
    if name == "status":
        return {**made, "schema": {"enum": list(RunStatus)}}
    if name in {"attribute", "room"}:
        text = "`key=value`, eight at most." if name == "attribute" else "`lobby`, or the id of a run."
        return {
            **made,
            "description": text,
            "schema": {"type": "array", "items": {"type": "string"}},
            "explode": True,
        }
    return {**made, "description": _TEXTS[name], "schema": {"type": "string"}}
