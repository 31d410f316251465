"""Alerting: the right person hears of a failure once, and hears when it is over. Configured in `[alerting]`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stagelight_plugins import hookimpl
from stagelight_plugins.alerting.commands import alerts

if TYPE_CHECKING:
    from collections.abc import Sequence

    import click
    from aiohttp import web

    from stagelight_plugins.alerting.delivery.guarded import Caller
    from stagelight_plugins.alerting.notifiers.through_apprise import AppriseNotifier
    from stagelight_plugins.alerting.service import Service
    from stagelight_plugins.hookspecs import Collector, Page, Sink


class Alerting:
    """The plugin: one service for each collector."""

    def __init__(self) -> None:
        self._parts: dict[int, tuple[Service, list[Caller | AppriseNotifier]]] = {}

    @hookimpl
    def register_commands(self, cli: click.Group) -> None:
        """Add `stagelight alerts`."""
        cli.add_command(alerts)

    @hookimpl
    def register_sinks(self, collector: Collector) -> Sequence[Sink]:
        """Return the service; this is also where wrong settings stop the start."""
        return [self._of(collector)]

    @hookimpl
    def register_pages(self, collector: Collector) -> Sequence[Page]:
        """Return the entry of the page's navigation."""
        from stagelight_plugins.hookspecs import Page  # noqa: PLC0415 - only a collector needs it

        del collector
        return [Page(title="Alerts", href="#/alerts")]

    @hookimpl
    def register_routes(self, collector: Collector) -> Sequence[web.AbstractRouteDef]:
        """Return the routes."""
        from stagelight_plugins.alerting.confirmation import Confirmation  # noqa: PLC0415 - only a collector needs it
        from stagelight_plugins.alerting.routes import Routes  # noqa: PLC0415 - as above
        from stagelight_plugins.alerting.rule_routes import RuleRoutes  # noqa: PLC0415 - as above

        service = self._of(collector)
        return [each for part in (Routes, RuleRoutes, Confirmation) for each in part(service).routes()]

    @hookimpl
    async def startup(self, collector: Collector) -> None:
        """Take up where the last process stopped."""
        await self._of(collector).start()

    @hookimpl
    async def shutdown(self, collector: Collector) -> None:
        """Write down what is known; what was not delivered is delivered after the next start."""
        parts = self._parts.pop(id(collector), None)
        if parts is not None:
            service, callers = parts
            await service.stop()
            for caller in callers:
                await caller.close()

    def _of(self, collector: Collector) -> Service:
        if id(collector) not in self._parts:
            from stagelight_plugins.alerting.building import build  # noqa: PLC0415 - only a collector needs it

            self._parts[id(collector)] = build(collector)
        return self._parts[id(collector)][0]


plugin = Alerting()
register_commands = plugin.register_commands
register_sinks = plugin.register_sinks
register_pages = plugin.register_pages
register_routes = plugin.register_routes
startup = plugin.startup
shutdown = plugin.shutdown
