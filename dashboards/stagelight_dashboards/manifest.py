"""The files of the live page as a fixed manifest: what is not listed here cannot be asked for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.resources.abc import Traversable

_CONTENT_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_NOT_BUILT: Final = b"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Stagelight</title>
<h1>The live page was not built</h1>
<p>This installation was made with <code>STAGELIGHT_SKIP_UI=1</code>, or from a source tree without a build.
The collector works, and so does its API at <a href="api/v1/runs">api/v1/runs</a>.</p>
<p>To get the page, install again without that variable: <code>pip install --force-reinstall --no-deps stagelight</code>;
in a source tree, <code>pip install -e .</code> builds it.</p>
</html>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticFile:
    """One file of the page, ready to be sent."""

    body: bytes = field(repr=False)
    content_type: str
    etag: str
    """A strong entity tag, quotes included."""
    immutable: bool
    """Whether the name holds a hash of the content, so that a browser may keep it for ever."""


def static_files() -> Mapping[str, StaticFile]:
    """Return all files of the page, by path relative to where the page is served: `index.html`, `assets/…`.

    `index.html` is always there: where the page was not built, it says so and how to get it. It refers to the other
    files and to the API by relative addresses, so it can be served under any path that ends in a slash.
    """
    return read(files("stagelight_dashboards") / "static")


def read(root: Traversable) -> Mapping[str, StaticFile]:
    """Return what `static_files` does, from another folder."""
    found = dict(_walk(root, "")) if root.is_dir() else {}
    found.setdefault("index.html", _static_file("index.html", _NOT_BUILT))
    return found


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, StaticFile]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        path = prefix + entry.name
        if entry.is_dir():
            yield from _walk(entry, f"{path}/")
        elif _suffix(path) in _CONTENT_TYPES:
            yield path, _static_file(path, entry.read_bytes())


def _static_file(path: str, body: bytes) -> StaticFile:
    return StaticFile(
        body=body,
        content_type=_CONTENT_TYPES[_suffix(path)],
        etag=f'"{hashlib.sha256(body).hexdigest()[:32]}"',
        immutable=path.startswith("assets/"),
    )


def _suffix(path: str) -> str:
    return path[path.rfind(".") :] if "." in path else ""
