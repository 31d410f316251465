"""Loading workflows: the classes of a file, or of a module by name."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stagelight_plugins.engine.entrypoint import WorkflowEntrypoint
from stagelight_plugins.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType


class WorkflowsUnusable(PluginError):
    """Workflows cannot be loaded, or not be registered."""

    def __init__(self, source: str, reason: str) -> None:
        self.source = source
        self.reason = reason
        super().__init__(f"workflows of {source!r}: {reason}")


def load(sources: Sequence[str]) -> list[type[WorkflowEntrypoint]]:
    """Return the workflow classes of files and modules.

    Raises:
        WorkflowsUnusable: One cannot be imported, or has none.
    """
    found: dict[type[WorkflowEntrypoint], None] = {}
    for source in sources:
        classes = _classes(_module(source))
        if not classes:
            raise WorkflowsUnusable(
                source, "it defines no workflow; write `class Onboarding(WorkflowEntrypoint)` in it"
            )
        found.update(dict.fromkeys(classes))
    return list(found)


def _classes(module: ModuleType) -> list[type[WorkflowEntrypoint]]:
    """Return the workflows that a module defines, or names in `__all__`."""
    exported: set[str] = set(getattr(module, "__all__", ()))
    return [
        value
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, WorkflowEntrypoint)
        and not inspect.isabstract(value)
        and (value.__module__ == module.__name__ or name in exported)
    ]


def _module(source: str) -> ModuleType:
    is_file = source.endswith(".py") or os.sep in source
    try:
        return _from_file(Path(source).resolve()) if is_file else _from_name(source)
    except WorkflowsUnusable:
        raise
    except (Exception, SystemExit) as error:
        where = _where(error)
        raise WorkflowsUnusable(
            source, f"it cannot be imported: {type(error).__name__}: {error}{where}"
        ) from error


def _from_name(name: str) -> ModuleType:
    _importable(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise WorkflowsUnusable(
                name, "there is no such module; name a file that ends with .py, or a module that Python finds"
            ) from error
        raise


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise WorkflowsUnusable(str(path), "there is no such file; look at its name and folder")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise WorkflowsUnusable(str(path), "this is no Python file; its name must end with .py")
    known = sys.modules.get(path.stem)
    if known is not None and getattr(known, "__file__", None) != str(path):
        raise WorkflowsUnusable(
            str(path), f"there is another module {path.stem!r} already; give the file another name"
        )
    _importable(path.parent)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module


def _importable(folder: Path) -> None:
    """Let modules of a folder be imported, as Python does for a script's."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _where(error: BaseException) -> str:
    trace, last = error.__traceback__, None
    while trace is not None:
        last, trace = trace, trace.tb_next
    return "" if last is None else f" ({Path(last.tb_frame.f_code.co_filename).name}, line {last.tb_lineno})"
