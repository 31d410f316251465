"""The bars of the demo on a terminal."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from stagelight_collector.cli.bars import Bars


def run(status: str, *, completed: int = 0, failed: int = 0, pending: int = 0) -> dict[str, Any]:
    counts = {"completed": completed, "failed": failed, "pending": pending, "skipped": 0, "running": 0}
    steps = {"total": completed + failed + pending, **counts}
    return {"id": status, "workflow": f"run {status}", "status": status, "started_ms": 1.0, "steps": steps}


def drawn(*runs: dict[str, Any], seconds: float = 0.0) -> list[str]:
    """Return what a terminal shows of these runs when so many seconds have passed since."""
    now, out = [0.0], io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, color_system=None, get_time=lambda: now[0])
    with Bars(console) as bars:
        bars.show(runs)
        now[0] = seconds
    return [line for line in out.getvalue().splitlines() if "steps" in line][-len(runs) :]


def test_what_ended_turns_no_more_even_where_steps_were_left_out() -> None:
    running, failed, completed = drawn(
        run("running", completed=1, pending=2),
        run("failed", completed=1, failed=1, pending=3),
        run("completed", completed=4),
    )
    assert "  run running" not in running
    assert "  run failed" in failed
    assert "2/5" in failed
    assert "  run completed" in completed


def test_the_clock_of_what_ended_stops() -> None:
    running, failed = drawn(run("running"), run("failed", failed=1, pending=1), seconds=100.0)
    assert "0:01:40" in running
    assert "0:00:00" in failed
