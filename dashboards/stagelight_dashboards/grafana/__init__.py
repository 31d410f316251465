"""Grafana's files: dashboards, and the provisioning of data source, dashboards and alert rules.

The dashboards and rules are generated (`dashboards/grafana/generate.py`); the rest is written by hand.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable
    from pathlib import Path

__all__ = ["export", "grafana_files"]

_PLACE: Final = "path: ./dashboards"
_ADDRESS: Final = "host: 127.0.0.1\n      port: 8123"
PAGE: Final = "http://127.0.0.1:4318"
"""Where the dashboards look for the live page: the default of their variable `stagelight`."""


def grafana_files() -> dict[str, str]:
    """Return the text of each file by its path, `dashboards/….json` or `provisioning/…/….yaml`."""
    return {
        path: found.read_text(encoding="utf-8")
        for path, found in sorted(_walk(files("stagelight_dashboards.grafana"), ""))
    }


def export(target: Path, *, host: str = "127.0.0.1", port: int = 8123, page: str = PAGE) -> list[Path]:
    """Write the files below a directory, for Grafana on this machine; return what was written.

    The provisioning names the directory, which must stay where it is, and the address of ClickHouse's HTTP interface; the
    dashboards name the address of the live page.

    Raises:
        OSError: They cannot be written.
    """
    folder = target.resolve()
    written: list[Path] = []
    for path, text in grafana_files().items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        ours = text.replace(_PLACE, f"path: {folder / 'dashboards'}")
        ours = ours.replace(_ADDRESS, f"host: {host}\n      port: {port}")
        place.write_text(ours.replace(f'"{PAGE}"', json.dumps(page.rstrip("/"))), encoding="utf-8")
        written.append(place)
    return written


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for child in folder.iterdir():
        if child.is_dir():
            yield from _walk(child, f"{prefix}{child.name}/")
        elif child.name.endswith((".json", ".yaml")):
            yield f"{prefix}{child.name}", child
