"""Runs, steps and lengths of time as lines of text, spelt as the page spells them."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime
from typing import Any, Final

from rich.text import Text

_STYLES: Final = {
    "completed": "green",
    "failed": "bold red",
    "terminated": "red",
    "running": "cyan",
    "waiting": "yellow",
    "paused": "yellow",
}
_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR


def status(item: dict[str, Any]) -> Text:
    """Return a run's or step's status in its colour."""
    return Text(item["status"], style=_STYLES.get(item["status"], ""))


def plain(text: str) -> str:
    """Return a name or message in one line, without anything that a terminal would obey."""
    return "".join(character if character.isprintable() else " " for character in text)


def failure(error: dict[str, Any] | None) -> str:
    """Return an error as `type: message`."""
    return (
        plain(f"{error['type']}: {error['message']}" if error["type"] else error["message"]) if error else ""
    )


def progress(found: dict[str, Any] | None) -> str:
    """Return progress as `1/3 message`."""
    if not found:
        return ""
    counts = "/".join(_count(found[key]) for key in ("current", "total") if found[key] is not None)
    return plain(f"{counts} {found['message'] or ''}".strip())


def _count(number: float) -> str:
    return str(int(number)) if number == int(number) else f"{number:.1f}"


def log(line: dict[str, Any]) -> Text:
    """Return a log line."""
    return Text(f"  {line['severity'] or 'LOG':8} {plain(line['message'])}", style="dim")


def step(item: dict[str, Any], depth: int = 0) -> Text:
    """Return a step, indented by how deep it lies."""
    line = Text("  " * (depth + 1))
    line.append(f"{item['status']:10}", style=_STYLES.get(item["status"], ""))
    line.append(f"{plain(item['name']):32} ")
    line.append(duration(lasted(item)), style="dim")
    if item["status"] == "running" and item["progress"]:
        line.append(f"  {progress(item['progress'])}", style="cyan")
    if item["attempt"] > 1:
        line.append(f"  attempt {item['attempt']}", style="yellow")
    if item["error"]:
        line.append(f"  {failure(item['error'])}", style="red")
    line.rstrip()
    return line


def run(item: dict[str, Any]) -> Text:
    """Return a run in one line."""
    line = status(item)
    line.append(f" {plain(item['workflow'])}", style="bold")
    line.append(f" {plain(item['id'])}", style="dim")
    facts = (plain(item["service"]), when(item["started_ms"]), duration(lasted(item)))
    return line.append("".join(f" · {fact}" for fact in facts if fact))


def run_error(item: dict[str, Any]) -> Text:
    """Return why a run failed; empty where it did not."""
    return Text(f"  {failure(item['error'])}" if item["error"] else "", style="red")


def size(count: float) -> str:
    """Return a number of bytes: `812 B`, `4.2 MiB`."""
    if count < 1024:
        return f"{count:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        count /= 1024
        if count < 1024:
            return f"{count:.1f} {unit}"
    return f"{count / 1024:.1f} TiB"


def when(ms: float | None) -> str:
    """Return a time of the sender in this machine's time zone."""
    if ms is None:
        return ""
    return datetime.fromtimestamp(ms / 1e3, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def lasted(item: dict[str, Any]) -> float | None:
    """Return how long a run or step has lasted, in milliseconds; None where it has not started."""
    if item["ended_ms"] is not None:
        return float(item["duration_ms"]) if item["duration_ms"] is not None else None
    return None if item["started_ms"] is None else max(0.0, time.time() * 1e3 - item["started_ms"])


def duration(ms: float | None) -> str:
    """Return a length of time, as precise as it is short: `0.4ms 87ms 4.21s 42.1s 3m 04s 2h 05m 3d 4h`."""
    if ms is None:
        return ""
    ms = max(0.0, ms)
    if ms < 1:
        return "0ms" if ms == 0 else f"{ms:.1f}ms"
    if ms < 999.5:
        return f"{math.floor(ms + 0.5)}ms"
    if ms < 9_995:
        return f"{ms / 1e3:.2f}s"
    return f"{ms / 1e3:.1f}s" if ms < 59_950 else _long(math.floor(ms / 1e3 + 0.5))


def _long(seconds: int) -> str:
    if seconds < _HOUR:
        return f"{seconds // _MINUTE}m {seconds % _MINUTE:02}s"
    if seconds < _DAY:
        return f"{seconds // _HOUR}h {seconds % _HOUR // _MINUTE:02}m"
    return f"{seconds // _DAY}d {seconds % _DAY // _HOUR}h"
