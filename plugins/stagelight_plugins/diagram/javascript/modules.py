"""Modules: the files of one diagram, found as they are imported."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stagelight_plugins.diagram.builder.values import External, Value
from stagelight_plugins.diagram.javascript.module import Module
from stagelight_plugins.diagram.limits import MAX_MODULES, MAX_SOURCE

if TYPE_CHECKING:
    from stagelight_plugins.diagram.builder.graph import Graph

_ENDINGS: Final = (
    "",
    ".ts",
    ".tsx",
    ".mts",
    ".js",
    ".jsx",
    ".mjs",
    ".cjs",
    ".cts",
    "/index.ts",
    "/index.tsx",
    "/index.js",
)


class Modules:
    """The files of one diagram.

    Args:
        graph: Evaluates what a name stands for.
        root: Imports are followed inside it; None follows none.
    """

    def __init__(self, graph: Graph, root: Path | None) -> None:
        self.graph = graph
        self._root = root.resolve() if root is not None else None
        self._loaded: dict[Path, Module] = {}
        self._by_source: dict[int, Module] = {}
        graph.required = self.required

    def add(self, module: Module) -> None:
        """Note a module by its source."""
        self._by_source[id(module.source)] = module

    def required(self, module: str) -> Value:
        """Return what `require` gives where the graph is."""
        at = self._by_source.get(id(self.graph.source))
        return External(module) if at is None else at.imported(module, "*")

    def follow(self, module: str, importer: str) -> Module | None:
        """Return the module that an import means, if it is a file inside the root."""
        if self._root is None or not module.startswith((".", "@/", "~/", "/")):
            return None
        base = Path(importer).resolve().parent / module if module.startswith(".") else self._root / module[2:]
        stem = re.sub(r"\.(js|mjs|jsx)$", "", str(base))
        for start in (str(base), stem, str(self._root / "src" / module[2:])):
            for ending in _ENDINGS:
                path = Path(start + ending)
                if path.is_file():
                    return self._load(path.resolve())
        return None

    def _load(self, path: Path) -> Module | None:
        if path in self._loaded:
            return self._loaded[path]
        if self._root is None or not path.is_relative_to(self._root) or len(self._loaded) >= MAX_MODULES:
            return None
        if path.stat().st_size > MAX_SOURCE or path.suffix not in {
            ".ts",
            ".tsx",
            ".mts",
            ".js",
            ".jsx",
            ".mjs",
            ".cjs",
            ".cts",
        }:
            return None
        source = path.read_bytes()
        self.graph.files[id(source)] = path.relative_to(self._root).as_posix()
        found = self._loaded[path] = Module(source, str(path), self)
        return found
