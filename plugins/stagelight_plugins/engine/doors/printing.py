"""What the commands print: tables and facts for people, JSON for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click
import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_CONTROL: Final = dict.fromkeys([*range(32), *range(127, 160)], "�")
_BECOMES: Final = {
    "waitingForPause": "is paused as soon as its running steps have ended",
    "rollingBack": "undoes what it did, then it is terminated",
}
"""How a status is said that is on its way to another one."""


def becomes(status: str) -> str:
    """Return what has become of an instance."""
    return _BECOMES.get(status, f"is {status}")


def print_json(value: Any) -> None:
    """Print for programs."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows for people."""
    table = Table(*headers, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(_plain(cell) for cell in row))
    console = Console()
    if not console.is_terminal:
        console.width = 10_000
    console.print(table)


def print_facts(*facts: tuple[str, str]) -> None:
    """Print facts for people, those that there are."""
    console = Console(soft_wrap=True)
    for name, value in facts:
        if value:
            console.print(Text(f"{name:10}", style="bold"), _plain(value))


def _plain(text: str) -> Text:
    """Return text of others without what could steer a terminal."""
    return Text(text.translate(_CONTROL))


def counts(workflow: dict[str, Any]) -> str:
    """Return how many instances a workflow has in which status."""
    return ", ".join(f"{number} {status}" for status, number in workflow["instances"].items() if number)


def moment(text: str | None) -> str:
    """Return a time, UTC."""
    return (text or "")[:19].replace("T", " ")


def text(value: Any) -> str:
    """Return a value: text as it is, everything else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def fault(error: dict[str, str] | None) -> str:
    """Return an error."""
    return f"{error['name']}: {error['message']}" if error else ""


def kind_of(step: dict[str, Any]) -> str:
    """Return a step's type in the words of a restart."""
    return "child" if "child" in step else "do" if step["type"] == "step" else str(step["type"])


def rollback(told: dict[str, Any] | None) -> str:
    """Return how a rollback ended."""
    return f"{told['outcome']} {fault(told['error'])}".strip() if told else ""


def step_row(step: dict[str, Any]) -> tuple[str, ...]:
    """Return a step as a row of a table."""
    attempts = step.get("attempts", ())
    ended = step.get("finished", step.get("success") is not None)
    failed = step.get("success") is False or step.get("error")
    done = "skipped" if step.get("skipped") else "done"
    state = "failed" if failed else done if ended else "waiting" if "finished" in step else "running"
    wrong = next((fault(one["error"]) for one in reversed(attempts) if one["error"]), "")
    shown = fault(step.get("error")) or (wrong if failed else step.get("output") or "")
    return step["name"], step["type"], state, str(len(attempts) or ""), shown
