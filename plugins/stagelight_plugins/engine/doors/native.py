"""The native API: the engine in Stagelight's own words, below `/api/v1/engine`.

Times are Unix milliseconds, 0 where there is none yet; names are those of `contract`. What changes an instance answers with
the instance as it is then. Errors are `application/problem+json`, with the public API's `code` beside.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from stagelight_plugins.engine.doors import bodies
from stagelight_plugins.engine.doors.door import Door, names
from stagelight_plugins.engine.facts import APPROVAL, From, Status, StepType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stagelight_plugins.engine.doors.door import Handler
    from stagelight_plugins.engine.facts import InstanceInfo, WorkflowInfo

ROOT: Final = "/api/v1/engine"
WORKFLOW: Final = f"{ROOT}/workflows/{{workflow}}"
INSTANCES: Final = f"{WORKFLOW}/instances"
INSTANCE: Final = f"{INSTANCES}/{{instance}}"

_PAUSABLE: Final = frozenset({Status.QUEUED, Status.RUNNING, Status.WAITING})
_RESUMABLE: Final = frozenset({Status.PAUSED, Status.WAITING_FOR_PAUSE})
_UNSKIPPABLE: Final = frozenset({Status.COMPLETE, Status.TERMINATED, Status.ROLLING_BACK})


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class New(_Body):
    """A new instance."""

    id: str | None = None
    params: Any = None
    retention: int | str | None = None


class Nothing(_Body):
    """No arguments."""


class Terminate(_Body):
    """How an instance is ended."""

    rollback: bool = False


class Restart(_Body):
    """The step from which an instance begins again; without one, from its start."""

    step: str | None = None
    count: int = Field(default=1, ge=1)
    type: StepType = "do"


class Answer(_Body):
    """What somebody says to an instance that waits for approval."""

    reason: str = ""
    metadata: Any = None
    event_type: str = APPROVAL


class Send(_Body):
    """An event."""

    type: str
    payload: Any = None


class Listing(_Body):
    """The query of a list of instances."""

    status: Status | None = None
    direction: Literal["asc", "desc"] = "desc"
    limit: int = Field(default=50, ge=1, le=bodies.MAX_PAGE)
    cursor: str = ""


_NEW: Final = TypeAdapter(New)
_NOTHING: Final = TypeAdapter(Nothing)
_TERMINATE: Final = TypeAdapter(Terminate)
_RESTART: Final = TypeAdapter(Restart)
_ANSWER: Final = TypeAdapter(Answer)
_SEND: Final = TypeAdapter(Send)
_LISTING: Final = TypeAdapter(Listing)


def offered(status: Status) -> list[str]:
    """Return what can be done to an instance in this status."""
    found = {
        "pause": status in _PAUSABLE,
        "resume": status in _RESUMABLE,
        "terminate": not status.ended,
        "restart": True,
        "skip": status not in _UNSKIPPABLE,
        "events": not status.ended,
    }
    return [name for name, possible in found.items() if possible]


@dataclass(slots=True)
class Native(Door):
    """The native API."""

    def routes(self) -> Sequence[web.AbstractRouteDef]:
        """Return the routes."""
        answers: list[tuple[str, str, Handler]] = [
            ("GET", f"{ROOT}/health", self._health),
            ("GET", f"{ROOT}/workflows", self._workflows),
            ("GET", WORKFLOW, self._workflow),
            ("GET", INSTANCES, self._instances),
            ("POST", INSTANCES, self._create),
            ("GET", INSTANCE, self._instance),
            ("DELETE", INSTANCE, self._delete),
            ("GET", f"{INSTANCE}/feed", self._feed),
            ("POST", f"{INSTANCE}/pause", self._pause),
            ("POST", f"{INSTANCE}/resume", self._resume),
            ("POST", f"{INSTANCE}/terminate", self._terminate),
            ("POST", f"{INSTANCE}/restart", self._restart),
            ("POST", f"{INSTANCE}/skip", self._skip),
            ("POST", f"{INSTANCE}/approve", self._approve),
            ("POST", f"{INSTANCE}/reject", self._reject),
            ("POST", f"{INSTANCE}/events", self._send),
        ]
        return self._open(answers, _problem)

    # --- looking --------------------------------------------------------------------------------------------------

    async def _health(self, request: web.Request) -> web.Response:
        del request
        return _json(self._plane.health())

    async def _workflows(self, request: web.Request) -> web.Response:
        del request
        far = await self.relay.workflows(f"{ROOT}/workflows", "workflows")
        names = {one["name"] for one in far}
        near = [await self._shape(info) for info in await self._plane.workflows() if info.name not in names]
        return _json({"workflows": sorted([*near, *far], key=lambda one: str(one["name"]))})

    async def _workflow(self, request: web.Request) -> web.Response:
        return _json(await self._shape(await self._plane.workflow(request.match_info["workflow"])))

    async def _shape(self, info: WorkflowInfo) -> dict[str, Any]:
        return {
            "name": info.name,
            "class_name": info.class_name,
            "version": info.version_id,
            "created": info.created,
            "modified": info.modified,
            "schedules": info.schedules,
            "counts": info.counts,
            "queue": await self._plane.queue(info.name),
        }

    async def _instances(self, request: web.Request) -> web.Response:
        query = bodies.query_of(request, _LISTING)
        page = await self._plane.list(
            request.match_info["workflow"],
            status=(query.status,) if query.status else (),
            direction=query.direction,
            limit=query.limit,
            cursor=query.cursor,
        )
        return _json({"instances": page.instances, "next_cursor": page.next or None, "total": page.total})

    async def _instance(self, request: web.Request) -> web.Response:
        return await self._told(await self._plane.get(*names(request)))

    async def _told(self, info: InstanceInfo, status: int = 200) -> web.Response:
        steps = await self._plane.steps(info.workflow, info.id)
        return _json({"instance": info, "steps": steps, "can": offered(info.status)}, status)

    async def _feed(self, request: web.Request) -> web.StreamResponse:
        return await self.streams.answer(request, self._plane, await self._plane.get(*names(request)))

    # --- changing -------------------------------------------------------------------------------------------------

    async def _create(self, request: web.Request) -> web.Response:
        new = await bodies.body_of(request, _NEW)
        workflow = request.match_info["workflow"]
        await self._plane.workflow(workflow)
        info = await self._plane.create(workflow, new.params, id=new.id, retention=new.retention)
        return await self._told(info, 201)

    async def _delete(self, request: web.Request) -> web.Response:
        info = await self._plane.get(*names(request))
        await self._plane.delete(info.workflow, info.id)
        return web.Response(status=204)

    async def _pause(self, request: web.Request) -> web.Response:
        await bodies.body_of(request, _NOTHING)
        return await self._told(await self._plane.pause(*await self._resolved(request)))

    async def _resume(self, request: web.Request) -> web.Response:
        await bodies.body_of(request, _NOTHING)
        return await self._told(await self._plane.resume(*await self._resolved(request)))

    async def _terminate(self, request: web.Request) -> web.Response:
        body = await bodies.body_of(request, _TERMINATE)
        names = await self._resolved(request)
        return await self._told(await self._plane.terminate(*names, rollback=body.rollback))

    async def _restart(self, request: web.Request) -> web.Response:
        body = await bodies.body_of(request, _RESTART)
        origin = None if body.step is None else From(body.step, body.count, body.type)
        return await self._told(await self._plane.restart(*await self._resolved(request), origin))

    async def _skip(self, request: web.Request) -> web.Response:
        body, names = await bodies.body_of(request, bodies.SKIP), await self._resolved(request)
        return await self._told(await self._plane.skip(*names, body.step, body.output, count=body.count))

    async def _approve(self, request: web.Request) -> web.Response:
        body, names = await bodies.body_of(request, _ANSWER), await self._resolved(request)
        await self._plane.approve(
            *names, reason=body.reason, metadata=body.metadata, event_type=body.event_type
        )
        return await self._told(await self._plane.get(*names))

    async def _reject(self, request: web.Request) -> web.Response:
        body, names = await bodies.body_of(request, _ANSWER), await self._resolved(request)
        await self._plane.reject(
            *names, reason=body.reason, metadata=body.metadata, event_type=body.event_type
        )
        return await self._told(await self._plane.get(*names))

    async def _send(self, request: web.Request) -> web.Response:
        body, names = await bodies.body_of(request, _SEND), await self._resolved(request)
        await self._plane.send_event(*names, body.type, body.payload)
        return await self._told(await self._plane.get(*names))


def _json(body: Any, status: int = 200) -> web.Response:
    data = orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS)
    return web.Response(status=status, body=data, content_type="application/json")


def _problem(status: int, code: int, detail: str, retry_after: float = 0.0) -> web.Response:
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    response = _json({**body, "code": code}, status)
    response.content_type = "application/problem+json"
    if retry_after:
        response.headers["Retry-After"] = str(max(1, round(retry_after)))
    return response
