"""Tables on standard output: nothing is cut, but for the last column on a terminal that is too narrow for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

GAP: Final = "  "
LEAST_LAST: Final = 12
"""A last column is never cut to less."""


def print_table(headers: Sequence[str], rows: Sequence[Sequence[Text | str]]) -> None:
    """Print rows under their headers."""
    console = Console(soft_wrap=True)
    cells = [
        [Text(header, style="bold") for header in headers],
        *([Text(cell) if isinstance(cell, str) else cell.copy() for cell in row] for row in rows),
    ]
    widths = [max(cell.cell_len for cell in column) for column in zip(*cells, strict=True)]
    room = console.width - sum(widths[:-1]) - len(GAP) * (len(widths) - 1)
    for line in cells:
        if console.is_terminal:
            line[-1].truncate(max(LEAST_LAST, room), overflow="ellipsis")
        for cell, width in zip(line[:-1], widths, strict=False):
            cell.pad_right(width - cell.cell_len)
        joined = Text(GAP).join(line)
        joined.rstrip()
        console.print(joined)
