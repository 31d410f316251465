"""Reloading: workflows follow their files while somebody writes them.

What runs ends under the old code, what waits goes on under the new one. A file that does not import changes nothing.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stagelight_plugins.engine.errors import EngineError
from stagelight_plugins.engine.loading import WorkflowsUnusable, load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from stagelight_plugins.engine.contract import ControlPlane
    from stagelight_plugins.engine.entrypoint import WorkflowEntrypoint

EVERY_SECONDS: Final = 0.5
_NOT_OURS: Final = frozenset({"site-packages", "dist-packages", "stagelight_plugins", "stagelight_collector"})

_log = logging.getLogger(__name__)
_Stamps = dict[str, tuple[int, int]]


@dataclass(slots=True, eq=False)
class Reloader:
    """Loads workflows again when a file of their project has changed."""

    plane: ControlPlane
    sources: Sequence[str]
    every: float = EVERY_SECONDS
    reloads: int = 0
    """How often something was loaded again."""
    _task: asyncio.Task[None] | None = field(default=None)

    def start(self, classes: Sequence[type[WorkflowEntrypoint]]) -> None:
        """Watch the files of these classes, and of what lies beside them."""
        folders = {_folder(cls.__module__) for cls in classes} - {None}
        found = {str(folder) for folder in folders}
        self._task = asyncio.get_running_loop().create_task(self._watch(found, _stamps(found)))

    async def stop(self) -> None:
        """Watch no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _watch(self, folders: set[str], seen: _Stamps) -> None:
        while True:
            await asyncio.sleep(self.every)
            now = await asyncio.to_thread(_stamps, folders)
            if now != seen:
                changed = {path for path, stamp in now.items() if seen.get(path) != stamp}
                seen = now
                await self._again(folders, changed)

    async def _again(self, folders: set[str], changed: set[str]) -> None:
        try:
            classes = await asyncio.to_thread(_loaded_again, self.sources, folders, changed)
            infos = await self.plane.register(*classes)
        except (WorkflowsUnusable, EngineError) as error:
            _log.warning("%s; the code from before goes on", error)
            return
        self.reloads += 1
        names = ", ".join(info.name for info in infos)
        _log.info(
            "loaded again: %s; what runs ends under the old code, what waits goes on under the new", names
        )


def _folder(module: str) -> Path | None:
    """Return the folder from which a module is imported: above the outermost package that it is in."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return None
    return Path(file).resolve().parents[module.count(".")]


def _modules(folders: set[str]) -> dict[str, ModuleType]:
    """Return the modules below some folders that belong to nobody's library."""
    found: dict[str, ModuleType] = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is None or name == "__main__":
            continue
        path = Path(file)
        if any(path.is_relative_to(folder) for folder in folders) and _NOT_OURS.isdisjoint(path.parts):
            found[name] = module
    return found


def _stamps(folders: set[str]) -> _Stamps:
    found: _Stamps = {}
    for module in _modules(folders).values():
        file = str(module.__file__)
        try:
            status = Path(file).stat()
        except OSError:
            continue  # it is being written: its new self is seen the next time
        found[file] = (status.st_mtime_ns, status.st_size)
    return found


def _loaded_again(
    sources: Sequence[str], folders: set[str], changed: set[str]
) -> list[type[WorkflowEntrypoint]]:
    """Import sources anew; on a failure leave the modules as they were."""
    before = _modules(folders)
    for file in changed:
        # Compiled code is known by the second and the size: two saves within a second would look the same.
        Path(importlib.util.cache_from_source(file)).unlink(missing_ok=True)
    for name in before:
        del sys.modules[name]
    importlib.invalidate_caches()
    try:
        return load(sources)
    except BaseException:
        for name in _modules(folders):
            del sys.modules[name]
        sys.modules.update(before)
        raise
