"""Bars on a terminal: how far each run has come, for as long as it goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from stagelight.conventions import RunStatus

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from rich.console import RenderableType
    from rich.progress import TaskID

_ENDED: Final = {RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.TERMINATED}


class _Turning(SpinnerColumn):
    """Turns while the run goes on. Rich's own goes on turning for a run that failed before its last step."""

    def render(self, task: Task) -> RenderableType:
        return Text(" ") if task.fields["status"] in _ENDED else super().render(task)


@dataclass(slots=True)
class Bars:
    """One bar for each run; drawn while the context is open."""

    console: Console = field(default_factory=lambda: Console(stderr=True))
    _tasks: dict[str, TaskID] = field(default_factory=dict[str, "TaskID"])
    _progress: Progress = field(init=False)

    def __post_init__(self) -> None:
        self._progress = Progress(
            _Turning(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("steps  {task.fields[status]}"),
            TimeElapsedColumn(),
            console=self.console,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, runs: Iterable[dict[str, Any]]) -> None:
        """Bring the bars up to date with these runs, the oldest first; the clock of one that ended stops."""
        for run in sorted(runs, key=lambda run: run["started_ms"] or 0):
            if run["id"] not in self._tasks:
                self._tasks[run["id"]] = self._progress.add_task(run["workflow"], total=None, status="")
            task, ended = self._tasks[run["id"]], run["status"] in _ENDED
            steps = run["steps"]
            done = steps["completed"] + steps["failed"] + steps["skipped"]
            total = max(1, steps["total"]) if ended else steps["total"] + 1
            self._progress.update(task, completed=done, total=total, status=run["status"])
            if ended:
                self._progress.stop_task(task)
