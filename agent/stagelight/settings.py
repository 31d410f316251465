"""Settings: what the environment and `stagelight.toml` ask of the agent.

Every standard `OTEL_*` variable keeps its meaning; ours begin with `STAGELIGHT_`. Standard library only.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
import sys
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

from stagelight import interpreter
from stagelight.guard import say_once

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

DEFAULT_ENDPOINT: Final = "http://127.0.0.1:4318"
CONFIG_FILE: Final = "stagelight.toml"
"""Read from the working directory, or from where `STAGELIGHT_CONFIG` points."""

ENDPOINT: Final = "STAGELIGHT_ENDPOINT"
CONFIG: Final = "STAGELIGHT_CONFIG"
HOST: Final = "STAGELIGHT_HOST"
PORT: Final = "STAGELIGHT_PORT"
DISTRO: Final = "OTEL_PYTHON_DISTRO"
"""Set by `stagelight run`, which has then said what is wrong in the file."""

KEYS: Final = {
    "steps": "['module.path:function']",
    "workflows": "['module.path:function']",
    "service": "'shop'",
    "endpoint": f"'{DEFAULT_ENDPOINT}'",
    "source": "false",
}
"""The keys of `[agent]`, each with an example."""
_EVERYWHERE: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - to connect, not to listen

COUNTS: Final = tuple(
    f"OTEL_{what}_LIMIT"
    for what in (
        *(f"{owner}ATTRIBUTE_COUNT" for owner in ("", "SPAN_", "LOGRECORD_", "EVENT_", "LINK_")),
        *(f"{owner}ATTRIBUTE_VALUE_LENGTH" for owner in ("", "SPAN_", "LOGRECORD_")),
        "SPAN_EVENT_COUNT",
        "SPAN_LINK_COUNT",
    )
)
"""What the SDK reads while it is imported, and raises at when it is no number."""
_LEAST_COUNT: Final = 12
"""As many attributes as a span of the agent's own may have before the program adds any."""
_LEAST_LENGTH: Final = 64
"""As many characters as ids and most names have."""
LEVELS: Final = {
    "none": logging.CRITICAL + 1,
    "off": logging.CRITICAL + 1,
    "fatal": logging.CRITICAL,
    "critical": logging.CRITICAL,
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": logging.DEBUG,
    "verbose": logging.DEBUG,
    "all": logging.DEBUG,
}
"""What `OTEL_LOG_LEVEL` may say, in OpenTelemetry's languages."""

_CHOICES: Final = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}

STEPS: Final = "STAGELIGHT_STEPS"
"""Patterns `module.path:function_glob` of functions that become steps, separated by commas or white space."""
WORKFLOWS: Final = "STAGELIGHT_WORKFLOWS"
SOURCE: Final = "STAGELIGHT_SOURCE"
"""`on` or `off`: whether the code of workflows is sent, so that the page can draw it."""
LOG_LEVEL: Final = "STAGELIGHT_LOG_LEVEL"
"""The least level of `logging` records that become log lines of a step; `off` for none."""
PROCESS_RUN: Final = "STAGELIGHT_PROCESS_RUN"
"""Set by `stagelight run`, taken out by the first Python process: the run that stands for the whole program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalLimits:
    """The sizes and times of one signal: finished spans, or the log records of starts and lines. Times are seconds."""

    queue: int = 8192
    batch: int = 512
    linger: float = 0.005
    """How long the worker gathers after something has come."""
    longest_linger: float = 0.01
    """How long it gathers under load, to fill a batch."""
    request: float = 30.0
    """The most for one request; the exporters' own default, ten seconds, is less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentLimits:
    """The sizes and times of the queues. Times are seconds."""

    spans: SignalLimits = field(default_factory=SignalLimits)
    records: SignalLimits = field(default_factory=SignalLimits)
    heartbeat: float = 20.0
    """How often an open run says that it is alive."""
    exit: float = 5.0
    """How long the end of the program may wait for the last batch, whatever happens."""
    first_retry: float = 1.0
    slowest_retry: float = 5.0


def limits(environ: Mapping[str, str] = os.environ) -> AgentLimits:
    """Read the sizes and times; a value that is no positive number is said once and ignored."""
    return AgentLimits(spans=_signal(environ, "OTEL_BSP_"), records=_signal(environ, "OTEL_BLRP_"))


def _signal(environ: Mapping[str, str], prefix: str) -> SignalLimits:
    found = SignalLimits()
    if queue := _positive(environ, f"{prefix}MAX_QUEUE_SIZE"):
        found = replace(found, queue=max(1, int(queue)))
    if batch := _positive(environ, f"{prefix}MAX_EXPORT_BATCH_SIZE"):
        found = replace(found, batch=max(1, int(batch)))
    if delay := _positive(environ, f"{prefix}SCHEDULE_DELAY"):
        found = replace(found, linger=delay / 1000, longest_linger=delay / 1000)
    if timeout := _positive(environ, f"{prefix}EXPORT_TIMEOUT"):
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
        say_once(name, "%s=%r is no positive number; it is ignored", name, text)
        return None
    return number


def unusable(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables with which OpenTelemetry's SDK cannot even be imported, each with what is wrong with it."""
    found = {name: environ[name].strip() for name in COUNTS if environ.get(name, "").strip()}
    return {
        name: f"{name}={text!r} is no whole number from 0 up; it is ignored"
        for name, text in found.items()
        if not (text.isascii() and text.isdecimal())
    }


def mend(environ: MutableMapping[str, str] = os.environ) -> None:
    """Take what nobody can use out of the environment and say so, so that the program does not end in an import."""
    for name, problem in unusable(environ).items():
        say_once(name, "%s", problem)
        del environ[name]


def warn_of_cramped(environ: Mapping[str, str] = os.environ) -> None:
    """Say of a limit that it leaves no room for what a run or step is known by; the SDK cuts that like all else."""
    for what, least in (("COUNT", _LEAST_COUNT), ("VALUE_LENGTH", _LEAST_LENGTH)):
        names = [f"OTEL_{owner}ATTRIBUTE_{what}_LIMIT" for owner in ("SPAN_", "")]
        name = next((name for name in names if environ.get(name, "").strip()), None)
        if name is not None and int(environ[name]) < least:
            say_once(
                name,
                "%s=%s is too little for what a run is known by: set at least %d",
                name,
                environ[name],
                least,
            )


def diagnostics(environ: Mapping[str, str] = os.environ) -> int | None:
    """Return the level of `logging` that `OTEL_LOG_LEVEL` asks for; None where it says nothing. Nonsense is said once."""
    text = environ.get("OTEL_LOG_LEVEL", "").strip().lower()
    if text and text not in LEVELS:
        say_once(
            "OTEL_LOG_LEVEL",
            "OTEL_LOG_LEVEL=%r is no level; there are %s; it is ignored",
            text,
            ", ".join(LEVELS),
        )
    return LEVELS.get(text)


def is_disabled(environ: Mapping[str, str] = os.environ) -> bool:
    """Say whether `OTEL_SDK_DISABLED` asks for nothing to happen at all."""
    return environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def sends_source(environ: Mapping[str, str] = os.environ) -> bool | None:
    """Say whether `STAGELIGHT_SOURCE` or `[agent] source` wants the code of workflows sent; None where neither says."""
    text = environ.get(SOURCE, "").strip().lower()
    if text in _CHOICES:
        return _CHOICES[text]
    if text:
        say_once("settings source", "%s=%r is neither on nor off; nothing is sent", SOURCE, text)
        return False
    chosen = agent_table(environ).get("source")
    return chosen if isinstance(chosen, bool) else None


def is_loopback(endpoint: str) -> bool:
    """Say whether the endpoint is on this machine, where compression only costs time."""
    host = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}").hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")


def patterns(text: str) -> tuple[str, ...]:
    """Split a list of patterns at commas and white space."""
    return tuple(part for part in re.split(r"[,\s]+", text) if part)


def endpoint(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the collector's base URL as Stagelight's own settings name it; None where they name none.

    In this order: `STAGELIGHT_ENDPOINT`, `[agent] endpoint`, and the `host` and `port` that the collector itself listens
    on (`STAGELIGHT_HOST`, `STAGELIGHT_PORT`, top-level in the file). What `OTEL_*` says is above all of them.
    """
    if chosen := environ.get(ENDPOINT, "").strip():
        return chosen
    document = _document(environ)
    table = agent_table(environ, document)
    named = table.get("endpoint")
    return named if named and isinstance(named, str) else _listening(environ, document)


def agent_table(
    environ: Mapping[str, str] = os.environ, document: Mapping[str, object] | None = None
) -> dict[str, Any]:
    """Return the `[agent]` table of `stagelight.toml`; what is wrong in it is said once, by the launcher if there is one."""
    table: object = (_document(environ) if document is None else document).get("agent", {})
    if environ.get(DISTRO) != "stagelight":
        for problem in problems(table):
            say_once(f"settings {problem}", "%s: %s", config_path(environ), problem)
    return cast("dict[str, Any]", table) if isinstance(table, dict) else {}


def problems(table: object) -> list[str]:
    """Return what is wrong in an `[agent]` table, each with its remedy; empty if nothing is."""
    if not isinstance(table, dict):
        return [f"agent: {table!r} is no table; write [agent]"]
    found = (_problem(str(key), value) for key, value in cast("dict[object, object]", table).items())
    return [f"[agent] {problem}" for problem in found if problem]


def _problem(key: str, value: object) -> str:
    if key not in KEYS:
        near = difflib.get_close_matches(key, KEYS, 1)
        return f"{key}: there is no such key; " + (
            f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(KEYS))}"
        )
    if key in {"steps", "workflows"} and listed(value) is None:
        what = "list of patterns"
    elif key == "service" and not (value and isinstance(value, str)):
        what = "name"
    elif key == "source" and not isinstance(value, bool):
        what = "choice"
    elif key == "endpoint" and not (isinstance(value, str) and "://" in value):
        what = "URL"
    else:
        return ""
    return f"{key}: {value!r} is no {what}; write {key} = {KEYS[key]}"


def listed(value: object) -> list[str] | None:
    """Return a list of patterns; a string is a list of one, and None is returned for anything else."""
    parts = cast("list[object]", value) if isinstance(value, list) else [value]
    return (
        [part for part in parts if isinstance(part, str)] if all(isinstance(p, str) for p in parts) else None
    )


def config_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the configuration file is, or would be."""
    return Path(environ.get(CONFIG) or CONFIG_FILE)


def _document(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the configuration file; one that cannot be read is empty, and said once unless it need not exist."""
    path = config_path(environ)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        if environ.get(CONFIG):
            reason = f"there is no file {path}" if isinstance(error, FileNotFoundError) else str(error)
            say_once("settings file", "%s: %s", CONFIG, reason)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        say_once("settings file", "%s is ignored: %s", path, error)
    return {}


def _listening(environ: Mapping[str, str], document: Mapping[str, object]) -> str | None:
    """Return where a collector with these settings listens, as seen from this machine; None where nothing is set."""
    host = environ.get(HOST, "").strip() or document.get("host")
    port = environ.get(PORT, "").strip() or document.get("port")
    if port is not None and not _is_port(port):
        say_once("settings port", "port %r says not where the collector is: set %s", port, ENDPOINT)
        port = None
    if not isinstance(host, str):
        host = None
    if host is None and port is None:
        return None
    host = _EVERYWHERE.get(host or "", host)
    return f"http://{f'[{host}]' if ':' in str(host) else host}:{port or 4318}"


def _is_port(value: object) -> bool:
    text = str(value) if isinstance(value, (int, str)) else ""
    return text.isdecimal() and 0 < int(text) < 65536


def script_name() -> str:
    """Return what the program is called: the script's name without its suffix, or the module's; else `python`."""
    found = interpreter.target(sys.orig_argv[1:])
    first = sys.argv[0] if sys.argv else ""
    if found.kind == "module" or first in {"", "-", "-c", "-m"}:
        return found.title
    return Path(first).stem or found.title
