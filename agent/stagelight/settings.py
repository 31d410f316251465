"""Settings: what the environment asks of the agent.

Every standard `OTEL_*` variable keeps its meaning; ours begin with `STAGELIGHT_`. Standard library only.
"""

from __future__ import annotations

import os
import re
import sys
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

from stagelight.guard import LOGGER

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_ENDPOINT: Final = "http://127.0.0.1:4318"
CONFIG_FILE: Final = "stagelight.toml"

STEPS: Final = "STAGELIGHT_STEPS"
"""Patterns `module.path:function_glob` of functions that become steps, separated by commas or white space."""
WORKFLOWS: Final = "STAGELIGHT_WORKFLOWS"
LOG_LEVEL: Final = "STAGELIGHT_LOG_LEVEL"
"""The least level of `logging` records that become log lines of a step; `off` for none."""
PROCESS_RUN: Final = "STAGELIGHT_PROCESS_RUN"
"""Set by `stagelight run`, taken out by the first Python process: the run that stands for the whole program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The sizes and times of the queue. Times are seconds."""

    queue: int = 8192
    batch: int = 512
    linger: float = 0.005
    """How long the worker gathers after it was woken."""
    longest_linger: float = 0.01
    """How long it gathers under load, to fill a batch."""
    request: float = 10.0
    exit: float = 5.0
    """How long the end of the program may wait for the last batch, whatever happens."""
    first_retry: float = 1.0
    slowest_retry: float = 5.0


def limits(environ: Mapping[str, str] = os.environ) -> Limits:
    """Read the sizes and times; a value that is no positive number is said once and ignored."""
    found = Limits()
    if queue := _positive(environ, "OTEL_BSP_MAX_QUEUE_SIZE"):
        found = replace(found, queue=int(queue))
    if batch := _positive(environ, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"):
        found = replace(found, batch=max(1, int(batch)))
    if delay := _positive(environ, "OTEL_BSP_SCHEDULE_DELAY"):
        found = replace(found, linger=delay / 1000, longest_linger=delay / 1000)
    if timeout := _positive(environ, "OTEL_BSP_EXPORT_TIMEOUT"):
        found = replace(found, request=timeout / 1000)
    return replace(found, batch=min(found.batch, found.queue))


def _positive(environ: Mapping[str, str], name: str) -> float | None:
    text = environ.get(name, "").strip()
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number < 1e9:
        LOGGER.warning("%s=%r is no positive number; it is ignored", name, text)
        return None
    return number


def is_disabled(environ: Mapping[str, str] = os.environ) -> bool:
    """Say whether `OTEL_SDK_DISABLED` asks for nothing to happen at all."""
    return environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def is_loopback(endpoint: str) -> bool:
    """Say whether the endpoint is on this machine, where compression only costs time."""
    host = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}").hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")


def patterns(text: str) -> tuple[str, ...]:
    """Split a list of patterns at commas and white space."""
    return tuple(part for part in re.split(r"[,\s]+", text) if part)


def config_file(directory: Path | None = None) -> dict[str, Any]:
    """Return the `[agent]` table of `stagelight.toml` in the directory (the current one by default).

    A file that cannot be read or has no such table is an empty table; broken TOML is said in the log.
    """
    path = (directory or Path.cwd()) / CONFIG_FILE
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("agent", {})
    except OSError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        LOGGER.warning("%s is ignored: %s", path, error)
        return {}
    return cast("dict[str, Any]", table) if isinstance(table, dict) else {}


def script_name(arguments: list[str] | None = None) -> str:
    """Return what the program is called: the script's name without its suffix, or the module's."""
    original = list(sys.orig_argv if arguments is None else arguments)
    if "-m" in original[:-1]:
        return original[original.index("-m") + 1].rpartition(".")[2]
    first = sys.argv[0] if arguments is None and sys.argv else (arguments or [""])[0]
    return Path(first).stem or "python"
