"""`stagelight history`: how large it is and dropping what is old, through the running collector; its tables, without."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import click

from stagelight_collector import config
from stagelight_collector.cli import lines
from stagelight_collector.cli.client import Client
from stagelight_collector.cli.starting import explained
from stagelight_collector.cli.tables import print_table
from stagelight_collector.history import preparing
from stagelight_collector.history.engine import ServerEngine, engine_of
from stagelight_collector.history.layout import Layout
from stagelight_plugins.options import json_option, url_option


@click.group(epilog="Example: stagelight history status")
def history() -> None:
    """Make history, see its size, drop what is old."""


@history.command(epilog="Example: stagelight history status --json | jq .bytes")
@url_option
@json_option
def status(url: str, as_json: bool) -> None:
    """Say how large history is, and how long it is kept."""
    found = Client(url).get("api", "v1", "history")
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(found["engine"])
    kept = ", ".join(
        f"{name} {f'{days} days' if days else 'for ever'}" for name, days in found["retention_days"].items()
    )
    click.echo(f"Kept: {kept} ([retention] in stagelight.toml)\n")
    total: dict[str, Any] = {
        "name": "all",
        **{key: found[key] for key in ("rows", "bytes", "parts", "oldest_ms")},
    }
    rows = [
        [
            item["name"],
            f"{item['rows']:,}",
            lines.size(item["bytes"]),
            str(item["parts"]),
            lines.when(item["oldest_ms"]),
        ]
        for item in (*found["tables"], total)
    ]
    print_table(("Table", "Rows", "On disk", "Parts", "Oldest"), rows)


@history.command(epilog="Example: stagelight history prune --dry-run")
@click.option("--dry-run", is_flag=True, help="Only say what would be dropped.")
@url_option
@json_option
def prune(dry_run: bool, url: str, as_json: bool) -> None:
    """Drop what is older than `[retention]` keeps; the collector does it daily by itself.

    Whole days of spans and log lines go, and whole weeks of events; a run is forgotten with its last week.
    """
    client = Client(url, timeout=600)
    found = client.post("api", "v1", "history", "prune", body={}, dry_run=int(dry_run))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    if found["dropped"]:
        rows = [
            [item["table"], item["partition"], f"{item['rows']:,}", lines.size(item["bytes"])]
            for item in found["dropped"]
        ]
        print_table(("Table", "From", "Rows", "On disk"), rows)
    what = f"{found['rows']:,} rows, {lines.size(found['bytes'])}"
    runs = f"{found['runs']:,} runs"
    click.echo(
        f"Would drop {what}, and forget {runs}." if dry_run else f"Dropped {what}, and forgot {runs}.",
        err=True,
    )


@history.command(epilog="Example: stagelight history init --cluster main --dry-run > schema.sql")
@click.option("--cluster", default="", metavar="NAME", help="Spread over this cluster of the server's.")
@click.option(
    "--indexes",
    type=click.Choice(["auto", "text", "bloom"]),
    default="auto",
    help="For attributes; text needs ClickHouse 26.2.",
)
@click.option("--dry-run", is_flag=True, help="Only print the statements.")
def init(cluster: str, indexes: str, dry_run: bool) -> None:
    """Make history's tables before the first start.

    A collector makes them by itself on one server. For a cluster do it here: it cannot be chosen later.
    """
    settings = config.load()
    with explained():
        engine = engine_of(settings.history_dsn, data_dir=settings.data_dir)
        text_indexes = None if indexes == "auto" else indexes == "text"
        if dry_run:
            if text_indexes is None:
                text_indexes = isinstance(engine, ServerEngine)
            for statement in preparing.script(engine, Layout(cluster, text_indexes)):
                click.echo(f"{statement.strip()};\n")
            return
        with ThreadPoolExecutor(1) as thread:  # the engine's threads must not keep signals back
            layout, before, after = thread.submit(preparing.prepare, engine, cluster, text_indexes).result()
    where = f"{engine.description}{f', on the cluster {layout.cluster!r}' if layout.cluster else ''}"
    done = "had it already" if before == after else f"made from schema {before}" if before else "made"
    click.echo(f"{where}: schema {after}, {done}.", err=True)
