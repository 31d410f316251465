"""A run as a tree of steps that is drawn anew while it changes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.text import Text

from stagelight_collector.cli import lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, ConsoleOptions, RenderResult

SPARE_LINES: Final = 5
"""Of the terminal, for the head of the tree, what is left out and the prompt after it."""


@dataclass(slots=True)
class StepTree:
    """The state of one run, as the feed tells it."""

    console: Console
    run: dict[str, Any] | None = None
    steps: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])

    def take(self, kind: str, data: dict[str, Any]) -> None:
        """Take a message of the feed: each carries the new state of its run and step."""
        if kind == "snapshot":
            self.steps = {step["id"]: step for step in data["steps"]}
        if data.get("run"):
            self.run = data["run"]
        if data.get("step"):
            self.steps[data["step"]["id"]] = data["step"]

    def whole(self) -> Group:
        """Return the tree with all its steps."""
        return Group(*self._lines(len(self.steps)))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw as much as fits: the steps that started last, then those that are yet to start."""
        height = options.height or console.height
        yield from self._lines(max(1, height - SPARE_LINES))

    def _lines(self, most: int) -> Iterator[Text]:
        if self.run is None:
            yield Text("Waiting for the run …", style="dim")
            return
        yield lines.run(self.run)
        rows = list(self._rows("", 0))
        begun = sum(step["started_ms"] is not None for step, _ in rows)
        end = min(len(rows), max(most, begun))
        start = max(0, end - most)
        if start:
            yield Text(f"  … {start} steps before", style="dim")
        yield from (lines.step(step, depth) for step, depth in rows[start:end])
        if end < len(rows):
            yield Text(f"  … {len(rows) - end} steps after", style="dim")
        if self.run["error"]:
            yield lines.run_error(self.run)

    def _rows(self, parent: str, depth: int) -> Iterator[tuple[dict[str, Any], int]]:
        """Yield the steps below another in order of start, each followed by its own.

        Those that have not started come last, as the collector told them.
        """
        below: dict[str, list[dict[str, Any]]] = {}
        for step in sorted(self.steps.values(), key=_place):
            known = step["parent_id"] if step["parent_id"] in self.steps else ""
            below.setdefault(known, []).append(step)
        waiting = [(step, depth) for step in reversed(below.pop(parent, []))]
        while waiting:
            step, deep = waiting.pop()
            yield step, deep
            waiting += [(child, deep + 1) for child in reversed(below.pop(step["id"], []))]


def _place(step: dict[str, Any]) -> tuple[float, str]:
    started: float | None = step["started_ms"]
    return (math.inf, "") if started is None else (started, step["id"])
