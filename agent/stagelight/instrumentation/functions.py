"""Functions by name: what a pattern names becomes a step or a workflow, without a change to its code.

A pattern is `module.path:function`, with `*` and `?` on either side. An import hook patches a module right after it
was executed, before anybody can take a function out of it; what is imported already is patched at once.
"""

from __future__ import annotations

import importlib.abc
import inspect
import sys
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from stagelight.guard import LOGGER, guard, report
from stagelight.recording import StepOpener, WorkflowOpener
from stagelight.wrapping import BY_PATTERN, OPENER, innermost, layers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


@dataclass(frozen=True, slots=True)
class Pattern:
    """Which functions become what."""

    module: str
    function: str
    is_workflow: bool = False

    @classmethod
    def parse(cls, text: str, *, is_workflow: bool = False) -> Pattern | None:
        """Read `module.path:function`; anything else is said in the log, with what it should be."""
        module, colon, function = text.partition(":")
        if not (module and colon and function):
            LOGGER.warning(
                "%r names no function: write module.path:function, for example myapp.pipeline:load_*", text
            )
            return None
        return cls(module, function, is_workflow)

    def __str__(self) -> str:
        return f"{self.module}:{self.function}"

    def takes_module(self, name: str) -> bool:
        """Say whether functions of this module may match."""
        return fnmatchcase(name, self.module)

    def takes(self, qualname: str) -> bool:
        """Say whether a function of the module matches; `Class.method` for methods."""
        return fnmatchcase(qualname, self.function) and qualname.count(".") == self.function.count(".")


def parse(steps: Iterable[str], workflows: Iterable[str]) -> list[Pattern]:
    """Read patterns; workflows come first, so that a function that both name is a workflow."""
    found = [Pattern.parse(text, is_workflow=True) for text in workflows]
    found += [Pattern.parse(text) for text in steps]
    return [pattern for pattern in found if pattern is not None]


class Instrumentation:
    """The patches of one set of patterns; `undo` takes all of them back."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._patterns = patterns
        self._finder = _Finder(self._takes_module, self.patch)
        self._patched: list[tuple[Any, str, Any]] = []
        self._used: set[Pattern] = set()

    def apply(self) -> None:
        """Patch what is imported, and hook what will be."""
        sys.meta_path.insert(0, self._finder)
        for name, module in list(sys.modules.items()):
            if self._takes_module(name):
                self.patch(module)

    def undo(self) -> None:
        """Put every original back."""
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        while self._patched:
            owner, name, original = self._patched.pop()
            setattr(owner, name, original)

    def _takes_module(self, name: str) -> bool:
        return any(pattern.takes_module(name) for pattern in self._patterns)

    def match(self, module: str, qualname: str) -> Pattern | None:
        """Return the first pattern that takes a function of a module."""
        taking = [p for p in self._patterns if p.takes_module(module) and p.takes(qualname)]
        self._used.update(taking)
        return taking[0] if taking else None

    def unused(self) -> list[Pattern]:
        """Return the patterns that have named no function so far."""
        return [pattern for pattern in self._patterns if pattern not in self._used]

    def patch(self, module: ModuleType) -> None:
        """Wrap the functions that a module defines itself, and the methods of its classes."""
        with guard("patching"):
            for owner, name, qualname, value in _functions(module):
                pattern = self.match(module.__name__, qualname)
                if pattern is not None and not is_wrapped(value):
                    setattr(owner, name, decorator(is_workflow=pattern.is_workflow)(value))
                    self._patched.append((owner, name, value))


def _functions(module: ModuleType) -> Iterator[tuple[Any, str, str, Any]]:
    for name, value in list(vars(module).items()):
        if getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(value):
            yield module, name, name, value
        elif inspect.isclass(value):
            for method, raw in list(vars(value).items()):
                if inspect.isfunction(raw) or isinstance(raw, (staticmethod, classmethod)):
                    yield value, method, f"{name}.{method}", raw


def is_wrapped(value: Any) -> bool:
    """Say whether a function is a step or workflow already, by decorator or by pattern."""
    return any(OPENER in layer for layer in layers(innermost(value)))


def decorator(*, is_workflow: bool) -> Callable[[Any], Any]:
    """Return what makes a function a step or workflow; it returns what it got if that fails."""
    opener = WorkflowOpener() if is_workflow else StepOpener()

    def decorate(function: Any) -> Any:
        try:
            if is_wrapped(function):
                return function
            made = opener(function)
            vars(innermost(made))[BY_PATTERN] = True
        except Exception as fault:  # the host's function works unrecorded
            report("patching", fault)
            return function
        return made

    return decorate


class _Finder(importlib.abc.MetaPathFinder):
    """Finds what the finders behind it find, and has the module patched after it was executed."""

    def __init__(self, takes: Callable[[str], bool], patch: Callable[[ModuleType], None]) -> None:
        self._takes = takes
        self._patch = patch

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec with a loader that patches; None where no pattern names the module."""
        if not self._takes(fullname) or self not in sys.meta_path:
            return None
        behind = sys.meta_path[sys.meta_path.index(self) + 1 :]
        spec = next((s for f in behind if (s := f.find_spec(fullname, path, target)) is not None), None)
        loader = None if spec is None else spec.loader
        if loader is not None and hasattr(loader, "exec_module"):
            with guard("import hook"):
                self._hook(loader)
        return spec

    def _hook(self, loader: Any) -> None:
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            self._patch(module)

        # On the instance: every loader that importlib's path finder makes serves one module.
        loader.exec_module = exec_module
