"""Plugins start in order, stop in the reverse order, and are named when they are at fault."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from stagelight_collector import hosting
from stagelight_collector.hosting import PluginHost
from stagelight_plugins import hookimpl
from stagelight_plugins.errors import BrokenPlugin
from stagelight_plugins.hookspecs import Page
from stagelight_plugins.manager import BUILT_IN, PluginInfo, Plugins

if TYPE_CHECKING:
    from collections.abc import Callable

    from stagelight_plugins.hookspecs import Batch


NO_BUILT_INS = [module.rpartition(".")[2] for module in BUILT_IN]


class Hosted(Plugins):
    """Plugins that pass for third-party ones."""

    def infos(self) -> list[PluginInfo]:
        return []


def plugin(**hooks: Callable[..., Any]) -> SimpleNamespace:
    return SimpleNamespace(**{name: hookimpl(function) for name, function in hooks.items()})


def host(*plugins: tuple[str, object]) -> PluginHost:
    collector: Any = SimpleNamespace(url="http://127.0.0.1:1")
    return PluginHost(Hosted(plugins, block=NO_BUILT_INS), collector)


def recorder(name: str, log: list[str]) -> tuple[str, object]:
    async def startup() -> None:
        log.append(f"{name} up")

    def shutdown() -> None:
        log.append(f"{name} down")

    return name, plugin(startup=startup, shutdown=shutdown)


async def test_plugins_stop_in_the_reverse_order() -> None:
    log: list[str] = []
    async with AsyncExitStack() as stack:
        await host(recorder("a", log), recorder("b", log)).start(stack)
    started = log[:2]

    assert log[2:] == [line.replace("up", "down") for line in reversed(started)]


async def test_a_plugin_that_fails_to_start_is_named_and_the_others_are_shut_down() -> None:
    def startup() -> None:
        raise OSError("no port")

    log: list[str] = []
    with pytest.raises(BrokenPlugin, match=r"'bad' cannot be used: its startup raised OSError: no port"):
        async with AsyncExitStack() as stack:
            await host(("bad", plugin(startup=startup, shutdown=lambda: log.append("bad down")))).start(stack)

    assert log == ["bad down"]


async def test_plugins_to_which_a_start_never_came_are_shut_down_once() -> None:
    def startup() -> None:
        raise OSError("no port")

    log: list[str] = []
    hosted = host(
        recorder("early", log),
        ("bad", plugin(startup=startup, shutdown=lambda: log.append("bad down"))),
        recorder("late", log),
    )
    stack = AsyncExitStack()
    stack.push_async_callback(hosted.abandon)
    with pytest.raises(BrokenPlugin):
        await hosted.start(stack)
    await stack.aclose()

    assert log == ["early up", "bad down", "early down", "late down"]


async def test_a_plugin_that_hangs_at_the_stop_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def shutdown() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(hosting, "STOP_SECONDS", 0.01)
    log: list[str] = []
    async with AsyncExitStack() as stack:
        await host(recorder("good", log), ("hangs", plugin(shutdown=shutdown))).start(stack)

    assert log == ["good up", "good down"]
    assert "plugin hangs did not stop" in caplog.text


@pytest.mark.parametrize("answer", [None, 3, [object()], ["x"]])
def test_what_is_no_sink_is_refused_by_name(answer: Any) -> None:
    with pytest.raises(BrokenPlugin, match="'odd' cannot be used: register_sinks returned"):
        host(("odd", plugin(register_sinks=lambda: answer))).sinks()


class Named:
    """A sink."""

    name = "same"

    async def write(self, batch: Batch) -> None:
        del batch


def test_two_sinks_of_one_name_are_refused() -> None:
    hosted = host(*((name, plugin(register_sinks=lambda: [Named()])) for name in "ab"))
    with pytest.raises(BrokenPlugin, match="there is another sink of the name 'same'"):
        hosted.sinks()


@pytest.mark.parametrize("hook", ["register_sinks", "startup"])
async def test_a_hook_that_exits_is_an_error_of_its_plugin(hook: str) -> None:
    def leave() -> None:
        raise SystemExit(3)

    async def begin() -> None:
        hosted = host(("a", plugin(**{hook: leave})))
        async with AsyncExitStack() as stack:
            hosted.sinks()
            await hosted.start(stack)

    with pytest.raises(
        BrokenPlugin, match=r"raised SystemExit: 3; mend it, or do without it: `plugins.block"
    ):
        await begin()


def test_a_route_outside_the_plugins_own_path_is_refused() -> None:
    async def show(request: web.Request) -> web.Response:
        return web.Response(text=request.path)

    inside = host(("mine", plugin(register_routes=lambda: [web.get("/-/mine/x", show)])))
    outside = host(("mine", plugin(register_routes=lambda: [web.get("/api/v1/mine", show)])))

    assert len(inside.routes()) == 1
    with pytest.raises(BrokenPlugin, match=r"'/api/v1/mine' is not below /-/mine/"):
        outside.routes()


def test_a_route_that_two_plugins_claim_is_refused() -> None:
    async def show(request: web.Request) -> web.Response:
        return web.Response(text=request.path)

    class BuiltIn(Plugins):
        def infos(self) -> list[PluginInfo]:
            return [PluginInfo(name=name, kind="built-in") for name in ("one", "two")]

    def claims(name: str) -> tuple[str, object]:
        return name, plugin(register_routes=lambda: [web.get("/workflow", show)])

    collector: Any = SimpleNamespace(url="http://127.0.0.1:1")
    with pytest.raises(BrokenPlugin, match=r"'two' .* GET '/workflow' is one of plugin 'one' already"):
        PluginHost(BuiltIn([claims("one"), claims("two")], block=NO_BUILT_INS), collector).routes()


async def test_receivers_are_started_and_stopped() -> None:
    log: list[str] = []

    class Port:
        async def start(self) -> None:
            log.append("start")

        async def stop(self) -> None:
            log.append("stop")

    async with AsyncExitStack() as stack:
        await host(("port", plugin(register_receivers=lambda: [Port()]))).receive(stack)

    assert log == ["start", "stop"]


def test_pages_are_collected() -> None:
    page = Page(title="Alerts", href="-/alerting/")

    assert host(("alerts", plugin(register_pages=lambda: [page]))).pages() == [page]
