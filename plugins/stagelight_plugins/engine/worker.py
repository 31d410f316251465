"""The worker: the engine in a process of its own, beside a collector that runs.

Its events travel to the collector as everybody's do, over OTLP, from where the collector acknowledged them last. It answers the
same API on a port of its own, and tells the collector of it, which hands on what is asked for its workflows.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp import web

from stagelight import conventions as c
from stagelight_plugins import garbage, stragglers
from stagelight_plugins.engine.doors.native import Native
from stagelight_plugins.engine.doors.relay import EVERY_SECONDS, WORKERS
from stagelight_plugins.engine.doors.rest import Rest
from stagelight_plugins.engine.doors.streams import Streams
from stagelight_plugins.engine.loading import load
from stagelight_plugins.engine.opening import open_control_plane
from stagelight_plugins.engine.publishing import SERVICE, Publisher
from stagelight_plugins.engine.reloading import Reloader
from stagelight_plugins.errors import PluginError
from stagelight_plugins.otlp import request_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from aiohttp.typedefs import Handler

    from stagelight.events import Event
    from stagelight_plugins.engine.control_plane import LocalControlPlane
    from stagelight_plugins.hookspecs import Table

HOST: Final = "127.0.0.1"
SECONDS: Final = 30.0
"""How long the collector may take to acknowledge events."""
_TYPE: Final = {"Content-Type": "application/x-protobuf"}

_log = logging.getLogger(__name__)


class WorkerRefused(PluginError):
    """The worker cannot start."""


class NotTaken(Exception):
    """The collector did not acknowledge events; they are sent again."""


@dataclass(slots=True)
class Sender:
    """Sends events to a collector over OTLP."""

    endpoint: str
    session: aiohttp.ClientSession

    async def publish(self, events: Sequence[Event], logs: Table) -> None:
        """Return when the collector has journaled them.

        Raises:
            NotTaken: It has not.
        """
        request = request_of(events)
        _add_sources(request, logs)
        try:
            async with self.session.post(
                f"{self.endpoint}/v1/logs", data=request.SerializeToString(), headers=_TYPE
            ) as answer:
                if answer.status != 200:
                    raise NotTaken(f"the collector at {self.endpoint} answered {answer.status}")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise NotTaken(f"no collector answers at {self.endpoint}") from error


def _add_sources(request: Any, logs: Table) -> None:
    """Add the code of workflows; which run is of which version the events say themselves."""
    names = logs.get("EventName", ())
    places = [place for place, name in enumerate(names) if name == c.SOURCE_EVENT]
    if not places:
        return
    resource_logs = request.resource_logs.add()
    service = resource_logs.resource.attributes.add()
    service.key, service.value.string_value = "service.name", SERVICE
    scope = resource_logs.scope_logs.add()
    scope.scope.name, scope.schema_url = c.SCOPE_NAME, c.SCHEMA_URL
    for place in places:
        record = scope.log_records.add()
        record.event_name = c.SOURCE_EVENT
        record.body.string_value = logs["Body"][place]
        for key, value in logs["LogAttributes"][place].items():
            pair = record.attributes.add()
            pair.key = key
            if isinstance(value, int):
                pair.value.int_value = value
            else:
                pair.value.string_value = value


@dataclass(slots=True, kw_only=True)
class Worker:
    """One worker. Use it as `async with AsyncExitStack() as stack: await worker.start(stack)`."""

    sources: Sequence[str]
    endpoint: str
    directory: Path
    port: int = 0
    reload: bool = False
    url: str = ""
    workflows: list[str] = field(default_factory=list[str])

    async def start(self, stack: AsyncExitStack) -> LocalControlPlane:
        """Start all; the stack stops it.

        Raises:
            PluginError: The port is taken, or workflows cannot be loaded.
            EngineError: The store cannot be opened, or a class cannot be used.
        """
        listening = stack.enter_context(self._bound())
        classes = load(self.sources)
        plane = await open_control_plane(self.directory / "engine.sqlite")
        stack.push_async_callback(plane.close)
        timeout = aiohttp.ClientTimeout(total=SECONDS)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout, trust_env=False))
        publisher = Publisher(plane.house, Sender(self.endpoint, session).publish)
        await publisher.start()
        stack.push_async_callback(publisher.stop)
        self.workflows = [info.name for info in await plane.register(*classes)]
        await self._serve(stack, plane, listening)
        if self.reload:
            reloader = Reloader(plane, self.sources)
            reloader.start(classes)
            stack.push_async_callback(reloader.stop)
        task = asyncio.get_running_loop().create_task(self._announce(session))
        stack.push_async_callback(_ended, task)
        return plane

    def _bound(self) -> socket.socket:
        found = socket.socket()
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind((HOST, self.port))
        except OSError as error:
            found.close()
            taken = error.errno == errno.EADDRINUSE
            why = (
                "is taken; name another with --port, 0 for a free one"
                if taken
                else f"cannot be used: {error}"
            )
            raise WorkerRefused(f"port {self.port} {why}") from error
        self.url = f"http://{HOST}:{found.getsockname()[1]}"
        return found

    async def _serve(self, stack: AsyncExitStack, plane: LocalControlPlane, listening: socket.socket) -> None:
        streams = Streams()
        app = web.Application(middlewares=[self._no_pages])
        app.add_routes([*Rest(lambda: plane, streams).routes(), *Native(lambda: plane, streams).routes()])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=3.0)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.SockSite(runner, listening).start()
        stack.push_async_callback(streams.stop)

    @web.middleware
    async def _no_pages(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse what a web page has sent, or what was meant for another name: no page belongs to this port."""
        site = request.headers.get("Sec-Fetch-Site", "none")
        port = self.url.rpartition(":")[2]
        if "Origin" in request.headers or site != "none":
            return web.json_response(
                {"detail": "Open the collector's page: pages have no access here"}, status=403
            )
        if request.headers.get("Host", "") not in {f"{HOST}:{port}", f"localhost:{port}"}:
            return web.json_response({"detail": f"Use the address {self.url}"}, status=421)
        return await handler(request)

    async def _announce(self, session: aiohttp.ClientSession) -> None:
        """Tell the collector again and again where this worker is."""
        body = {"url": self.url, "workflows": self.workflows}
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with session.post(f"{self.endpoint}{WORKERS}", json=body) as answer:
                    await answer.read()
            await asyncio.sleep(EVERY_SECONDS)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


async def serve(worker: Worker, say: Any) -> bool:
    """Run a worker until Ctrl-C or SIGTERM; return whether all that it ran has ended, too."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        await worker.start(stack)
        garbage.quieten()
        say(worker)
        await stop.wait()
    return not await stragglers.remain()
