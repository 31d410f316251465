"""The routes of Workflow Live: the paths, methods, texts and CORS headers of the article."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakValueDictionary

from aiohttp import web
from pydantic import BaseModel, Field, JsonValue, TypeAdapter, ValidationError

from stagelight_plugins.errors import NotAccepted
from stagelight_plugins.validation import first_problem
from stagelight_plugins.workflow_live.monitor import (
    MAX_STAGES,
    Changes,
    Monitor,
    Name,
    NewStage,
    NotFound,
    Stage,
    Workflow,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from stagelight.events import Event
    from stagelight_plugins.hookspecs import Collector
    from stagelight_plugins.workflow_live.rooms import Rooms
    from stagelight_plugins.workflow_live.store import Store

CORS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type, Authorization",
}
PATHS: Final = ("", "/{id:[^/]*}", "/{id:[^/]*}/{action:[^/]*}", "/{id:[^/]*}/{action:[^/]*}/{rest:.*}")
"""Below `/workflow` and `/room`; what follows the action means nothing, as in the article."""
MAX_WORKFLOW: Final = 1 << 20
"""Length of one workflow as JSON."""
_SUCCESS: Final = '{"success":true}'

_log = logging.getLogger(__name__)


class Creation(BaseModel):
    """The body of `POST /workflow/create`."""

    name: Name
    stages: list[NewStage] = Field(max_length=MAX_STAGES)
    metadata: JsonValue = None


class StageUpdate(BaseModel):
    """The body of `PUT /workflow/{id}/stage`."""

    stageId: str  # noqa: N815 - the wire's name
    updates: Changes


class Completion(BaseModel):
    """The body of `PUT /workflow/{id}/complete`."""

    error: str | None = None


class Refused(Exception):
    """A request that is answered with a status and a text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


T = TypeVar("T")
_ANY: Final[TypeAdapter[Any]] = TypeAdapter(JsonValue)
_CREATION: Final = TypeAdapter(Creation)
_STAGE_UPDATE: Final = TypeAdapter(StageUpdate)
_COMPLETION: Final = TypeAdapter(Completion)


@dataclass(slots=True)
class Routes:
    """Answers requests with a monitor, a store and rooms."""

    collector: Collector
    monitor: Monitor
    store: Store
    rooms: Rooms
    _turns: WeakValueDictionary[str, asyncio.Lock] = field(
        default_factory=WeakValueDictionary[str, asyncio.Lock]
    )

    def routes(self) -> Sequence[web.AbstractRouteDef]:
        """Return the routes; each answers every method, so that a wrong one is told in the article's words."""
        handlers = {"/workflow": self._guarded(self._workflow), "/room": self._guarded(self._room)}
        found = [web.route("*", base + path, handlers[base]) for base in handlers for path in PATHS]
        return [*found, web.get("/-/workflow_live/health", self._health)]

    def _guarded(
        self, answer: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            if request.method == "OPTIONS":
                return web.Response(headers=CORS)
            try:
                return await answer(request)
            except Refused as refused:
                return _text(refused.status, str(refused))
            except NotFound as missing:
                return _text(404, str(missing))
            except NotAccepted as full:
                response = _text(503, str(full))
                response.headers["Retry-After"] = str(full.retry_after)
                return response
            except (web.HTTPError, ConnectionError):
                raise
            except Exception:  # noqa: BLE001 - the article's answer to what went wrong here
                _log.exception("%s %s failed", request.method, request.path)
                return _text(500, "Internal server error")

        return handle

    # --- workflows ------------------------------------------------------------------------------------------------

    async def _workflow(self, request: web.Request) -> web.StreamResponse:
        workflow_id = request.match_info.get("id", "")
        action = request.match_info.get("action", "")
        match request.method, workflow_id, action:
            case ("POST", "create", "") | (
                "POST",
                _,
                "create",
            ):  # what the page asks for, what the code answers
                return await self._create(request)
            case "POST", _, "start":
                async with self._turn(workflow_id):
                    return await self._changed(*self.monitor.start(workflow_id))
            case "PUT", _, "stage":
                return await self._update_stage(request, workflow_id)
            case "PUT", _, "complete":
                body = await _body(request, _COMPLETION)
                async with self._turn(workflow_id):
                    return await self._complete(workflow_id, body.error)
            case "GET", "", "":
                return _json(f"[{','.join(self.monitor.texts())}]")
            case "GET", _, "" | "status":
                found = self.monitor.text(workflow_id)
                if found is None:
                    raise Refused(404, "Workflow not found")
                return _json(found)
            case _:
                raise Refused(405, "Method not allowed")

    async def _create(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request, _CREATION)
        workflow, events = self.monitor.create(body.name, body.stages, body.metadata)
        return await self._changed(workflow, events)

    async def _update_stage(self, request: web.Request, workflow_id: str) -> web.StreamResponse:
        body = await _body(request, _STAGE_UPDATE)
        if body.updates.id not in {None, body.stageId}:
            raise Refused(400, "Invalid body: updates.id: a stage keeps its id")
        async with self._turn(workflow_id):
            workflow, stage, events = self.monitor.update_stage(workflow_id, body.stageId, body.updates)
            return await self._changed(workflow, events, stage)

    async def _complete(self, workflow_id: str, error: str | None) -> web.StreamResponse:
        answer = await self._changed(*self.monitor.complete(workflow_id, error))
        if error:
            told = {"workflowId": workflow_id, "error": {"message": error}}
            self.rooms.tell(workflow_id, "workflow_error", **told)
            self.rooms.tell_watchers("workflow_error", **told)
        return answer

    async def _changed(
        self, workflow: Workflow, events: list[Event], stage: Stage | None = None
    ) -> web.StreamResponse:
        """Make a change durable, then tell everybody. Where that fails nothing has changed, and it may be asked for again."""
        answer = workflow.to_json()
        text = encode(answer)
        if len(text) > MAX_WORKFLOW:
            raise Refused(
                413,
                f"The workflow would have more than {MAX_WORKFLOW} characters; keep large data elsewhere",
            )
        await self.collector.accept(events)
        await self.store.save(workflow, self.monitor.take_gone())
        self.monitor.keep(workflow, text)
        if stage is not None:
            told = stage.model_dump(exclude_none=True, exclude={"attempt"})
            self.rooms.tell(workflow.id, "stage_update", workflowId=workflow.id, stage=told)
        else:
            self.rooms.tell(workflow.id, "workflow_update", workflow=answer)
        self.rooms.tell_watchers("workflow_update", workflow=answer)
        return _json(text)

    def _turn(self, workflow_id: str) -> asyncio.Lock:
        """Changes of one workflow come one after the other; its lock is there while somebody holds it or waits."""
        return self._turns.setdefault(workflow_id, asyncio.Lock())

    # --- rooms ----------------------------------------------------------------------------------------------------

    async def _room(self, request: web.Request) -> web.StreamResponse:
        room = request.match_info.get("id", "")
        if not room:
            raise Refused(400, "Missing workflow ID")
        match request.match_info.get("action", ""):
            case "websocket" if web.WebSocketResponse().can_prepare(request).ok:
                return await self.rooms.open(room, request)
            case "websocket":
                headers = {**CORS, "Upgrade": "websocket", "Connection": "Upgrade"}
                return web.Response(status=426, text="Upgrade required", headers=headers)
            case "join":
                return await self._join(request, room)
            case "broadcast":
                data = await _body(request, _ANY)
                encode(data)
                self.rooms.tell(room, "workflow_update", workflow=data, data=data)
                return _json(_SUCCESS)
            case _:
                raise Refused(404, "Not found")

    async def _join(self, request: web.Request, room: str) -> web.StreamResponse:
        named = room
        if request.method == "POST" and request.can_read_body:
            body = await _body(request, _ANY)
            match body:
                case {"workflowId": str(named)} if named:
                    pass
                case _:
                    raise Refused(400, "Missing workflowId")
        self.rooms.tell(room, "workflow_joined", workflowId=named)
        return _json(_SUCCESS)

    async def _health(self, request: web.Request) -> web.Response:
        """Say what is in memory, and how often a bound was met."""
        del request
        return web.json_response(
            {
                "workflows": len(self.monitor.texts()),
                "forgotten": self.monitor.forgotten,
                "sockets": self.rooms.count,
                "dropped": self.rooms.dropped,
            }
        )


async def _body(request: web.Request, kind: TypeAdapter[T]) -> T:
    """Return the body as data of a kind; a text that says what is wrong with it otherwise."""
    try:
        return kind.validate_json(await request.read())
    except ValidationError as error:
        raise Refused(400, f"Invalid body: {first_problem(error)}") from error
    except web.HTTPRequestEntityTooLarge as error:
        raise Refused(413, f"The body has more than {request.client_max_size} bytes; send less") from error


def encode(data: Any) -> str:
    """Return JSON.

    Raises:
        Refused: It cannot be said in JSON.
    """
    try:
        return json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise Refused(400, "Invalid body: a number is NaN or infinite, which no JSON can say") from error


def _json(text: str) -> web.Response:
    return web.Response(text=text, content_type="application/json", headers=CORS)


def _text(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text, headers=CORS)
