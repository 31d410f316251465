"""Workflow Live: the routes, rooms and messages of the article, on top of Stagelight's runs.

What speaks Workflow Live's protocol works unchanged, and each of its workflows is an ordinary run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stagelight_plugins import hookimpl
from stagelight_plugins.workflow_live.monitor import Monitor
from stagelight_plugins.workflow_live.rooms import Rooms
from stagelight_plugins.workflow_live.routes import Routes, encode
from stagelight_plugins.workflow_live.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from stagelight_plugins.hookspecs import Collector, Receiver

NAME = "workflow_live"


class WorkflowLive:
    """The plugin: one set of parts for each collector."""

    def __init__(self) -> None:
        self._parts: dict[int, Routes] = {}

    @hookimpl
    def register_receivers(self, collector: Collector) -> Sequence[Receiver]:
        """Return the rooms, so that their sockets are closed before the port."""
        return [self._of(collector).rooms]

    @hookimpl
    def register_routes(self, collector: Collector) -> Sequence[web.AbstractRouteDef]:
        """Return the routes."""
        return self._of(collector).routes()

    @hookimpl
    def shutdown(self, collector: Collector) -> None:
        """Close the store."""
        parts = self._parts.pop(id(collector), None)
        if parts is not None:
            parts.store.close()

    def _of(self, collector: Collector) -> Routes:
        parts = self._parts.get(id(collector))
        if parts is None:
            monitor = Monitor()
            store = Store(collector.plugin_dir(NAME) / "workflows.sqlite")
            for workflow in store.load():
                monitor.keep(workflow, encode(workflow.to_json()))
            rooms = Rooms(lambda room: monitor.get(room) is not None)
            parts = self._parts[id(collector)] = Routes(collector, monitor, store, rooms)
        return parts


plugin = WorkflowLive()
register_receivers = plugin.register_receivers
register_routes = plugin.register_routes
shutdown = plugin.shutdown
