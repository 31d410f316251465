"""Why a source cannot be drawn.

DiagramError
├── Unreadable
├── TooComplex
└── MissingExtra
"""

from __future__ import annotations


class DiagramError(Exception):
    """A source cannot be drawn."""

    line = 0


class Unreadable(DiagramError):
    """The source is not valid in its language."""

    def __init__(self, path: str, reason: str, line: int = 0) -> None:
        self.line = line
        where = f"{path}, line {line}" if line else path
        super().__init__(f"{where}: {reason}; mend the source and try again")


class TooComplex(DiagramError):
    """A bound was reached."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"too complex: {what}; draw a smaller file")


class MissingExtra(DiagramError):
    """A grammar is not installed."""

    def __init__(self) -> None:
        super().__init__("JavaScript and TypeScript need a parser: pip install 'stagelight[diagram]'")
