"""`stagelight diagram push`: hand code to the collector that no agent sends."""

from __future__ import annotations

import json
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

import click

from stagelight import settings
from stagelight.redaction import redact_source
from stagelight_plugins.diagram.limits import MOST_BODY
from stagelight_plugins.options import json_option, url_option

SUFFIXES: Final = (".py", ".js", ".mjs", ".cjs", ".jsx", ".ts", ".mts", ".cts", ".tsx")
MOST_FILES: Final = 200
CONFIG: Final = "stagelight.toml"
"""It may name what is a step."""
_SKIPPED: Final = frozenset({"node_modules", "site-packages", "__pycache__", "dist-info"})


@click.command(
    epilog='Example: stagelight diagram push dist/worker.js --version "$(git rev-parse --short HEAD)"'
)
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--with",
    "around",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A directory above PATH whose other sources it imports.",
)
@click.option("--version", help="What to call this version; a hash of the code by default.")
@url_option
@json_option
def push(path: Path, around: Path | None, version: str | None, url: str, as_json: bool) -> None:
    """Draw the workflows in PATH in the page.

    The collector reads the code in a process with limits and never runs it. What looks like a credential is taken out
    before it is sent.
    """
    root = around or path.parent
    if not path.resolve().is_relative_to(root.resolve()):
        raise click.ClickException(f"{path} is not in {root}; name a directory above it with --with")
    files = _files(path, root, others=around is not None)
    body = {
        "main": path.resolve().relative_to(root.resolve()).as_posix(),
        "files": files,
        "version": version or "",
    }
    answer = _send(url, body)
    if as_json:
        click.echo(json.dumps(answer))
    elif not answer["error"]:
        for name in answer["workflows"]:
            click.echo(f"{name}  {answer['version']}")
    if answer["error"]:
        raise click.ClickException(str(answer["error"]))
    if not answer["workflows"]:
        raise click.ClickException(
            f"there is no workflow in {path}; `stagelight diagram {path}` shows what is read"
        )


def _files(path: Path, root: Path, *, others: bool) -> dict[str, str]:
    found = {path.resolve(): _text(path)}
    for each in sorted(root.rglob("*")) if others else ():
        hidden = any(part.startswith(".") or part in _SKIPPED for part in each.relative_to(root).parts)
        if (
            (each.suffix in SUFFIXES or each == root / CONFIG)
            and not hidden
            and each.is_file()
            and len(found) < MOST_FILES
        ):
            found.setdefault(each.resolve(), _text(each))
    if sum(map(len, found.values())) > MOST_BODY // 2:
        raise click.ClickException(
            f"{path} is too large to draw: more than {MOST_BODY // 2 >> 20} MiB of code"
        )
    return {each.relative_to(root.resolve()).as_posix(): text for each, text in found.items()}


def _text(path: Path) -> str:
    return redact_source(path.read_text(encoding="utf-8", errors="replace"))


def _send(url: str, body: dict[str, Any]) -> dict[str, Any]:
    if not url.startswith(("http://", "https://")):
        raise click.ClickException(f"{url!r} is not an address; write --url {settings.DEFAULT_ENDPOINT}")
    request = Request(  # noqa: S310 - the scheme was checked
        f"{url.rstrip('/')}/api/v1/diagrams",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=30) as response:
            return _answer(url, response)
    except HTTPError as error:
        answer = _answer(url, error)
        if "detail" in answer:
            raise click.ClickException(str(answer["detail"])) from error
        return answer
    except (URLError, OSError, HTTPException) as error:
        raise click.ClickException(
            f"no collector answers at {url}; start one with `stagelight up`"
        ) from error


def _answer(url: str, response: Any) -> dict[str, Any]:
    try:
        answer = json.load(response)
        if "detail" in answer or "workflows" in answer:
            return dict(answer)
    except (ValueError, TypeError):
        pass
    raise click.ClickException(
        f"what answers at {url} is not a Stagelight collector; name its address with --url"
    )
