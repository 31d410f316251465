"""The plugin's parts in a collector: one set for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from stagelight_plugins.diagram.artist import Artist
    from stagelight_plugins.diagram.store import Store
    from stagelight_plugins.hookspecs import Collector, Sink

NAME: Final = "diagram"


@dataclass(slots=True)
class Parts:
    """What one collector has of the plugin."""

    store: Store
    artist: Artist


class Diagrams:
    """Hands the collector what it needs. What is imported for it is imported here: the child needs none of it."""

    def __init__(self) -> None:
        self._parts: dict[int, Parts] = {}

    def sinks(self, collector: Collector) -> Sequence[Sink]:
        """Return the inbox."""
        from stagelight_plugins.diagram.inbox import Inbox  # noqa: PLC0415 - see above

        parts = self._of(collector)
        return [Inbox(parts.store, parts.artist)]

    def routes(self, collector: Collector) -> Sequence[web.AbstractRouteDef]:
        """Return the routes."""
        from stagelight_plugins.diagram.routes import Routes  # noqa: PLC0415 - see above

        parts = self._of(collector)
        return Routes(parts.store, parts.artist).routes()

    def start(self, collector: Collector) -> None:
        """Begin to draw."""
        self._of(collector).artist.start()

    async def stop(self, collector: Collector) -> None:
        """Stop drawing, and close the store."""
        parts = self._parts.pop(id(collector), None)
        if parts is not None:
            await parts.artist.stop()
            await parts.store.close()

    def _of(self, collector: Collector) -> Parts:
        from stagelight_plugins.diagram.artist import Artist, Pencil  # noqa: PLC0415 - see above
        from stagelight_plugins.diagram.others import named, others  # noqa: PLC0415 - see above
        from stagelight_plugins.diagram.store import Store  # noqa: PLC0415 - see above

        parts = self._parts.get(id(collector))
        if parts is None:
            gathered = others(collector.gather("register_parsers"))
            parsers = {suffix: named(parser) for suffix, parser in gathered.items()}
            store = Store(collector.plugin_dir(NAME) / "diagrams.sqlite")
            parts = self._parts[id(collector)] = Parts(store, Artist(store, Pencil(parsers=parsers)))
        return parts
