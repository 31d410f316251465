"""Sources: the code of a workflow, so that a diagram can be drawn of the very version that runs.

The files are the one that defines the workflow and those of the same project that it imports, as they are on disk when
a run begins. They are read by the worker, never on the app's threads. Standard library only.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Final

from stagelight import settings
from stagelight.guard import report
from stagelight.redaction import redact_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MOST_BYTES: Final = 256 * 1024
"""Of all files of one workflow together; files that do not fit are left out, and the first one is named instead."""
MOST_FILES: Final = 32
SCRIPT: Final = "<script>"
"""Stands for the program's own script, which is read by its path: its run begins before it is a module with names."""
CONFIG: Final = "stagelight.toml"
"""Goes along where patterns name what is a step: nothing in the code says it."""
_LIBRARIES: Final = frozenset({"site-packages", "dist-packages"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The code of a workflow."""

    version: str
    """The same for the same content, whatever the machine; 16 hexadecimal digits."""
    main: str
    """The path of the file that defines the workflow, relative to its project."""
    files: Mapping[str, str]
    """Text by path, without what looks like a credential."""
    omitted: str = ""
    """Why there are no files."""


def version_of(files: Mapping[str, bytes]) -> str:
    """Return the version of some files by path: a hash of their content."""
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(files):
        digest.update(f"{len(path)} {path} {len(files[path])} ".encode("utf-8", "replace"))
        digest.update(files[path])
    return digest.hexdigest()


class Sources:
    """The sources of one process by the name of the module, each read once and handed out once."""

    def __init__(self) -> None:
        self._read: dict[str, Source | None] = {}
        self._told: set[str] = set()

    def version(self, module: str) -> str:
        """Return the version of what a module defines; empty where its code cannot be had."""
        if not module:
            return ""
        if module not in self._read:
            try:
                self._read[module] = read(module)
            except Exception as fault:  # a run without a diagram is still a run
                report("source", fault)
                self._read[module] = None
        source = self._read[module]
        return "" if source is None else source.version

    def untold(self, module: str) -> Source | None:
        """Return a module's source if it was not handed out before."""
        source = self._read.get(module)
        if source is None or source.version in self._told:
            return None
        self._told.add(source.version)
        return source


def read(name: str) -> Source | None:
    """Read a module's code and that of the project's modules that it imports; None if it has no readable file."""
    module = sys.modules.get("__main__" if name == SCRIPT else name)
    path = _script() if name == SCRIPT else None if module is None else _file(module)
    if module is None or path is None:
        return None
    root = _root(path)
    main = path.relative_to(root).as_posix()
    if path.stat().st_size > MOST_BYTES:
        text = f"{main} is larger than {MOST_BYTES // 1024} KiB"
        return Source(version=version_of({main: path.read_bytes()}), main=main, files={}, omitted=text)
    found: dict[str, bytes] = {}
    for each in _reachable(module, path, root):
        body = each.read_bytes()
        if not found or sum(map(len, found.values())) + len(body) <= MOST_BYTES:
            found[each.relative_to(root).as_posix()] = body
    if patterns := _patterns():
        found[CONFIG] = patterns
    return Source(
        version=version_of(found),
        main=main,
        files={place: redact_source(body.decode("utf-8", "replace")) for place, body in found.items()},
    )


def _patterns() -> bytes:
    """Return the patterns in force as a configuration file; empty where there are none."""
    names = (("steps", settings.STEPS), ("workflows", settings.WORKFLOWS))
    lists = [(key, settings.patterns(os.environ.get(name, ""))) for key, name in names]
    lines = [f"{key} = {json.dumps(patterns)}\n" for key, patterns in lists if patterns]
    return "".join(["[agent]\n", *lines]).encode() if lines else b""


def _script() -> Path | None:
    path = Path(sys.argv[0]).resolve() if sys.argv and sys.argv[0].endswith(".py") else None
    return path if path is not None and path.is_file() else None


def _file(module: ModuleType) -> Path | None:
    # When the script has come to its end, Python takes `__file__` from `__main__`; the loader still knows.
    name = module.__dict__.get("__file__") or getattr(module.__dict__.get("__loader__"), "path", None)
    if not isinstance(name, str) or not name.endswith(".py"):
        return None
    path = Path(name).resolve()
    return path if path.is_file() else None


def _root(path: Path) -> Path:
    """Return the directory from which a file is imported: above the outermost package that it is in."""
    root = path.parent
    while (root / "__init__.py").is_file() and root.parent != root:
        root = root.parent
    return root


def _reachable(module: ModuleType, path: Path, root: Path) -> Iterator[Path]:
    """Yield a module's file, then those of the same project's modules whose names it uses, the nearest first."""
    standard = Path(os.__file__).resolve().parent
    package = path.relative_to(root).parts[0]
    waiting, seen = [(module, path)], {path}
    for at, file in waiting:
        yield file
        for used in _used(at):
            found = _file(used)
            if found is None or found in seen or len(seen) >= MOST_FILES or not found.is_relative_to(root):
                continue
            parts = found.relative_to(root).parts
            is_library = not _LIBRARIES.isdisjoint(parts) or found.is_relative_to(standard)
            if is_library or (not _LIBRARIES.isdisjoint(root.parts) and parts[0] != package):
                continue
            seen.add(found)
            waiting.append((used, found))


def _used(module: ModuleType) -> Iterator[ModuleType]:
    """Yield the modules that the global names of a module are, or come from. Nothing of the app's own runs for it."""
    values: list[object] = list(module.__dict__.values())
    for value in values:
        kind = type(value)
        if isinstance(value, ModuleType) and issubclass(kind, ModuleType):
            yield value
        elif kind is FunctionType or issubclass(kind, type):
            name = value.__dict__.get("__module__") if issubclass(kind, type) else value.__module__
            if isinstance(name, str) and isinstance(home := sys.modules.get(name), ModuleType):
                yield home
