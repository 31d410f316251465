"""`stagelight grafana`: the files that make Grafana show history."""

from __future__ import annotations

import json
from pathlib import Path

import click

from stagelight_collector.cli.failures import UserError
from stagelight_dashboards.grafana import export as write
from stagelight_plugins.options import json_option, url_option


@click.group(epilog="Example: stagelight grafana export ./grafana")
def grafana() -> None:
    """Dashboards and alert rules for Grafana."""


@grafana.command(
    epilog="Example: stagelight grafana export ./grafana, then start Grafana with GF_PATHS_PROVISIONING=$PWD/grafana/provisioning"
)
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Host of ClickHouse's HTTP interface.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=8123,
    show_default=True,
    help="Its port: `clickhouse_port` of the collector, or a server's.",
)
@url_option
@json_option
def export(directory: Path, host: str, port: int, url: str, as_json: bool) -> None:
    """Write the files into a directory, which must stay where it is.

    Grafana needs the plugin grafana-clickhouse-datasource. Its dashboards lead to the live page at --url.
    """
    try:
        written = write(directory, host=host, port=port, page=url)
    except OSError as error:
        raise UserError(
            f"cannot write into {directory} ({error.strerror or error}); choose another directory"
        ) from error
    if as_json:
        click.echo(json.dumps([str(path) for path in written], indent=2))
        return
    for path in written:
        click.echo(path)
    click.echo(f"Start Grafana with GF_PATHS_PROVISIONING={directory.resolve() / 'provisioning'}", err=True)
    click.echo("Set grafana_url in stagelight.toml, and the page links to these dashboards.", err=True)
