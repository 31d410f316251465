"""`stagelight runs`: list, show and follow runs."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stagelight.conventions import RUN_ENDS, RunStatus
from stagelight_collector.cli.client import Client, url_option

_STYLES: Final = {
    "completed": "green",
    "failed": "bold red",
    "terminated": "red",
    "running": "cyan",
    "waiting": "yellow",
    "paused": "yellow",
}

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(epilog="Example: stagelight runs list --status failed")
def runs() -> None:
    """List, show and follow runs."""


@runs.command("list", epilog="Example: stagelight runs list --workflow etl --json | jq '.runs[].id'")
@click.option("--workflow", help="Only this workflow.")
@click.option("--status", type=click.Choice([str(status) for status in RunStatus]), help="Only this status.")
@click.option("-q", "--query", help="Text in the id, the workflow or the error.")
@click.option("-n", "--limit", type=click.IntRange(1, 500), default=20, show_default=True)
@click.option("--cursor", help="Where the last page ended.")
@url_option
@json_option
def list_(
    workflow: str | None,
    status: str | None,
    query: str | None,
    limit: int,
    cursor: str | None,
    url: str,
    as_json: bool,
) -> None:
    """List runs, newest first."""
    page = Client(url).get(
        "api", "v1", "runs", workflow=workflow, status=status, q=query, limit=limit, cursor=cursor
    )
    if as_json:
        click.echo(json.dumps(page, indent=2))
        return
    if not page["runs"]:
        click.echo("No runs yet. Start one with: stagelight run python your_app.py", err=True)
        return
    table = Table(
        "Status", "Workflow", "Run", "Started", "Duration", "Steps", "Error", box=None, pad_edge=False
    )
    for run in page["runs"]:
        table.add_row(*_row(run))
    Console().print(table)
    if page["next_cursor"]:
        click.echo(f"More: stagelight runs list --cursor {page['next_cursor']}", err=True)


@runs.command("show", epilog="Example: stagelight runs show 4bf92f3577b34da6a3ce929d0e0e4736")
@click.argument("run_id")
@url_option
@json_option
def show(run_id: str, url: str, as_json: bool) -> None:
    """Show a run with its steps."""
    snapshot = Client(url).get("api", "v1", "runs", run_id)
    if as_json:
        click.echo(json.dumps(snapshot, indent=2))
        return
    console = Console()
    run = snapshot["run"]
    console.print(
        _status(run), Text(f" {run['workflow']}", style="bold"), Text(f" {run['id']}", style="dim"), sep=""
    )
    depths: dict[str, int] = {"": -1}
    for step in snapshot["steps"]:
        depths[step["id"]] = depths.get(step["parent_id"], -1) + 1
        console.print(_step(step, depths[step["id"]]))


@runs.command("tail", epilog="Example: stagelight runs tail 4bf92f3577b34da6a3ce929d0e0e4736")
@click.argument("run_id")
@url_option
@json_option
def tail(run_id: str, url: str, as_json: bool) -> int:
    """Follow a run until it ends. The exit code is 1 if it failed."""
    console = Console()
    status = ""
    for kind, data in Client(url).feed(run_id):
        if as_json:
            click.echo(json.dumps({"type": kind, **data}))
        run = data.get("run")
        status = run["status"] if run else status
        if not as_json:
            _follow(console, kind, data)
        if kind in RUN_ENDS:
            break
    return int(status in {"failed", "terminated"})


def _follow(console: Console, kind: str, data: dict[str, Any]) -> None:
    if kind == "snapshot":
        console.print(_status(data["run"]), Text(f" {data['run']['workflow']}", style="bold"), sep="")
        for step in data["steps"]:
            console.print(_step(step, 0))
    elif data.get("log"):
        console.print(Text(f"  {data['log']['severity'] or 'LOG':8} {data['log']['message']}", style="dim"))
    elif data.get("step"):
        console.print(_step(data["step"], 0))
    elif data.get("run"):
        console.print(_status(data["run"]))


def _row(run: dict[str, Any]) -> tuple[Text, ...]:
    steps = run["steps"]
    error = run["error"]
    return (
        _status(run),
        Text(run["workflow"]),
        Text(run["id"], style="dim"),
        Text(_when(run["started_ms"])),
        Text(duration(run["duration_ms"] if run["ended_ms"] else _running_ms(run))),
        Text(f"{steps['completed']}/{steps['total']}"),
        Text(f"{error['type']}: {error['message']}".splitlines()[0][:80] if error else "", style="red"),
    )


def _status(run: dict[str, Any]) -> Text:
    return Text(run["status"], style=_STYLES.get(run["status"], ""))


def _step(step: dict[str, Any], depth: int) -> Text:
    line = Text("  " * (depth + 1))
    line.append(f"{step['status']:10}", style=_STYLES.get(step["status"], ""))
    line.append(f"{step['name']:32} ")
    line.append(duration(step["duration_ms"]), style="dim")
    if step["attempt"] > 1:
        line.append(f"  attempt {step['attempt']}", style="yellow")
    if step["error"]:
        line.append(f"  {step['error']['type']}: {step['error']['message']}", style="red")
    return line


def _running_ms(run: dict[str, Any]) -> float | None:
    return None if run["started_ms"] is None else max(0.0, time.time() * 1e3 - run["started_ms"])


def _when(started_ms: float | None) -> str:
    if started_ms is None:
        return ""
    return datetime.fromtimestamp(started_ms / 1e3, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def duration(ms: float | None) -> str:
    """Return a duration for people: `840 ms`, `12.3 s`, `4 min 05 s`, `2 h 07 min`."""
    if ms is None:
        return ""
    if ms < 1_000:
        return f"{ms:.0f} ms"
    seconds = ms / 1_000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min"
