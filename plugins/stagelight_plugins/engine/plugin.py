"""The engine inside the collector: opened at start-up, its events published like everybody's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stagelight_plugins import hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stagelight_plugins.engine.control_plane import LocalControlPlane
    from stagelight_plugins.engine.publishing import Publisher
    from stagelight_plugins.hookspecs import Actions, Collector

NAME: Final = "engine"


class EnginePlugin:
    """One engine for each collector."""

    def __init__(self) -> None:
        self._parts: dict[int, tuple[LocalControlPlane, Publisher]] = {}

    def control_plane(self, collector: Collector) -> LocalControlPlane | None:
        """Return the engine of a collector; None before its start and after its end."""
        parts = self._parts.get(id(collector))
        return parts[0] if parts else None

    @hookimpl
    def register_actions(self, collector: Collector) -> Sequence[Actions]:
        """Return what an alert's links can do to instances."""
        from stagelight_plugins.engine.actions import InstanceActions  # noqa: PLC0415 - only a collector needs it

        return [InstanceActions(lambda: self.control_plane(collector))]

    @hookimpl
    async def startup(self, collector: Collector) -> None:
        """Open the engine."""
        from stagelight_plugins.engine.control_plane import open_control_plane  # noqa: PLC0415 - listing plugins must not load SQLite and its friends
        from stagelight_plugins.engine.publishing import Publisher  # noqa: PLC0415

        plane = await open_control_plane(collector.plugin_dir(NAME) / "engine.sqlite")
        publisher = Publisher(plane.house, collector.publish)
        self._parts[id(collector)] = (plane, publisher)
        await publisher.start()

    @hookimpl
    async def shutdown(self, collector: Collector) -> None:
        """Stop what runs; it goes on after the next start."""
        parts = self._parts.pop(id(collector), None)
        if parts is not None:
            plane, publisher = parts
            await publisher.stop()
            await plane.close()


plugin: Final = EnginePlugin()
