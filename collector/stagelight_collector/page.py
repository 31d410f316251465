"""The page: files of a fixed manifest, never a path of the file system."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

from stagelight_dashboards import static_files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stagelight_dashboards import StaticFile


@dataclass(slots=True)
class Page:
    """The routes of the page."""

    files: Mapping[str, StaticFile] = field(default_factory=static_files)

    def routes(self) -> Sequence[web.AbstractRouteDef]:
        """Return the routes: the index, and every file of the manifest."""
        return [web.get("/", self.index), *(web.get(f"/{path}", self.file) for path in self.files)]

    async def index(self, request: web.Request) -> web.StreamResponse:
        """Serve the page."""
        return self._serve(request, "index.html")

    async def file(self, request: web.Request) -> web.StreamResponse:
        """Serve one file."""
        return self._serve(request, request.path.removeprefix("/"))

    def _serve(self, request: web.Request, path: str) -> web.StreamResponse:
        file = self.files[path]
        headers = {
            "ETag": file.etag,
            "Cache-Control": "public, max-age=31536000, immutable" if file.immutable else "no-cache",
        }
        if any(f'"{etag.value}"' == file.etag for etag in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=file.body, headers={**headers, "Content-Type": file.content_type})
