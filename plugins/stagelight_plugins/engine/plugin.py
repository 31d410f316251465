"""The engine inside the collector: opened at start-up, its events published like everybody's."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from stagelight_plugins import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import click
    from aiohttp import web

    from stagelight_plugins.engine.control_plane import LocalControlPlane
    from stagelight_plugins.engine.doors.streams import Streams
    from stagelight_plugins.engine.publishing import Publisher
    from stagelight_plugins.hookspecs import Actions, Collector, Receiver

NAME: Final = "engine"


class EnginePlugin:
    """One engine for each collector."""

    def __init__(self) -> None:
        self._parts: dict[int, tuple[LocalControlPlane, Publisher]] = {}
        self._streams: dict[int, Streams] = {}

    def control_plane(self, collector: Collector) -> LocalControlPlane | None:
        """Return the engine of a collector; None before its start and after its end."""
        parts = self._parts.get(id(collector))
        return parts[0] if parts else None

    def _streams_of(self, collector: Collector) -> Streams:
        from stagelight_plugins.engine.doors.streams import Streams  # noqa: PLC0415 - listing plugins must not load aiohttp

        return self._streams.setdefault(id(collector), Streams())

    @hookimpl
    def register_routes(self, collector: Collector) -> Sequence[web.AbstractRouteDef]:
        """Return the routes of the public Workflows API, and those of the native one."""
        from stagelight_plugins.engine.doors.native import Native  # noqa: PLC0415 - listing plugins must not load aiohttp
        from stagelight_plugins.engine.doors.rest import Rest  # noqa: PLC0415

        find, streams = partial(self.control_plane, collector), self._streams_of(collector)
        return [*Rest(find, streams).routes(), *Native(find, streams).routes()]

    @hookimpl
    def register_receivers(self, collector: Collector) -> Sequence[Receiver]:
        """Return the streams of events, so that they end before the port is closed."""
        return [self._streams_of(collector)]

    @hookimpl
    def register_commands(self, cli: click.Group) -> None:
        """Add `stagelight workflows` and `stagelight instances`."""
        from stagelight_plugins.engine.doors.commands import instances, workflows  # noqa: PLC0415 - only the command line has click

        cli.add_command(workflows)
        cli.add_command(instances)

    @hookimpl
    def register_actions(self, collector: Collector) -> Sequence[Actions]:
        """Return what an alert's links can do to instances."""
        from stagelight_plugins.engine.actions import InstanceActions  # noqa: PLC0415 - only a collector needs it

        return [InstanceActions(lambda: self.control_plane(collector))]

    @hookimpl
    async def startup(self, collector: Collector) -> None:
        """Open the engine, with the workflows that the setting `workflows` names."""
        from stagelight_plugins.engine.control_plane import open_control_plane  # noqa: PLC0415 - listing plugins must not load SQLite and its friends
        from stagelight_plugins.engine.publishing import Publisher  # noqa: PLC0415

        plane = await open_control_plane(collector.plugin_dir(NAME) / "engine.sqlite")
        publisher = Publisher(plane.house, collector.publish)
        self._parts[id(collector)] = (plane, publisher)
        await publisher.start()
        await _register(plane, collector.plugin_config(NAME))

    @hookimpl
    async def shutdown(self, collector: Collector) -> None:
        """Stop what runs; it goes on after the next start."""
        self._streams.pop(id(collector), None)
        parts = self._parts.pop(id(collector), None)
        if parts is not None:
            plane, publisher = parts
            await publisher.stop()
            await plane.close()


async def _register(plane: LocalControlPlane, settings: Mapping[str, Any]) -> None:
    from stagelight_plugins.engine.errors import EngineError  # noqa: PLC0415
    from stagelight_plugins.engine.loading import WorkflowsUnusable, load, sources_of  # noqa: PLC0415

    sources = sources_of(settings)
    try:
        await plane.register(*load(sources))
    except EngineError as error:
        raise WorkflowsUnusable(", ".join(sources), str(error)) from error


plugin: Final = EnginePlugin()
