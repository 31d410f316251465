"""The engine inside the collector: opened at start-up, its events published like everybody's."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from stagelight_plugins import hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

    import click
    from aiohttp import web

    from stagelight_plugins.engine.control_plane import LocalControlPlane
    from stagelight_plugins.engine.doors.relay import Relay
    from stagelight_plugins.engine.doors.streams import Streams
    from stagelight_plugins.engine.publishing import Publisher
    from stagelight_plugins.engine.reloading import Reloader
    from stagelight_plugins.engine.settings import EngineSettings
    from stagelight_plugins.hookspecs import Actions, Collector, Page, Receiver

NAME: Final = "engine"


class EnginePlugin:
    """One engine for each collector."""

    def __init__(self) -> None:
        self._parts: dict[int, tuple[LocalControlPlane, Publisher]] = {}
        self._doors: dict[int, tuple[Streams, Relay]] = {}
        self._reloaders: dict[int, Reloader] = {}

    def control_plane(self, collector: Collector) -> LocalControlPlane | None:
        """Return the engine of a collector; None before its start and after its end."""
        parts = self._parts.get(id(collector))
        return parts[0] if parts else None

    def _doors_of(self, collector: Collector) -> tuple[Streams, Relay]:
        from stagelight_plugins.engine.doors.relay import Relay  # noqa: PLC0415 - listing plugins must not load aiohttp
        from stagelight_plugins.engine.doors.streams import Streams  # noqa: PLC0415

        def knows(workflow: str) -> bool:
            plane = self.control_plane(collector)
            return plane is not None and plane.knows(workflow)

        return self._doors.setdefault(id(collector), (Streams(), Relay(knows=knows)))

    @hookimpl
    def register_routes(self, collector: Collector) -> Sequence[web.AbstractRouteDef]:
        """Return the routes of the public Workflows API, and those of the native one."""
        from stagelight_plugins.engine.doors.native import Native  # noqa: PLC0415 - listing plugins must not load aiohttp
        from stagelight_plugins.engine.doors.rest import Rest  # noqa: PLC0415

        find, (streams, relay) = partial(self.control_plane, collector), self._doors_of(collector)
        return [*Rest(find, streams, relay).routes(), *Native(find, streams, relay).routes(), *relay.routes()]

    @hookimpl
    def register_receivers(self, collector: Collector) -> Sequence[Receiver]:
        """Return the streams of events, so that they end before the port is closed."""
        return self._doors_of(collector)

    @hookimpl
    def register_commands(self, cli: click.Group) -> None:
        """Add `stagelight workflows`, `stagelight instances` and `stagelight worker`."""
        from stagelight_plugins.engine.doors.commands import instances, workflows  # noqa: PLC0415 - only the command line has click
        from stagelight_plugins.engine.doors.worker_command import worker  # noqa: PLC0415

        cli.add_command(worker)
        cli.add_command(workflows)
        cli.add_command(instances)

    @hookimpl
    def register_pages(self, collector: Collector) -> Sequence[Page]:
        """Return the entry of the page's navigation."""
        from stagelight_plugins.hookspecs import Page  # noqa: PLC0415 - only a collector needs it

        del collector
        return [Page(title="Workflows", href="#/workflows")]

    @hookimpl
    def register_actions(self, collector: Collector) -> Sequence[Actions]:
        """Return what an alert's links can do to instances."""
        from stagelight_plugins.engine.actions import InstanceActions  # noqa: PLC0415 - only a collector needs it

        return [InstanceActions(lambda: self.control_plane(collector))]

    @hookimpl
    async def startup(self, collector: Collector) -> None:
        """Open the engine, with the workflows that the setting `workflows` names."""
        from stagelight_plugins.engine.opening import open_control_plane  # noqa: PLC0415 - listing plugins must not load SQLite and its friends
        from stagelight_plugins.engine.publishing import Publisher  # noqa: PLC0415
        from stagelight_plugins.engine.settings import read  # noqa: PLC0415

        settings = read(collector.plugin_config(NAME))
        limits = settings.bounds()
        plane = await open_control_plane(collector.plugin_dir(NAME) / "engine.sqlite", limits=limits)
        publisher = Publisher(plane.house, collector.publish)
        self._parts[id(collector)] = (plane, publisher)
        await publisher.start()
        reloader = await _register(plane, settings)
        if reloader is not None:
            self._reloaders[id(collector)] = reloader

    @hookimpl
    async def shutdown(self, collector: Collector) -> None:
        """Stop what runs; it goes on after the next start."""
        self._doors.pop(id(collector), None)
        reloader = self._reloaders.pop(id(collector), None)
        if reloader is not None:
            await reloader.stop()
        parts = self._parts.pop(id(collector), None)
        if parts is not None:
            plane, publisher = parts
            await publisher.stop()
            await plane.close()


async def _register(plane: LocalControlPlane, settings: EngineSettings) -> Reloader | None:
    """Register the workflows that are set; return what loads them again, where that is asked for."""
    from stagelight_plugins.engine.errors import EngineError  # noqa: PLC0415
    from stagelight_plugins.engine.loading import WorkflowsUnusable, load  # noqa: PLC0415
    from stagelight_plugins.engine.reloading import Reloader  # noqa: PLC0415

    classes = load(settings.workflows)
    try:
        await plane.register(*classes)
    except EngineError as error:
        raise WorkflowsUnusable(", ".join(settings.workflows), str(error)) from error
    if not (settings.reload and classes):
        return None
    reloader = Reloader(plane, settings.workflows)
    reloader.start(classes)
    return reloader


plugin: Final = EnginePlugin()
