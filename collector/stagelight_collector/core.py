"""The collector's own parts, which register their routes through the same hook as any plugin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stagelight_plugins import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp import web


@dataclass(slots=True, eq=False)
class RoutesPlugin:
    """A part of the collector that gives routes through the same hook as any plugin."""

    routes: Callable[[], Sequence[web.AbstractRouteDef]]

    @hookimpl
    def register_routes(self) -> Sequence[web.AbstractRouteDef]:
        """Return the part's routes."""
        return self.routes()


def core_plugins() -> list[tuple[str, object]]:
    """Return the collector's own parts as plugins, for listing."""
    return [
        (name, RoutesPlugin(tuple))
        for name in (
            "receiver",
            "api",
            "history",
            "statistics",
            "sql",
            "openapi",
            "transfer",
            "feed",
            "health",
            "page",
        )
    ]
