"""The one way in: source to diagram, without running it."""

from __future__ import annotations

import gc
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from stagelight_plugins.diagram import model
from stagelight_plugins.diagram.errors import DiagramError, TooComplex
from stagelight_plugins.diagram.limits import MAX_SOURCE, Budget
from stagelight_plugins.diagram.patterns import Patterns

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

SUFFIXES: Final = (".py", ".ts", ".tsx", ".mts", ".cts", ".js", ".jsx", ".mjs", ".cjs")
_DEEP: Final = 12_000
LARGE: Final = 256 * 1024
"""Bytes of a source whose tree is worth to be given back at once when others follow."""


def parse(
    source: bytes, path: str, *, root: Path | None = None, patterns: Patterns | None = None
) -> dict[str, Any]:
    """Return the diagrams of all workflows in a source: `{"success", "v", "workflows": […]}`.

    Args:
        source: The file.
        path: Its name; the ending chooses the language.
        root: Imports are followed inside this directory; None follows none.
        patterns: Functions of Python that are steps and workflows without saying so.

    A source that cannot be read gives `"success": false` and `errors`; nothing is raised for what a source says.
    """
    try:
        _check_size(source)
        with _deep(len(source)):
            return model.envelope(_workflows(source, path, root, patterns or Patterns()))
    except DiagramError as error:
        return model.failure(str(error), line=error.line)
    except (RecursionError, MemoryError):
        return model.failure(str(TooComplex("nested too deep")))
    except Exception as error:  # noqa: BLE001 - whatever the source, there is an answer
        return model.failure(
            f"{path}: our parser failed ({type(error).__name__}); please report it with the source"
        )


def _workflows(source: bytes, path: str, root: Path | None, patterns: Patterns) -> list[dict[str, Any]]:
    if path.endswith((".py", ".pyw")):
        from stagelight_plugins.diagram.python import workflows as python  # noqa: PLC0415 - one language is enough

        return python.workflows(source, path, root, Budget(), patterns)
    from stagelight_plugins.diagram.javascript import workflows as javascript  # noqa: PLC0415 - loads a parser

    return javascript.workflows(source, path, root, Budget())


def _check_size(source: bytes) -> None:
    if len(source) > MAX_SOURCE:
        raise TooComplex(f"{len(source)} bytes, {MAX_SOURCE} at most")


@contextmanager
def _deep(size: int) -> Generator[None]:
    """Let calls nest: a bundle nests deeper than Python's limit; the builder has bounds of its own.

    While a large source is read nothing is collected: all that is made is needed to the end. Then all of it is counted as old
    (frozen and thawed, which looks at nothing): to look through it as young at once takes a tenth of the time of reading.
    """
    limit, collects = sys.getrecursionlimit(), gc.isenabled() and size >= LARGE
    sys.setrecursionlimit(max(limit, _DEEP))
    if collects:
        gc.disable()
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
        if collects:
            if not gc.get_freeze_count():
                gc.freeze()
                gc.unfreeze()
            gc.enable()
