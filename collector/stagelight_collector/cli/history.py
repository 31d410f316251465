"""`stagelight history`: how large it is, and dropping what is old; through the running collector."""

from __future__ import annotations

import json
from typing import Any

import click

from stagelight_collector.cli import lines
from stagelight_collector.cli.client import Client
from stagelight_collector.cli.tables import print_table
from stagelight_plugins.options import json_option, url_option


@click.group(epilog="Example: stagelight history status")
def history() -> None:
    """See how large history is, and drop what is old."""


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
