"""`stagelight runs`: list, show, follow, export, import and delete runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from stagelight.conventions import RUN_ENDS, RunStatus
from stagelight_collector.cli import lines
from stagelight_collector.cli.client import Client
from stagelight_collector.cli.failures import UserError
from stagelight_collector.cli.parameters import Duration, Moment
from stagelight_collector.cli.tables import print_table
from stagelight_collector.cli.tree import StepTree
from stagelight_plugins.options import json_option, url_option

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

SHOWN_LOGS: Final = 10
"""Log lines that `runs show` prints: the last ones."""
MAX_FILE: Final = 64 << 20
"""Bytes of an exported run, at most; the collector takes no more."""

Show = Callable[[str, dict[str, Any]], None]
_ENDED: Final = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.TERMINATED})

_FILTERS: Final = {
    "query": "q", "min_duration": "min_duration_ms", "max_duration": "max_duration_ms",
}  # fmt: skip
"""Options that the API calls by another name."""


@click.group(epilog="Example: stagelight runs list --status failed")
def runs() -> None:
    """List, show, follow, copy and delete runs."""


@runs.command("list", epilog="Example: stagelight runs list --workflow etl --json | jq '.runs[].id'")
@click.option("--workflow", help="Only this workflow.")
@click.option("--status", type=click.Choice([str(status) for status in RunStatus]), help="Only this status.")
@click.option("-q", "--query", help="Text in the id, the workflow or the error.")
@click.option("--error", help="Text in the error.")
@click.option("--min-duration", type=Duration(), help="At least so long: 250ms, 1.5s, 2m.")
@click.option("--max-duration", type=Duration(), help="At most so long.")
@click.option("--since", type=Moment(), help="Started so long ago at most, or since then: 2h, 2026-11-25.")
@click.option("--until", type=Moment(), help="Started before.")
@click.option("-a", "--attribute", multiple=True, metavar="KEY=VALUE", help="Runs with this attribute.")
@click.option("-n", "--limit", type=click.IntRange(1, 500), default=20, show_default=True)
@click.option("--cursor", help="Where the last page ended.")
@url_option
@json_option
def list_(limit: int, cursor: str | None, url: str, as_json: bool, **wanted: Any) -> None:
    """List runs, newest first."""
    filters = {_FILTERS.get(name, name): value for name, value in wanted.items() if value not in (None, ())}
    page = Client(url).get("api", "v1", "runs", **filters, limit=limit, cursor=cursor)
    if as_json:
        click.echo(json.dumps(page, indent=2))
        return
    if page["runs"]:
        headers = ("Status", "Workflow", "Run", "Started", "Duration", "Steps", "Error")
        print_table(headers, [_row(run) for run in page["runs"]])
    elif filters or cursor:
        click.echo("No run is like that. All runs: stagelight runs list", err=True)
    else:
        click.echo("No runs yet. Start one with: stagelight run python your_app.py", err=True)
    if page["next_cursor"]:
        click.echo(f"More: the same command with --cursor {page['next_cursor']}", err=True)


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
    console = Console(soft_wrap=True)
    for line in _head(snapshot["run"]):
        console.print(line)
    depths = _Depths()
    for step in snapshot["steps"]:
        console.print(lines.step(step, depths.of(step)))
    logs = snapshot["logs"][-SHOWN_LOGS:]
    if logs:
        console.print(Text(f"Last {len(logs)} of {len(snapshot['logs'])} log lines", style="bold"))
    for line in logs:
        console.print(lines.log(line))


@runs.command(
    "tail", epilog="Example: stagelight runs tail --all --json | jq 'select(.run.status == \"failed\")'"
)
@click.argument("run_id", required=False)
@click.option("--all", "everything", is_flag=True, help="Follow every run, until Ctrl-C.")
@url_option
@json_option
def tail(run_id: str | None, everything: bool, url: str, as_json: bool) -> int:
    """Follow a run until it ends, or all of them.

    On a terminal the run is a tree that is drawn anew as it changes; in a pipe, a line for each change.

    The exit code is 0 if the run completed, 1 if it did not, 3 if the collector went away and did not come back.
    """
    if (run_id is None) is not everything:
        raise click.UsageError("name one run, or follow them with --all")
    console = Console(soft_wrap=True)
    status = ""
    with _viewing(console, run_id, as_json) as show:
        for kind, data in Client(url).feed(run_id):
            show(kind, data)
            run = data.get("run")
            status = run["status"] if run else status
            if run_id is not None and kind == "gone":
                raise UserError(
                    f"run {run_id!r} was deleted; see which there are with `stagelight runs list`"
                )
            if run_id is not None and (kind in RUN_ENDS or (kind == "snapshot" and status in _ENDED)):
                break
    return int(status in {RunStatus.FAILED, RunStatus.TERMINATED})


@runs.command("delete", epilog="Example: stagelight runs delete 4bf92f3577b34da6a3ce929d0e0e4736")
@click.argument("run_id")
@click.option("--force", is_flag=True, help="Although it has not ended.")
@url_option
@json_option
def delete(run_id: str, force: bool, url: str, as_json: bool) -> None:
    """Delete a run, its spans and its log lines, for good."""
    found = Client(url, timeout=600).delete("api", "v1", "runs", run_id, force=int(force))
    click.echo(json.dumps(found) if as_json else f"Deleted {lines.plain(found['run'])}.")


@runs.command(
    "export", epilog="Example: stagelight runs export 4bf92f3577b34da6a3ce929d0e0e4736 -o run.jsonl"
)
@click.argument("run_id")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path), default="-", metavar="FILE",
    help="Where to write it; by default standard output.",
)  # fmt: skip
@url_option
def export(run_id: str, output: Path, url: str) -> None:
    """Write a run as a file: JSON Lines of its events, spans and log lines."""
    data = Client(url, timeout=600).file("api", "v1", "runs", run_id, "export")
    if str(output) == "-":
        click.echo(data, nl=False)
        return
    try:
        output.write_bytes(data)
    except OSError as error:
        raise UserError(f"cannot write {output} ({error.strerror}); name another file with -o") from error


@runs.command("import", epilog="Example: stagelight runs import run.jsonl")
@click.argument("file", type=click.File("rb"))
@url_option
@json_option
def import_(file: BinaryIO, url: str, as_json: bool) -> None:
    """Put a run that was exported into history; `-` reads standard input.

    A run that is there already stays as it is.
    """
    data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise UserError(f"the file has more than {MAX_FILE >> 20} MiB, which no exported run has")
    found = Client(url, timeout=600).send("api", "v1", "runs", "import", data=data)
    counts = f"{found['events']} events, {found['spans']} spans, {found['logs']} log lines"
    click.echo(json.dumps(found) if as_json else f"Imported {lines.plain(found['run'])}: {counts}.")


@contextmanager
def _viewing(console: Console, run_id: str | None, as_json: bool) -> Generator[Show]:
    """Yield what shows a message: as JSON, as a tree that is drawn anew, or line by line."""
    if as_json:
        yield lambda kind, data: click.echo(json.dumps({"type": kind, **data}))
    elif run_id is not None and console.is_terminal:
        tree = StepTree(console)
        with Live(tree, console=console, refresh_per_second=8, vertical_overflow="crop", transient=True):
            yield tree.take
        console.print(tree.whole())
    else:
        yield _Tail(console).show


@dataclass(slots=True)
class _Depths:
    """How deep steps lie, as far as the steps around them are known."""

    known: dict[str, int] = field(default_factory=lambda: {"": -1})

    def of(self, step: dict[str, Any]) -> int:
        depth = self.known[step["id"]] = self.known.get(step["parent_id"], -1) + 1
        return depth


@dataclass(slots=True)
class _Tail:
    """Prints what changed, once: after a reconnection the collector says again how everything is."""

    console: Console
    depths: _Depths = field(default_factory=_Depths)
    said: dict[str, tuple[object, ...]] = field(default_factory=dict[str, "tuple[object, ...]"])

    def show(self, kind: str, data: dict[str, Any]) -> None:
        if kind == "snapshot":
            for run in data.get("runs") or [data["run"]]:
                self._run(run)
            for step in data.get("steps", ()):
                self._step(step)
        elif data.get("log"):
            self.console.print(lines.log(data["log"]))
        elif data.get("step"):
            self._step(data["step"])
        elif data.get("run"):
            self._run(data["run"])

    def _step(self, step: dict[str, Any]) -> None:
        depth = self.depths.of(step)
        at = lines.progress(step["progress"]) if step["status"] == "running" else ""
        if self._is_news(step["id"], step["status"], step["attempt"], lines.failure(step["error"]), at):
            self.console.print(lines.step(step, depth))

    def _run(self, run: dict[str, Any]) -> None:
        at = lines.progress(run["progress"]) if run["status"] == "running" else ""
        if self._is_news(f"run {run['id']}", run["status"], at):
            for line in (lines.run(run), Text(f"  {at}", style="cyan"), lines.run_error(run)):
                if line.plain.strip():
                    self.console.print(line)

    def _is_news(self, about: str, *facts: object) -> bool:
        if self.said.get(about) == facts:
            return False
        self.said[about] = facts
        return True


def _row(run: dict[str, Any]) -> list[Text | str]:
    steps = run["steps"]
    return [
        lines.status(run),
        lines.plain(run["workflow"]),
        Text(lines.plain(run["id"]), style="dim"),
        lines.when(run["started_ms"]),
        lines.duration(lines.lasted(run)),
        f"{steps['completed']}/{steps['total']}",
        Text(lines.failure(run["error"]), style="red"),
    ]


def _head(run: dict[str, Any]) -> Iterator[Text]:
    yield lines.run(run)
    if run["error"]:
        yield lines.run_error(run)
    if run["progress"]:
        yield Text(f"  {lines.progress(run['progress'])}", style="cyan")
    for key, value in run["attributes"].items():
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield Text(f"  {lines.plain(key)} = {lines.plain(shown)}")
