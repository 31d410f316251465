"""Files: the module that is drawn, and those that it imports."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from stagelight_plugins.diagram.builder.scope import Scope
from stagelight_plugins.diagram.builder.values import UNKNOWN, ObjectValue, Value
from stagelight_plugins.diagram.limits import MAX_MODULES, MAX_PYTHON
from stagelight_plugins.diagram.patterns import SCRIPT
from stagelight_plugins.diagram.python.statements import read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stagelight_plugins.diagram import tree as t
    from stagelight_plugins.diagram.patterns import Patterns
    from stagelight_plugins.diagram.python.graph import PythonGraph


class Files:
    """The files of one diagram; each is followed once.

    Args:
        graph: Follows them.
        root: Imports are followed inside it; None follows none.
        patterns: Functions that are steps and workflows without saying so.
    """

    def __init__(self, graph: PythonGraph, root: Path | None, patterns: Patterns) -> None:
        self._graph = graph
        self._patterns = patterns
        self.statements: list[t.Node] = []
        """Those of the module that is drawn."""
        self._root = None if root is None else root.resolve()
        self._scopes: dict[Path, Scope] = {}

    def module(self, source: bytes, path: str) -> Scope:
        """Follow the statements of a module; return its names."""
        graph = self._graph
        scope = Scope(source=source)
        kept, graph.source = graph.source, source
        reader = read(source, path)
        reader.kind = partial(self._patterns.kind, self._names(path, script=not self.statements))
        body = reader.body()
        self.statements = self.statements or body
        follow = graph.follow

        def found(module: str, name: str) -> Value:
            return self._import(module, name, path)

        graph.follow = found
        try:
            with graph.inside(scope):
                graph.aside(lambda: _ran(graph, body))
        finally:
            graph.source, graph.follow = kept, follow
        return scope

    def _names(self, path: str, *, script: bool) -> set[str]:
        """Return what patterns may call a file: its module, from the root on; the script's name or `__main__`."""
        file = Path(path).resolve().with_suffix("")
        inside = self._root is not None and file.is_relative_to(self._root)
        parts = file.relative_to(self._root).parts if inside and self._root is not None else (file.name,)
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        return {module, file.name, SCRIPT} if script else {module}

    def _import(self, module: str, name: str, importer: str) -> Value:
        for file, whole in self._find(module, name, importer):
            found = self._of(file, "*" if whole else name)
            if found is not UNKNOWN:
                return found
        return UNKNOWN

    def _of(self, file: Path, name: str) -> Value:
        """Return what a file gives under a name, or the module that the file is."""
        if file not in self._scopes:
            if len(self._scopes) >= MAX_MODULES or file.stat().st_size > MAX_PYTHON:
                return UNKNOWN
            self._scopes[file] = Scope()
            source = file.read_bytes()
            if self._root is not None:
                self._graph.files[id(source)] = file.relative_to(self._root).as_posix()
            self._scopes[file].slots.update(self.module(source, str(file)).slots)
        scope = self._scopes[file]
        if name == "*":
            return ObjectValue({key: slot.get() for key, slot in scope.slots.items()})
        return scope.lookup(name) or UNKNOWN

    def _find(self, module: str, name: str, importer: str) -> Iterator[tuple[Path, bool]]:
        """Yield the files that an import may mean, and whether it means the file itself: a module of a package."""
        if self._root is None:
            return
        level = len(module) - len(module.lstrip("."))
        base = Path(importer).resolve().parent
        for _ in range(level - 1):
            base = base.parent
        parts = [part for part in module.lstrip(".").split(".") if part]
        package = next(each for each in (base, *base.parents) if not (each / "__init__.py").is_file())
        starts = [base] if level else [self._root, package, base, self._root / "src"]
        for start in starts:
            place = start.joinpath(*parts)
            if not place.name:
                continue
            own = [(place.with_name(f"{place.name}.py"), False), (place / "__init__.py", False)]
            for file, whole in (*own, (place / f"{name}.py", True), (place / name / "__init__.py", True)):
                inside = file.is_file() and file.resolve().is_relative_to(self._root)
                if (parts or level) and inside and file.resolve() != Path(importer).resolve():
                    yield file.resolve(), whole


def _ran(graph: PythonGraph, body: list[t.Node]) -> Value:
    graph.run(body)
    return UNKNOWN
