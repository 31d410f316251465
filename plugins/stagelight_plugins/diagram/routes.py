"""The routes: diagrams of workflows, their code, and a way in for code that no agent sends."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from aiohttp import web
from pydantic import BaseModel, Field, ValidationError

from stagelight.sources import version_of
from stagelight_plugins.diagram.artist import is_inside
from stagelight_plugins.diagram.limits import MOST_BODY
from stagelight_plugins.diagram.store import DRAWN, File
from stagelight_plugins.validation import first_problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stagelight_plugins.diagram.artist import Artist
    from stagelight_plugins.diagram.store import Found, Store

MOST_WAITING: Final = 50
"""Pushes that may wait for their answer."""
HINT: Final = "A workflow of the agent's sends its code by itself when it runs; for others there is `stagelight diagram push`."


_NOTHING: Final[Mapping[str, object]] = {
    "version": "", "versions": [], "exact": False, "run_version": "", "state": "none", "error": HINT, "main": "", "created_ms": 0, "graph": None
}  # fmt: skip
"""The answer where nothing is known, which is no error: most runs are of workflows whose code nobody sent."""


class Push(BaseModel):
    """The body of `POST /api/v1/diagrams`."""

    main: str = Field(min_length=1, max_length=512)
    files: dict[str, str] = Field(min_length=1, max_length=200)
    version: str = Field(default="", max_length=512)
    """What the sender calls this version; a hash of the files by default."""


class Refused(Exception):
    """A request that is answered with a status and a text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(slots=True)
class Routes:
    """Answers from a store, and has what is pushed drawn."""

    store: Store
    artist: Artist

    def routes(self) -> Sequence[web.AbstractRouteDef]:
        """Return the routes."""
        return [
            web.get("/api/v1/workflows/{name:[^/]+}/diagram", self.show),
            web.get("/api/v1/workflows/{name:[^/]+}/source", self.source),
            web.get("/api/v1/workflows/{name:[^/]+}/versions/{version:[^/]+}/graph", self.graph),
            web.post("/api/v1/diagrams", self.push),
        ]

    async def show(self, request: web.Request) -> web.Response:
        """Return the diagram of `?version=`, of the version of `?run=`, or the newest."""
        found = await self._found(request)
        if found is None:
            return _json(200, {"workflow": request.match_info["name"], **_NOTHING})
        head = {
            "workflow": found.workflow,
            "version": found.version,
            "versions": found.versions,
            "exact": found.exact,
            "run_version": found.run_version,
            "state": found.state,
            "error": found.error or None,
            "main": found.main,
            "created_ms": found.created * 1000,
        }
        return _with_graph(head, "graph", found.graph)

    async def source(self, request: web.Request) -> web.Response:
        """Return the code of a version, with what looked like a credential taken out."""
        found = await self._found(request)
        files = {} if found is None else await self.store.files(found.version)
        if found is None or not files:
            return _problem(404, f"There is no code of {request.match_info['name']!r}. {HINT}")
        return _json(200, {"version": found.version, "main": found.main, "files": files})

    async def graph(self, request: web.Request) -> web.Response:
        """Return a version's graph in the shape of the public Workflows API."""
        name, version = request.match_info["name"], request.match_info["version"]
        found = await self.store.find(name, version)
        if found is None:
            error = {"code": 10200, "message": f"There is no version {version!r} of workflow {name!r}."}
            return _json(404, {"success": False, "errors": [error], "messages": [], "result": None})
        created = datetime.fromtimestamp(found.created, UTC).isoformat()
        result = {
            "id": found.version, "class_name": name, "created_on": created, "modified_on": created, "workflow_id": name
        }  # fmt: skip
        head = json.dumps({"success": True, "errors": [], "messages": []})
        inner = f'{{"version":1,"workflow":{found.graph}}}' if found.graph else "null"
        text = f'{head[:-1]}, "result": {json.dumps(result)[:-1]}, "graph": {inner}}}}}'
        return web.Response(text=text, content_type="application/json")

    async def push(self, request: web.Request) -> web.Response:
        """Keep code that is sent, draw it, and say what was found in it."""
        try:
            if self.artist.pending >= MOST_WAITING:
                raise Refused(503, "Too much code is being read; try again.")  # noqa: TRY301 - one way out for all refusals
            body = await asyncio.to_thread(_checked, await _read(request))
        except Refused as refused:
            return _problem(refused.status, str(refused))
        version = body.version or await asyncio.to_thread(_version, body.files)
        files = [
            File(version=version, main=body.main, count=len(body.files), path=path, text=text)
            for path, text in body.files.items()
        ]
        if await self.store.take(files, ()):
            await self.artist.draw(version)
        state, error, names = await self.store.outcome(version)
        answer = {"version": version, "state": state, "workflows": names, "error": error or None}
        return _json(201 if state == DRAWN else 422, answer)

    async def _found(self, request: web.Request) -> Found | None:
        query = request.query
        return await self.store.find(
            request.match_info["name"], query.get("version", ""), query.get("run", "")
        )


async def _read(request: web.Request) -> bytes:
    parts = bytearray()
    async for part in request.content.iter_chunked(65536):
        parts += part
        if len(parts) > MOST_BODY:
            raise Refused(413, f"The code is larger than {MOST_BODY >> 20} MiB; push fewer files.")
    return bytes(parts)


def _checked(body: bytes) -> Push:
    try:
        push = Push.model_validate_json(body)
    except ValidationError as error:
        raise Refused(400, f"Invalid body: {first_problem(error)}") from error
    if push.main not in push.files:
        raise Refused(400, f"main: {push.main!r} is not among the files")
    for path in push.files:
        if not is_inside(path):
            raise Refused(400, f"files: {path!r} is no path below the project's directory")
    return push


def _version(files: dict[str, str]) -> str:
    return version_of({path: text.encode("utf-8", "replace") for path, text in files.items()})


def _with_graph(head: Mapping[str, object], key: str, graph: str) -> web.Response:
    """Return JSON with a part that is JSON already; it is never parsed here."""
    text = f"{json.dumps(head)[:-1]}, {json.dumps(key)}: {graph or 'null'}}}"
    return web.Response(text=text, content_type="application/json")


def _json(status: int, data: object) -> web.Response:
    return web.Response(status=status, text=json.dumps(data), content_type="application/json")


def _problem(status: int, detail: str) -> web.Response:
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    headers = {"Retry-After": "1"} if status == 503 else {}
    return web.Response(
        status=status, text=json.dumps(body), content_type="application/problem+json", headers=headers
    )
