"""`stagelight doctor`: looks at what usually goes wrong, and says what to do."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import socket
import sqlite3
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import click
from rich.console import Console
from rich.text import Text

from stagelight import settings as agent
from stagelight_collector import config, security
from stagelight_collector.cli.client import Client
from stagelight_collector.cli.failures import UserError
from stagelight_dashboards import static_files
from stagelight_plugins.manager import Plugins
from stagelight_plugins.options import json_option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LEAST_FREE_BYTES: Final = 1 << 28
"""With less room on the disk than this, the journal may soon have to refuse."""
TIMEOUT_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    detail: str
    note: bool = False
    """Whether it may be as it should, and should be looked at."""


class _Wrong(Exception):
    """Something is not as it should be."""


@click.command(epilog="Example: stagelight doctor")
@json_option
def doctor(as_json: bool) -> int:
    """Find out what is wrong, and what to do."""
    findings = list(_findings())
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        console = Console(soft_wrap=True)
        for finding in findings:
            line = _mark(finding)
            line.append(f"{finding.what}: ", style="bold")
            console.print(line.append(finding.detail))
    return int(not all(finding.ok for finding in findings))


def _mark(finding: Finding) -> Text:
    if finding.note:
        return Text("note   ", style="yellow")
    return Text("ok     ", style="green") if finding.ok else Text("wrong  ", style="bold red")


def _findings() -> Iterator[Finding]:
    yield Finding(
        "python", sys.version_info >= (3, 11), f"{platform.python_version()} on {platform.system()}"
    )
    yield _checked("stagelight", lambda: importlib.metadata.version("stagelight"))
    yield _checked("embedded history", lambda: f"chdb-core {importlib.metadata.version('chdb-core')}")
    yield Finding("journal", sqlite3.sqlite_version_info >= (3, 35), f"SQLite {sqlite3.sqlite_version}")
    yield Finding("page", len(static_files()) > 1, f"{len(static_files())} files")
    found = config.read()
    settings = found.settings
    yield from _configuration(found)
    yield from _plugins(settings)
    yield _checked("data directory", lambda: _data_dir(settings.data_dir))
    yield _checked("collector", lambda: _collector(settings))


def _checked(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, look())
    except importlib.metadata.PackageNotFoundError as error:
        return Finding(what, False, f"{error.name} is missing; pip install 'stagelight[collector]'")
    except (_Wrong, UserError, security.UnsafeBind, OSError) as error:
        return Finding(what, False, str(error))


def _configuration(found: config.Reading) -> Iterator[Finding]:
    path = config.config_path()
    problems = [*found.problems, *(f"{path}: {line}" for line in agent.problems(found.settings.agent))]
    for problem in problems:
        yield Finding("configuration", False, problem)
    if not problems:
        yield Finding("configuration", True, str(path) if path.is_file() else "defaults")
    for note in found.notes:
        yield Finding("environment", True, note, note=True)


def _plugins(settings: config.Settings) -> Iterator[Finding]:
    infos = Plugins(
        load=settings.plugin_names("load"), block=settings.plugin_names("block"), strict=False
    ).infos()
    for info in infos:
        if info.problem:
            yield Finding("plugins", False, info.problem)
    loaded = ", ".join(info.name for info in infos if info.loaded)
    if loaded or not any(info.problem for info in infos):
        yield Finding("plugins", True, loaded or "none beside the core")


def _data_dir(path: Path) -> str:
    """Look at the directory, or at where it would be made."""
    place = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    if not place.is_dir():
        raise _Wrong(f"{place} is a file; name another directory with `data_dir` or --data-dir")
    if not os.access(place, os.W_OK | os.X_OK):
        raise _Wrong(f"{place} cannot be written; name another directory with `data_dir` or --data-dir")
    free = shutil.disk_usage(place).free
    if free < LEAST_FREE_BYTES:
        raise _Wrong(f"only {free >> 20} MB are free at {place}; make room, or name another directory")
    return f"{path}{'' if path.exists() else ' (made at the first start)'}; {free / 1e9:.1f} GB free"


def _collector(settings: config.Settings) -> str:
    security.check_bind(settings.host)
    if settings.port == 0:
        return "port 0: each one started takes a free port"
    try:
        socket.create_connection((settings.host.strip("[]"), settings.port), timeout=1).close()
    except OSError:
        return f"not running at {settings.url}; start it with `stagelight up`"
    health = Client(settings.url, TIMEOUT_SECONDS).get("healthz")
    told = "; ".join([f"{health['status']} at {settings.url}", *health.get("problems", [])])
    if health["status"] != "ok":
        raise _Wrong(told)
    return told
