"""`stagelight sql`: questions to history, through the running collector."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from stagelight_collector.cli import lines
from stagelight_collector.cli.client import Client
from stagelight_collector.cli.failures import UserError
from stagelight_collector.cli.tables import print_table
from stagelight_plugins.options import json_option, url_option


@click.command(
    epilog='Example: stagelight sql "SELECT Workflow, count() FROM stagelight_runs WHERE Status = {status:String} '
    'GROUP BY Workflow" -p status=failed'
)
@click.argument("query")
@click.option(
    "-p",
    "--param",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="The value for {NAME:Type} in the query.",
)
@click.option("--rows", type=click.IntRange(1, 100_000), default=10_000, show_default=True, help="At most.")
@click.option("--seconds", type=click.FloatRange(0, 60, min_open=True), default=10.0, show_default=True)
@url_option
@json_option
def sql(query: str, parameters: tuple[str, ...], rows: int, seconds: float, url: str, as_json: bool) -> None:
    """Ask history in SQL.

    One statement that only reads; `-` reads it from standard input.
    `SHOW TABLES` and `DESCRIBE stagelight_runs` say what there is.
    """
    body = {
        "sql": sys.stdin.read() if query == "-" else query,
        "parameters": dict(map(_parameter, parameters)),
        "rows": rows,
        "seconds": seconds,
    }
    found = Client(url, timeout=seconds + 30).post("api", "v1", "sql", body=body)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    print_table(found["columns"], [[_cell(value) for value in row] for row in found["rows"]])
    if found["truncated"]:
        click.echo(f"There are more than {rows} rows; ask for more with --rows", err=True)


def _parameter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UserError(f"--param {text!r} is not NAME=VALUE; write for example -p status=failed")
    return name, value


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return lines.plain(value)
    return lines.plain(json.dumps(value, ensure_ascii=False))
