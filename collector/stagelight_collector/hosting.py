"""Plugins while they run: what they hand over is checked, started in order, and stopped in the reverse order.

A plugin that gives something unusable, or fails at start-up, stops the start with its name. One that fails or hangs
at a stop is logged and left behind.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from stagelight_collector.sinks import SinkRunner
from stagelight_plugins.errors import BrokenPlugin, PluginError
from stagelight_plugins.hookspecs import Page, Receiver, Sink

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AsyncExitStack

    from stagelight_plugins.hookspecs import Collector
    from stagelight_plugins.manager import Plugins

START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 5.0
"""How long one plugin may take to start, and to stop."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class PluginHost:
    """Calls the hooks for one collector."""

    plugins: Plugins
    collector: Collector
    _seen_to: set[str] = field(default_factory=set[str], init=False)
    """Plugins whose `shutdown` is on the stack."""

    def sinks(self) -> list[SinkRunner]:
        """Return a runner for every sink; what is counted of them is told apart by their names."""
        runners: dict[str, SinkRunner] = {}
        for plugin, sink in self._registered("register_sinks", Sink):
            if sink.name in runners:
                raise BrokenPlugin(plugin, f"there is another sink of the name {sink.name!r}")
            runners[sink.name] = SinkRunner(sink)
        return list(runners.values())

    def pages(self) -> list[Page]:
        """Return the entries of the page's navigation."""
        return [page for _, page in self._registered("register_pages", Page)]

    def routes(self) -> list[web.AbstractRouteDef]:
        """Return all routes, of which no two answer the same; those of third-party plugins lie below `/-/<plugin>/`."""
        found = self._registered("register_routes", web.AbstractRouteDef)
        ours = {info.name for info in self.plugins.infos() if info.kind != "third-party"}
        taken: dict[tuple[str, str], str] = {}
        for name, route in found:
            path, method = getattr(route, "path", getattr(route, "prefix", "")), getattr(route, "method", "")
            if name not in ours and not path.startswith(f"/-/{name}/"):
                raise BrokenPlugin(name, f"its route {path!r} is not below /-/{name}/")
            if (other := taken.setdefault((method, path), name)) != name:
                raise BrokenPlugin(name, f"its route {method} {path!r} is one of plugin {other!r} already")
        return [route for _, route in found]

    async def start(self, stack: AsyncExitStack) -> None:
        """Run `startup` of every plugin; its `shutdown` follows at the end of the stack, also where this fails."""
        shutdowns, startups = self._calls("shutdown"), self._calls("startup")
        for name in dict.fromkeys([*startups, *shutdowns]):
            if name in shutdowns:
                stack.push_async_callback(self._stop, name, shutdowns[name])
                self._seen_to.add(name)
            if name in startups:
                await self._within(name, "startup", startups[name], START_SECONDS)

    async def abandon(self) -> None:
        """Run `shutdown` of those plugins to whose `startup` the start never came: their sinks may have opened files."""
        for name, call in reversed(self._calls("shutdown").items()):
            if name not in self._seen_to:
                await self._stop(name, call)

    async def receive(self, stack: AsyncExitStack) -> None:
        """Start the plugins' receivers; they are stopped at the end of the stack."""
        for name, receiver in self._registered("register_receivers", Receiver):
            stack.push_async_callback(self._stop, name, receiver.stop)
            await self._within(name, "receiver", receiver.start, START_SECONDS)

    def _calls(self, hook: str) -> dict[str, Callable[[], Any]]:
        return {
            name: partial(call, collector=self.collector) for name, call in self.plugins.implementations(hook)
        }

    def _registered(self, hook: str, kind: type[Any]) -> list[tuple[str, Any]]:
        found: list[tuple[str, Any]] = []
        for name, answer in self.plugins.call(hook, collector=self.collector):
            if not hasattr(answer, "__iter__"):
                raise BrokenPlugin(
                    name, f"{hook} returned {answer!r}, not a list; it must not be `async` either"
                )
            for item in answer:
                if not isinstance(item, kind):
                    raise BrokenPlugin(name, f"{hook} returned {item!r}, which is no {kind.__name__}")
                found.append((name, item))
        return found

    async def _within(self, name: str, what: str, call: Callable[[], Any], seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                answer = call()
                if inspect.isawaitable(answer):
                    await answer
        except TimeoutError as error:
            raise BrokenPlugin(name, f"its {what} took more than {seconds:g} s") from error
        except PluginError:
            raise
        except (Exception, SystemExit) as error:
            raise BrokenPlugin(name, f"its {what} raised {type(error).__name__}: {error}") from error

    async def _stop(self, name: str, call: Callable[[], Any]) -> None:
        try:
            await self._within(name, "shutdown", call, STOP_SECONDS)
        except PluginError as error:
            _log.error("plugin %s did not stop: %s", name, getattr(error, "reason", error))
