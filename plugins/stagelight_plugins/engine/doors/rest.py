"""The routes of the public Workflows API."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from stagelight_plugins.diagram.artist import Pencil
from stagelight_plugins.engine.doors import bodies, shapes
from stagelight_plugins.engine.doors.door import Door, names
from stagelight_plugins.engine.doors.envelope import INVALID, Refused, done, refused
from stagelight_plugins.engine.doors.numbers import PageNumbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from stagelight_plugins.engine.doors.door import Handler
    from stagelight_plugins.engine.facts import InstancePage, StepInfo

ROOT: Final = "/client/v4/accounts/{account}/workflows"
WORKFLOW: Final = f"{ROOT}/{{workflow}}"
INSTANCES: Final = f"{WORKFLOW}/instances"
INSTANCE: Final = f"{INSTANCES}/{{instance}}"
VERSIONS: Final = f"{WORKFLOW}/versions"


@dataclass(slots=True)
class Rest(Door):
    """The public API."""

    numbers: PageNumbers = field(default_factory=PageNumbers)
    drawing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a child process reads code, so that there is one of them."""

    def routes(self) -> Sequence[web.AbstractRouteDef]:
        """Return the routes."""
        answers: list[tuple[str, str, Handler]] = [
            ("GET", ROOT, self._workflows),
            ("GET", WORKFLOW, self._workflow),
            ("PUT", WORKFLOW, self._update),
            ("DELETE", WORKFLOW, self._delete_workflow),
            ("GET", VERSIONS, self._versions),
            ("GET", f"{VERSIONS}/{{version}}", self._version),
            ("GET", f"{VERSIONS}/{{version}}/graph", self._graph),
            ("GET", INSTANCES, self._instances),
            ("POST", INSTANCES, self._create),
            ("POST", f"{INSTANCES}/batch", self._batch),
            ("POST", f"{INSTANCES}/terminate", self._terminate_all),
            ("GET", INSTANCE, self._instance),
            ("DELETE", INSTANCE, self._delete),
            ("PATCH", f"{INSTANCE}/status", self._change),
            ("POST", f"{INSTANCE}/events/{{type}}", self._event),
            ("GET", f"{INSTANCE}/step", self._step),
            ("GET", f"{INSTANCE}/subscribe", self._subscribe),
            ("POST", f"{INSTANCE}/skip", self._skip),
        ]
        return self._open(answers, refused)

    # --- workflows ------------------------------------------------------------------------------------------------

    async def _workflows(self, request: web.Request) -> web.Response:
        query = bodies.query_of(request, bodies.PAGE)
        far = await self.relay.workflows(
            f"{ROOT.format(account='local')}?per_page={bodies.MAX_PAGE}", "result"
        )
        names = {one["name"] for one in far}
        near = [shapes.workflow(info) for info in await self._plane.workflows() if info.name not in names]
        found = sorted(
            (one for one in [*near, *far] if query.search in one["name"]), key=lambda one: str(one["name"])
        )
        start = (query.page - 1) * query.per_page
        shown = found[start : start + query.per_page]
        return done(shown, info=_info(query, len(shown), len(found)))

    async def _workflow(self, request: web.Request) -> web.Response:
        info = await self._plane.workflow(_name(request))
        latest = await self._plane.list(info.name, limit=1)
        triggered = latest.instances[0].created if latest.instances else 0
        return done(shapes.workflow(info, triggered))

    async def _update(self, request: web.Request) -> web.Response:
        del request
        remedy = "name its file with `stagelight up --workflows FILE`, which loads it"
        raise Refused(400, INVALID, f"a workflow cannot be made over the API; {remedy}")

    async def _delete_workflow(self, request: web.Request) -> web.Response:
        await self._plane.delete_workflow(_name(request))
        return done({"status": "ok", "success": True})

    async def _versions(self, request: web.Request) -> web.Response:
        query = bodies.query_of(request, bodies.PAGE)
        info = await self._plane.workflow(_name(request))
        found = await self._plane.versions(info.name)
        start = (query.page - 1) * query.per_page
        shown = [shapes.version(one, info.id) for one in found[start : start + query.per_page]]
        return done(shown, info=_info(query, len(shown), len(found)))

    async def _version(self, request: web.Request) -> web.Response:
        return done((await self._version_of(request))[0])

    async def _graph(self, request: web.Request) -> web.Response:
        shape, source = await self._version_of(request)
        file = f"{shape['class_name']}.py"
        async with self.drawing:
            answer = await Pencil().draw({file: source}, file)
        drawn = [json.loads(graph) for _, of, graph in answer.graphs if of == shape["class_name"]]
        if not drawn:
            why = answer.error or "its source cannot be read"
            raise Refused(404, 10404, f"version {shape['id']} has no diagram: {why}")
        names = ("id", "class_name", "created_on", "modified_on", "workflow_id")
        return done({**{name: shape[name] for name in names}, "graph": {"version": 1, "workflow": drawn[0]}})

    async def _version_of(self, request: web.Request) -> tuple[dict[str, Any], str]:
        info, wanted = await self._plane.workflow(_name(request)), request.match_info["version"]
        for found in await self._plane.versions(info.name):
            if found.id == wanted:
                return shapes.version(found, info.id), found.source
        raise Refused(404, 10404, f"workflow {info.name!r} has no version {wanted!r}; list its versions")

    # --- instances ------------------------------------------------------------------------------------------------

    async def _instances(self, request: web.Request) -> web.Response:
        query, info = bodies.query_of(request, bodies.LIST), await self._plane.workflow(_name(request))
        plane, (start, end) = self._plane, (query.date_start, query.date_end)

        async def read(cursor: str) -> InstancePage:
            return await plane.list(
                info.name,
                status=(query.status,) if query.status else (),
                created_from=round(start.timestamp() * 1000) if start else 0,
                created_to=round(end.timestamp() * 1000) if end else 0,
                direction=query.direction,
                limit=query.per_page,
                cursor=cursor,
            )

        key = (info.id, query.status, start, end, query.direction, query.per_page, query.cursor)
        page = await self.numbers.page(key, query.page, query.cursor, read)
        shown = [shapes.listed(one, info.id) for one in page.instances]
        return done(shown, info={**_info(query, len(shown), page.total), "cursor": page.next})

    async def _create(self, request: web.Request) -> web.Response:
        new = (await bodies.body_of(request, bodies.CREATION)).instance()
        info = await self._plane.workflow(_name(request))
        made = await self._plane.create(info.name, new.params, id=new.id, retention=new.retention)
        return done(shapes.created(made, info.id))

    async def _batch(self, request: web.Request) -> web.Response:
        asked = await bodies.body_of(request, bodies.CREATIONS)
        info = await self._plane.workflow(_name(request))
        batch = await self._plane.create_batch(info.name, [one.instance() for one in asked])
        faults = [
            {"code": one.code, "message": one.message, "index": one.index, "id": one.id}
            for one in batch.errors
        ]
        return done([shapes.created(one, info.id) for one in batch.done], faults=faults)

    async def _terminate_all(self, request: web.Request) -> web.Response:
        info = await self._plane.workflow(_name(request))
        return done({"terminated": await self._plane.terminate_all(info.name)})

    async def _instance(self, request: web.Request) -> web.Response:
        query = bodies.query_of(request, bodies.GET)
        info = await self._plane.get(*names(request))
        steps = await self._plane.steps(info.workflow, info.id)
        if query.order == "desc":
            steps = steps[::-1]
        return done(shapes.instance(info, steps, simple=query.simple))

    async def _delete(self, request: web.Request) -> web.Response:
        info = await self._plane.get(*names(request))
        await self._plane.delete(info.workflow, info.id)
        return done({"id": info.id})

    async def _change(self, request: web.Request) -> web.Response:
        body, names = await bodies.body_of(request, bodies.CHANGE), await self._resolved(request)
        match body.status:
            case "pause":
                info = await self._plane.pause(*names)
            case "resume":
                info = await self._plane.resume(*names)
            case "terminate":
                info = await self._plane.terminate(*names, rollback=body.rollback)
            case "restart":
                info = await self._plane.restart(*names, body.origin.step() if body.origin else None)
        return done({"id": info.id, "status": str(info.status), "timestamp": shapes.now()})

    async def _event(self, request: web.Request) -> web.Response:
        payload, names = await bodies.json_of(request), await self._resolved(request)
        await self._plane.send_event(*names, request.match_info["type"], payload)
        return done({"instanceId": names[1], "timestamp": shapes.now()})

    async def _skip(self, request: web.Request) -> web.Response:
        body, names = await bodies.body_of(request, bodies.SKIP), await self._resolved(request)
        begun = {(step.name, step.count) for step in await self._plane.steps(*names)}
        info = await self._plane.skip(*names, body.step, body.output, count=body.count)
        ahead = (body.step, body.count) not in begun
        return done({"id": info.id, "status": str(info.status), "timestamp": shapes.now(), "ahead": ahead})

    async def _step(self, request: web.Request) -> web.Response:
        query, names = bodies.query_of(request, bodies.STEP), await self._resolved(request)
        found = _step_named(await self._plane.steps(*names), query.name, query.type)
        if found is None or query.attempt > len(found.attempts):
            raise Refused(
                404,
                10404,
                f"instance {names[1]!r} has no such step or attempt as {query.name!r}; list its steps",
            )
        return done(shapes.step_output(found, query.attempt))

    async def _subscribe(self, request: web.Request) -> web.StreamResponse:
        return await self.streams.answer(request, self._plane, await self._plane.get(*names(request)))


def _name(request: web.Request) -> str:
    return request.match_info["workflow"]


def _step_named(steps: Sequence[StepInfo], name: str, kind: str) -> StepInfo | None:
    kinds = {"wait_for_event"} if kind == "waitForEvent" else {"do", "child"}
    return next((one for one in steps if one.type in kinds and f"{one.name}-{one.count}" == name), None)


def _info(query: bodies.PageQuery | bodies.ListQuery, count: int, total: int) -> dict[str, int]:
    return {"page": query.page, "per_page": query.per_page, "count": count, "total_count": total}
