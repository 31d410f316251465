"""`stagelight doctor`: looks at what usually goes wrong, and says what to do."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import socket
import sqlite3
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.text import Text

from stagelight_collector import config
from stagelight_collector.cli.client import Client
from stagelight_collector.cli.failures import UserError
from stagelight_collector.cli.runs import json_option
from stagelight_dashboards import static_files
from stagelight_plugins.errors import PluginError
from stagelight_plugins.manager import Plugins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    detail: str


@click.command(epilog="Example: stagelight doctor")
@json_option
def doctor(as_json: bool) -> int:
    """Check the installation, the configuration and the running collector."""
    findings = list(_findings())
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        console = Console()
        for finding in findings:
            mark = Text("ok    ", style="green") if finding.ok else Text("wrong ", style="bold red")
            console.print(
                mark, Text(f"{finding.what}: ", style="bold"), Text(finding.detail), sep="", soft_wrap=True
            )
    return int(not all(finding.ok for finding in findings))


def _findings() -> Iterator[Finding]:
    yield Finding(
        "python", sys.version_info >= (3, 11), f"{platform.python_version()} on {platform.system()}"
    )
    yield _checked("stagelight", lambda: importlib.metadata.version("stagelight"))
    yield _checked("embedded history", lambda: f"chdb-core {importlib.metadata.version('chdb-core')}")
    yield Finding("journal", sqlite3.sqlite_version_info >= (3, 35), f"SQLite {sqlite3.sqlite_version}")
    yield Finding("page", len(static_files()) > 1, f"{len(static_files())} files")
    yield _checked("configuration", _configuration)
    yield _checked("plugins", _plugins)
    yield _checked("collector", _collector)


def _checked(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, look())
    except (
        config.ConfigError,
        PluginError,
        UserError,
        importlib.metadata.PackageNotFoundError,
        OSError,
    ) as error:
        return Finding(what, False, str(error))


def _configuration() -> str:
    settings = config.load()
    path = config.config_path()
    return f"{path if path.is_file() else 'defaults'}; data in {settings.data_dir}"


def _plugins() -> str:
    settings = config.load()
    plugins = Plugins(load=settings.plugin_names("load"), block=settings.plugin_names("block"))
    return ", ".join(info.name for info in plugins.infos() if info.loaded) or "none beside the core"


def _collector() -> str:
    settings = config.load()
    url = f"http://{settings.host}:{settings.port}"
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex((settings.host, settings.port)) != 0:
            return f"not running at {url}; start it with `stagelight up`"
    health = Client(url).get("healthz")
    return f"{health['status']} at {url}" + "".join(f"; {problem}" for problem in health["problems"])
