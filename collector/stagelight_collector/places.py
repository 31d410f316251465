"""Places in a TOML file: in which line a setting was written. `tomllib` does not say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from stagelight_plugins.errors import BadSettings

_HEADER: Final = re.compile(r"\s*\[\[?([^\[\]]+)\]\]?")
_KEY: Final = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART: Final = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")


def told(error: BadSettings, path: Path) -> list[str]:
    """Return what is wrong with a plugin's table, each problem with its file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        text = ""
    lines: list[str] = []
    for place, message in error.problems:
        keys = (error.name, *place)
        line = max(line_of(text, keys), line_of(text, ("plugins", *keys)))
        where = f"{path}:{line}: " if line else ""
        lines.append(f"{where}`{'.'.join(keys)}`: {message}")
    return lines


def line_of(text: str, keys: Sequence[str]) -> int:
    """Return the line, from 1, of a setting, or of the nearest table around it; 0 where there is neither."""
    best, depth = 0, 0
    for number, path in _paths(text):
        same = _shared(path, keys)
        # A key that goes on elsewhere (`a.b` for `a.c`) is not a place of it.
        if same == len(path) and same > depth:
            best, depth = number, same
    return best


def _paths(text: str) -> Iterator[tuple[int, list[str]]]:
    table: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _parts(header[1])
            yield number, table
        elif key := _KEY.match(line):
            yield number, [*table, *_parts(key[1])]


def _parts(written: str) -> list[str]:
    return [part.strip("\"'") for part in _PART.findall(written)]


def _shared(path: Sequence[str], keys: Sequence[str]) -> int:
    count = 0
    for one, other in zip(path, keys, strict=False):
        if one != other:
            break
        count += 1
    return count
