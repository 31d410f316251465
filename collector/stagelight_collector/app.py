"""The collector as one object: every part started in order, and stopped in the reverse order."""

from __future__ import annotations

import asyncio
import errno
import logging
import secrets
import socket
import tempfile
import time
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

from aiohttp import web

from stagelight_collector import receivers, security
from stagelight_collector.api import openapi, problem
from stagelight_collector.api.history import HistoryApi
from stagelight_collector.api.runs import RunsApi, pages_routes, record_view
from stagelight_collector.api.sql import SqlApi
from stagelight_collector.api.statistics import StatisticsApi
from stagelight_collector.api.transfer import TransferApi
from stagelight_collector.archive import Archive
from stagelight_collector.attribution import Attribution
from stagelight_collector.bus.address import open_bus
from stagelight_collector.clickhouse import ClickHouseInterface
from stagelight_collector.core import RoutesPlugin
from stagelight_collector.errors import ClickHousePortUnusable, DataDirUnusable, PortRefused, PortTaken
from stagelight_collector.feed.sse import Feed
from stagelight_collector.feed.ws import SocketFeed
from stagelight_collector.health import Health
from stagelight_collector.history import Retention, RunFilter, open_history
from stagelight_collector.hosting import PluginHost
from stagelight_collector.journal import Journal, JournalFull, JournalUnavailable
from stagelight_collector.page import Page
from stagelight_collector.past import Past
from stagelight_collector.pipeline import Pipeline, decode
from stagelight_collector.retention import Keeper
from stagelight_collector.rooms.hub import Hub
from stagelight_collector.rooms.limits import HubLimits
from stagelight_collector.tasks import again_and_again, task
from stagelight_plugins.errors import NotAccepted
from stagelight_plugins.manager import Plugins

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from stagelight.events import Event
    from stagelight_collector.bus.contract import Bus
    from stagelight_collector.config import Settings
    from stagelight_collector.decode import Request
    from stagelight_collector.history import History
    from stagelight_collector.journal import Signal
    from stagelight_plugins.hookspecs import Page as PageEntry, QueryResult, Table

STOP_SECONDS: Final = 8.0
"""How long a stop may take in all; what has not reached history by then stays in the journal."""
LEAST_SECONDS: Final = 0.5
"""What is left to each part of a stop when the others took all of it."""
FLUSH_SECONDS: Final = 0.25
"""How often the lobby learns of details, and rooms are completed from history."""
LOOK_SECONDS: Final = 1.0
"""How often each viewer's connection is looked after."""
IDLE_SECONDS: Final = 5.0
"""How often idle rooms are looked for."""
SHUTDOWN_SECONDS: Final = 3.0
"""How long requests under way may take to finish at a stop."""
SINK_SECONDS: Final = 3.0
"""How long each plugin's sink may take to finish at a stop."""
REMEMBER_NS: Final = 24 * 3600 * 1_000_000_000
"""How far back traces are remembered after a restart."""
TRACES: Final = 50_000

_log = logging.getLogger(__name__)


class Collector:
    """A collector. Use it as an async context manager, or `start` and `stop` it (both safe twice)."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.url = ""
        self.grpc = ""
        """Where OTLP over gRPC is received, or why it is not, in words."""
        self._stack = AsyncExitStack()
        self._started = False
        self.plugins: Plugins
        self.pipeline: Pipeline
        self.health: Health
        self.pages: Sequence[PageEntry] = ()
        self.clickhouse: ClickHouseInterface | None = None
        self._deadline: float | None = None
        self._listed = 0
        """The hub's doubts when the lobby was last filled from history."""
        self.left_behind = False
        """Whether something did not stop in time and may keep the process from ending by itself."""
        self._history: History
        self._host: PluginHost
        self._keeper: Keeper
        self._receiver: receivers.Receiver
        self._socket: socket.socket

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    def plugin_config(self, name: str) -> Mapping[str, Any]:
        """Return the table `[plugins.<name>]`."""
        return self.settings.plugin_table(name)

    def plugin_dir(self, name: str) -> Path:
        """Return the directory of a plugin's own files, made if need be."""
        path = self.settings.data_dir / "plugins" / name
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path

    async def accept(self, events: Sequence[Event]) -> None:
        """Journal events that were born here, then hand them on like everybody's."""
        try:
            await self.pipeline.accept(events)
        except (JournalFull, JournalUnavailable) as error:
            raise NotAccepted(str(error)) from error

    async def publish(self, events: Sequence[Event], logs: Table | None = None) -> None:
        """Hand events to every sink; return when history has them."""
        await self.pipeline.publish(events, logs)

    async def query(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        seconds: float = 10.0,
        rows: int = 10_000,
    ) -> QueryResult:
        """Ask history in SQL that only reads."""
        return await self._history.query(sql, parameters, seconds=seconds, rows=rows)

    def gather(self, hook: str) -> Sequence[tuple[str, Any]]:
        """Ask all plugins for what a hook of theirs hands over."""
        return self.plugins.call(hook, collector=self)

    async def start(self) -> None:
        """Start everything; on a failure, stop what was started and raise."""
        if self._started:
            return
        async with AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()
            self._started = True

    async def stop(self) -> None:
        """Stop accepting, finish what was accepted, close everything: within about `STOP_SECONDS`."""
        await self._stack.aclose()
        self._deadline = None
        self._started = False

    async def _start(self, stack: AsyncExitStack) -> None:
        self._bind(stack)
        journal, history = await self._stores(stack)
        self._history = history
        bus = await self._open_bus(stack, lambda: journal.committed)
        core = self._assemble(journal, history, bus)
        settings = self.settings
        self.plugins = Plugins(core, load=settings.plugin_names("load"), block=settings.plugin_names("block"))
        self._host = PluginHost(self.plugins, self)
        stack.push_async_callback(self._host.abandon)
        self.pages = self._host.pages()
        self.pipeline.sinks = self.health.sinks = self._host.sinks()
        await bus.subscribe(self.pipeline.hub)
        await self._remember(history)
        await self._run_archive(stack)
        await self._host.start(stack)
        await self._feed_sinks(stack)
        replayed = await self.pipeline.replay()
        if replayed:
            _log.info("%d journal entries from before the restart were read again", replayed)
        await bus.doubt()  # the last process may have ended between history and the bus
        await self._run_pipeline(stack)
        await self._serve(stack)
        await self._open_to_clients(stack, history)
        await self._host.receive(stack)

    def _bind(self, stack: AsyncExitStack) -> None:
        """Take the port before anything else is opened; connections are accepted when all is ready."""
        host, port = self.settings.host, self.settings.port
        security.check_bind(host)
        if self.settings.clickhouse_port is not None and not self.settings.history_dsn.startswith("chdb:"):
            raise ClickHousePortUnusable(
                self.settings.clickhouse_port, "history is on a server; point clients at that server"
            )
        try:
            found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
            self._socket = stack.enter_context(socket.socket(*found[:3]))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(found[4])
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTaken(host, port) from error
            raise PortRefused(host, port, error.strerror or str(error)) from error
        port = self._socket.getsockname()[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"

    async def _stores(self, stack: AsyncExitStack) -> tuple[Journal, History]:
        settings = self.settings
        try:
            settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryFile(dir=settings.data_dir):
                pass
        except OSError as error:
            raise DataDirUnusable(settings.data_dir, error.strerror or str(error)) from error
        journal = Journal(settings.data_dir / "journal.sqlite", capacity_bytes=settings.limits.journal_bytes)
        await journal.open()
        stack.push_async_callback(journal.close)
        history = await open_history(settings.history_dsn, data_dir=settings.data_dir)
        # Its threads cannot be stopped in a query; one that hangs is left to the end of the process.
        stack.push_async_callback(self._bounded, history.close, "closing history")
        return journal, history

    async def _open_bus(self, stack: AsyncExitStack, kept: Callable[[], int]) -> Bus:
        bus = await open_bus(self.settings.bus, name=secrets.token_hex(4), kept=kept)
        stack.push_async_callback(self._bounded, bus.close, "handing over to the bus")
        if self.settings.bus and self.settings.history_dsn.startswith("chdb:"):
            _log.warning(
                "this collector has a bus and a history of its own: others see its runs live, but not what it keeps; "
                "give all of them one ClickHouse with --history"
            )
        return bus

    def _assemble(self, journal: Journal, history: History, bus: Bus) -> list[tuple[str, object]]:
        """Make the parts; return those that give routes, as plugins."""
        hub = self._hub(Past(history, bus), lambda: journal.committed)
        attribution, counters = Attribution(), receivers.ReceiverCounters()
        self._receiver = receivers.Receiver(self._ingest, self._receiver_limits(), counters)
        decoding = partial(decode, redact=self.settings.redact)
        archive = Archive(
            journal=journal,
            history=history,
            attribution=attribution,
            decode=decoding,
            aside=self.settings.data_dir / "refused",
        )
        self._keeper = Keeper(history, Retention(**self.settings.retention.model_dump()))
        self.pipeline = Pipeline(journal, hub, attribution, archive, bus, decode=decoding)
        self.health = Health(
            journal=journal,
            hub=hub,
            bus=bus,
            pipeline=self.pipeline,
            archive=archive,
            receiver=counters,
            sinks=[],
        )
        return [
            ("receiver", RoutesPlugin(self._receiver.routes)),
            ("api", RoutesPlugin(lambda: [*RunsApi(hub, history).routes(), *self._pages_routes()])),
            ("history", RoutesPlugin(HistoryApi(hub, bus, archive, self._keeper).routes)),
            ("statistics", RoutesPlugin(StatisticsApi(history).routes)),
            ("sql", RoutesPlugin(SqlApi(history).routes)),
            ("openapi", RoutesPlugin(openapi.routes)),
            ("transfer", RoutesPlugin(TransferApi(self.pipeline).routes)),
            ("feed", RoutesPlugin(lambda: [*Feed(hub).routes(), *SocketFeed(hub).routes()])),
            ("health", RoutesPlugin(self.health.routes)),
            ("page", RoutesPlugin(Page().routes)),
        ]

    def _pages_routes(self) -> Sequence[web.AbstractRouteDef]:
        return pages_routes(self.pages, self.settings.grafana_url)

    def _hub(self, past: Past, kept: Callable[[], int]) -> Hub:
        limits = self.settings.limits
        bounds = HubLimits(rooms=limits.rooms, steps=limits.steps, lobby=limits.lobby, viewers=limits.viewers)
        return Hub(past, "", bounds, kept=kept, recall=past.bus.snapshot)

    def _receiver_limits(self) -> receivers.Limits:
        limits = self.settings.limits
        return receivers.Limits(body_bytes=limits.body_bytes, requests=limits.requests)

    async def _ingest(self, signal: Signal, body: bytes, request: Request) -> None:
        await self.pipeline.ingest(signal, body, request)

    # --- the parts that run -------------------------------------------------------------------------------------

    async def _feed_sinks(self, stack: AsyncExitStack) -> None:
        for runner in self.pipeline.sinks:
            await task(stack, runner.run(), f"sink-{runner.sink.name}")
            stack.push_async_callback(runner.drain, SINK_SECONDS)

    async def _remember(self, history: History) -> None:
        """Take up where the last process stopped: the lobby's list, and which run a trace is."""
        await self._list(history)
        traces = await history.trace_runs(time.time_ns() - REMEMBER_NS, TRACES)
        for trace_id, run_id in traces.items():
            self.pipeline.attribution.learn(trace_id, run_id)

    async def _list(self, history: History) -> None:
        page = await history.list_runs(RunFilter(), None, self.settings.limits.lobby)
        self.pipeline.hub.enlist(record_view(record) for record in page.items)
        self._listed = self.pipeline.hub.doubts

    async def _run_archive(self, stack: AsyncExitStack) -> None:
        archive = self.pipeline.archive
        await task(stack, archive.run(), "archive")
        stack.push_async_callback(self._bounded, archive.drain, "handing over to history")

    async def _run_pipeline(self, stack: AsyncExitStack) -> None:
        await task(stack, self.pipeline.run(), "pipeline")
        stack.push_async_callback(self._bounded, self.pipeline.drain, "decoding")
        await task(stack, self._keeper.run(), "retention")
        await task(stack, again_and_again(self._tidy, FLUSH_SECONDS), "housekeeping")
        await task(stack, again_and_again(self.pipeline.hub.look_after, LOOK_SECONDS), "viewers")
        await task(stack, again_and_again(self.pipeline.hub.warm, FLUSH_SECONDS), "warming")
        await task(stack, again_and_again(self.pipeline.hub.eviction.close_idle, IDLE_SECONDS), "idle-rooms")

    async def _tidy(self) -> None:
        self.pipeline.hub.flush()
        await self.pipeline.expire()
        if self._listed != self.pipeline.hub.doubts:
            await self._list(self._history)

    async def _serve(self, stack: AsyncExitStack) -> None:
        runner = web.AppRunner(
            self._application(),
            handle_signals=False,
            shutdown_timeout=SHUTDOWN_SECONDS,
            access_log=None,
            **receivers.RUNNER_OPTIONS,
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.SockSite(runner, self._socket).start()
        grpc = receivers.GrpcServer(self._receiver)
        stack.push_async_callback(grpc.stop, SHUTDOWN_SECONDS)
        self.grpc = await grpc.offer(self.settings.host, self.settings.port, self.settings.grpc_port)
        stack.callback(self.pipeline.hub.close)

    async def _open_to_clients(self, stack: AsyncExitStack, history: History) -> None:
        """Let clients of ClickHouse read the embedded history, where that was asked for."""
        port = self.settings.clickhouse_port
        if port is not None:
            self.clickhouse = ClickHouseInterface(history, self.settings.host, port, self._policy())
            stack.push_async_callback(self.clickhouse.stop)
            await self.clickhouse.start()

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[problem.middleware])
        security.install(app, self._policy())
        app.add_routes(self._host.routes())
        return app

    def _policy(self) -> security.Policy:
        hosts = security.LOOPBACK_HOSTS | set(self.settings.allowed_hosts)
        origins = frozenset(origin.lower().rstrip("/") for origin in self.settings.allowed_origins)
        return security.Policy(hosts, origins)

    async def _bounded(self, work: Callable[[], Awaitable[None]], what: str) -> None:
        """Do a part of the stop within what is left of its time; the rest of the stop goes on whatever happens."""
        now = time.monotonic()
        self._deadline = self._deadline or now + STOP_SECONDS
        seconds = max(LEAST_SECONDS, self._deadline - now)
        try:
            async with asyncio.timeout(seconds):
                await work()
        except TimeoutError:
            self.left_behind = True
            _log.warning("%s did not finish in time; the journal keeps the rest for the next start", what)
        except Exception:  # noqa: BLE001 - as above
            _log.exception("%s failed; the journal keeps the rest for the next start", what)

    # --- for the demo and tests ---------------------------------------------------------------------------------

    def runs(self) -> list[dict[str, Any]]:
        """Return the lobby's list, newest first, in the API's shape."""
        return self.pipeline.hub.lobby.runs()

    async def settle(self) -> None:
        """Return when everything accepted so far is in the rooms and the lobby."""
        await self.pipeline.drain()
        self.pipeline.hub.flush()
