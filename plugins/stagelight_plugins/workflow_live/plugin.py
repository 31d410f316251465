"""The plugin's parts in a collector: one set for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stagelight_plugins import hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from stagelight_plugins.hookspecs import Collector, Receiver
    from stagelight_plugins.workflow_live.routes import Routes

NAME: Final = "workflow_live"


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
        from stagelight_plugins.workflow_live.monitor import Monitor  # noqa: PLC0415 - only a collector needs what follows
        from stagelight_plugins.workflow_live.rooms import Rooms  # noqa: PLC0415
        from stagelight_plugins.workflow_live.routes import Routes, encode  # noqa: PLC0415
        from stagelight_plugins.workflow_live.store import Store  # noqa: PLC0415

        parts = self._parts.get(id(collector))
        if parts is None:
            monitor = Monitor()
            store = Store(collector.plugin_dir(NAME) / "workflows.sqlite")
            for workflow in store.load():
                monitor.keep(workflow, encode(workflow.to_json()))
            rooms = Rooms(lambda room: monitor.get(room) is not None)
            parts = self._parts[id(collector)] = Routes(collector, monitor, store, rooms)
        return parts
