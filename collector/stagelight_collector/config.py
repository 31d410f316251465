"""Configuration: command line > `STAGELIGHT_*` environment > `stagelight.toml` > default."""

from __future__ import annotations

import importlib.metadata
import json
import os
import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast, get_origin
from urllib.parse import quote

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from stagelight_collector.site import Site  # noqa: TC001 - pydantic evaluates the annotations
from stagelight_plugins.manager import BUILT_IN, GROUP

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

FILE: Final = "stagelight.toml"
"""Read from the working directory, or from where `STAGELIGHT_CONFIG` points."""
PREFIX: Final = "STAGELIGHT_"
OTHERS: Final = frozenset(
    {"CONFIG", "ENDPOINT", "URL", "SKIP_UI", "STEPS", "WORKFLOWS", "LOG_LEVEL", "PROCESS_RUN", "SOURCE"}
)
"""Variables that are not settings of the collector: they belong to the commands, the build and the agent."""

_Data: TypeAlias = dict[str, Any]


class ConfigError(Exception):
    """The configuration is wrong; each problem is one line that says where and what to do."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Bounds(BaseModel):
    """`[limits]`: the bounds of memory and disk. Beyond them senders are asked to slow down, nothing is lost."""

    model_config = ConfigDict(extra="forbid")

    body_bytes: int = Field(default=16 << 20, gt=0, description="A request's body after decompression.")
    requests: int = Field(default=256, gt=0, description="Telemetry requests under way at once.")
    journal_bytes: int = Field(
        default=1 << 30, gt=0, description="The journal on disk, while history is away."
    )
    rooms: int = Field(default=1_000, gt=0, description="Runs in memory.")
    steps: int = Field(default=200_000, gt=0, description="Steps in memory, over all runs.")
    lobby: int = Field(default=500, gt=0, description="Runs in the lobby's list.")
    viewers: int = Field(default=1_000, gt=0, description="Connected viewers.")


class Keep(BaseModel):
    """`[retention]`: how many days history keeps; 0 keeps for ever. Whole days or weeks go, so it may be some more."""

    model_config = ConfigDict(extra="forbid")

    traces: int = Field(default=0, ge=0, le=36_500, description="Days that spans are kept.")
    logs: int = Field(default=0, ge=0, le=36_500, description="Days that log lines are kept.")
    metrics: int = Field(default=0, ge=0, le=36_500, description="Days that metrics are kept.")
    runs: int = Field(default=0, ge=0, le=36_500, description="Days that runs and their events are kept.")


class Settings(BaseModel):
    """All settings of the collector, as given or by default; `load` is what reads the file and the environment.

    Tables of other parts (`[agent]`) are theirs to check.
    """

    model_config = ConfigDict(extra="forbid")

    host: str = Field(default="127.0.0.1", description="The address to listen on: loopback, for now.")
    port: int = Field(default=4318, ge=0, le=65535, description="The port of telemetry, API, feed and page.")
    grpc_port: int | None = Field(
        default=None,
        ge=-1,
        le=65535,
        description="The port of OTLP over gRPC: 4317 beside port 4318 and none beside others; 0 takes a free one, -1 none.",
    )
    data_dir: Path = Field(
        default_factory=lambda: platformdirs.user_data_path("stagelight"),
        description="Where the journal and the embedded history live.",
    )
    history: str = Field(
        default="", description="The DSN of history; empty means chdb in the data directory."
    )
    bus: str = Field(default="", description="The DSN of what several collectors share, nats://…; or empty.")
    clickhouse_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="A port at which clients of ClickHouse (Grafana, DBeaver, Metabase) read the embedded history; off unless set.",
    )
    grafana_url: Site = Field(
        default="", description="Where Grafana has the exported dashboards; the page then links to them."
    )
    allowed_hosts: list[str] = Field(default_factory=list, description="More values for the Host header.")
    allowed_origins: list[str] = Field(
        default_factory=list,
        description="Other origins, such as `http://127.0.0.1:8000`, whose pages may send requests.",
    )
    redact: bool = Field(default=True, description="Whether what looks like a secret is cut out on arrival.")
    limits: Bounds = Field(default_factory=Bounds)
    retention: Keep = Field(default_factory=Keep)
    plugins: dict[str, Any] = Field(
        default_factory=dict,
        description="`load` and `block` are lists of names; `[plugins.<name>]` is a plugin's own table.",
    )
    agent: dict[str, Any] = Field(
        default_factory=dict, description="The agent's table, which the agent reads."
    )

    @property
    def url(self) -> str:
        """Where a collector with these settings listens."""
        host = self.host.strip("[]")
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def history_dsn(self) -> str:
        """Where history is."""
        return self.history or f"chdb://{quote(str(self.data_dir.absolute() / 'history'))}"

    def plugin_names(self, key: str) -> list[str]:
        """Return `plugins.load` or `plugins.block`.

        Raises:
            ConfigError: It is not a list of names.
        """
        try:
            return _NAMES.validate_python(self.plugins.get(key, []), strict=True)
        except ValidationError as error:
            found = self.plugins[key]
            raise ConfigError(
                f"plugins.{key}: {found!r} is not a list of names; write {key} = ['name']"
            ) from error

    def plugin_table(self, name: str) -> Mapping[str, Any]:
        """Return the table `[plugins.<name>]`; empty where there is none.

        Raises:
            ConfigError: It is not a table.
        """
        try:
            return _TABLE.validate_python(self.plugins.get(name, {}), strict=True)
        except ValidationError as error:
            raise ConfigError(f"plugins.{name}: this is not a table; write [plugins.{name}]") from error


_NAMES: Final = TypeAdapter(list[str])
_TABLE: Final = TypeAdapter(dict[str, Any])
_LISTS: Final = frozenset(
    name.upper() for name, known in Settings.model_fields.items() if get_origin(known.annotation) is list
)
"""Settings that a variable gives with commas in between."""


def config_path() -> Path:
    """Return where the configuration file is, or would be."""
    return Path(os.environ.get("STAGELIGHT_CONFIG") or FILE)


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read: the settings without what is wrong, and what is wrong."""

    settings: Settings
    problems: tuple[str, ...]
    """What must be mended."""
    notes: tuple[str, ...]
    """What looks like a slip but may be right: variables with our prefix that nobody here reads."""


def load(**overrides: Any) -> Settings:
    """Read the settings; `overrides` come from the command line, None meaning not given.

    Raises:
        ConfigError: A key is unknown, or a value is wrong.
    """
    found = read(**overrides)
    if found.problems:
        raise ConfigError(*found.problems)
    return found.settings


def read(**overrides: Any) -> Reading:
    """Read the settings as `load` does; what is wrong is left out and told."""
    problems: list[str] = []
    notes: list[str] = []
    given = {key: value for key, value in overrides.items() if value is not None}
    layers = _Layers(_file(problems), _environment(os.environ, problems, notes), given)
    data = layers.merged()
    for _ in range(1_000):  # each turn takes out at least one key
        try:
            settings = Settings(**data)
        except ValidationError as error:
            for item in error.errors():
                problems.append(_explain(item, layers))
                _drop(data, item["loc"])
            continue
        settings.plugins = dict(_plugin_tables(settings, layers, problems))
        return Reading(settings, tuple(problems), tuple(notes))
    return Reading(Settings(), tuple(problems), tuple(notes))


# --- the layers -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Layers:
    file: _Data
    environment: _Data
    given: _Data

    def merged(self) -> _Data:
        return _merge(_merge(self.file, self.environment), self.given)

    def source(self, keys: tuple[str, ...]) -> str:
        """Return where a key was written, as its writer knows it."""
        if _has(self.given, keys):
            return f"--{keys[0].replace('_', '-')}"
        if _has(self.environment, keys):
            return PREFIX + "__".join(keys).upper()
        return str(config_path())


def _file(problems: list[str]) -> _Data:
    path = config_path()
    try:
        return _with_plugins(tomllib.loads(path.read_text(encoding="utf-8")), problems)
    except FileNotFoundError:
        if os.environ.get("STAGELIGHT_CONFIG"):
            problems.append(f"STAGELIGHT_CONFIG: there is no file {path}")
    except OSError as error:
        problems.append(f"{path}: cannot be read: {error.strerror}")
    except ValueError as error:
        problems.append(f"{path}: this is not TOML: {error}")
    return {}


def _with_plugins(data: _Data, problems: list[str]) -> _Data:
    """Read `[alerting]` as `[plugins.alerting]`: the tables of built-in plugins may stand at the top."""
    plugins = data.get("plugins", {})
    for name in _built_in() & data.keys() - Settings.model_fields.keys():
        table = data.pop(name)
        if isinstance(plugins, dict) and name in plugins:
            problems.append(
                f"{config_path()}: there are both [{name}] and [plugins.{name}]; keep one of them"
            )
        elif isinstance(plugins, dict):
            data["plugins"] = plugins = {**_table(cast("object", plugins)), name: table}
    return data


def _environment(environ: Mapping[str, str], problems: list[str], notes: list[str]) -> _Data:
    """Read `STAGELIGHT_PORT`, `STAGELIGHT_LIMITS__ROOMS` and the like; an empty variable is as good as none."""
    settings = {name.upper(): [name] for name in Settings.model_fields if name != "agent"}
    settings |= {name.upper(): ["plugins", name] for name in _built_in()}
    found: _Data = {}
    for variable, text in sorted(environ.items()):
        first, *rest = variable.upper().removeprefix(PREFIX).split("__")
        if not variable.upper().startswith(PREFIX) or variable.upper().removeprefix(PREFIX) in OTHERS:
            continue
        if first not in settings:
            nearest = _nearest(variable, (PREFIX + name for name in [*settings, *OTHERS]))
            notes.append(f"{variable} is no variable of Stagelight and is ignored{nearest}")
        elif text:
            try:
                _put(found, [*settings[first], *(part.lower() for part in rest)], _value(first, rest, text))
            except ValueError as error:
                problems.append(f"{variable}: {text!r} is not JSON: {error}")
    return found


def _value(first: str, rest: list[str], text: str) -> object:
    if text[0] in "[{":
        return json.loads(text)
    is_list = first in _LISTS or (first == "PLUGINS" and rest in (["LOAD"], ["BLOCK"]))
    return [part.strip() for part in text.split(",")] if is_list else text


def _merge(below: _Data, above: _Data) -> _Data:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merge(_table(old), _table(value)) if _both_tables(old, value) else value
    return merged


def _both_tables(one: object, other: object) -> bool:
    return isinstance(one, dict) and isinstance(other, dict)


def _table(value: object) -> _Data:
    return cast("_Data", value)


def _put(data: _Data, keys: list[str], value: object) -> None:
    for key in keys[:-1]:
        inner = data.setdefault(key, {})
        data[key] = inner if isinstance(inner, dict) else {}
        data = _table(data[key])
    data[keys[-1]] = value


def _has(data: _Data, keys: tuple[str, ...]) -> bool:
    inner: object = data
    for key in keys:
        if not isinstance(inner, dict) or key not in _table(cast("object", inner)):
            return False
        inner = _table(cast("object", inner))[key]
    return True


def _drop(data: _Data, where: tuple[int | str, ...]) -> None:
    """Take a wrong value out; of a list with a wrong item, the whole list."""
    *tables, last = _keys(where)
    for key in tables:
        if not isinstance(data.get(key), dict):
            data.pop(key, None)
            return
        data = _table(data[key])
    data.pop(last, None)


def _keys(where: tuple[int | str, ...]) -> tuple[str, ...]:
    first_number = next((at for at, part in enumerate(where) if isinstance(part, int)), len(where))
    return tuple([str(part) for part in where[:first_number]])


# --- what is wrong --------------------------------------------------------------------------------------------------


def _explain(item: Any, layers: _Layers) -> str:
    keys = _keys(item["loc"])
    source = layers.source(keys)
    name = ".".join(keys)
    if item["type"] != "extra_forbidden":
        message = item["msg"][:1].lower() + item["msg"][1:]
        return f"{source}: `{name}` = {item['input']!r}: {message}"
    tables = {"limits": Bounds.model_fields, "retention": Keep.model_fields}
    level = tables.get(keys[0], Settings.model_fields) if len(keys) > 1 else Settings.model_fields
    nearest = _nearest(name.rpartition(".")[2], level)
    return f"{source}: `{name}` is no setting{nearest or '; `stagelight config show` prints them all'}"


def _plugin_tables(settings: Settings, layers: _Layers, problems: list[str]) -> Iterator[tuple[str, Any]]:
    """Yield the entries of `[plugins]` that have a reader: two lists of names, and tables of known plugins."""
    known = {"load", "block", *_installed()}
    for key in ("load", "block"):
        try:
            known.update(settings.plugin_names(key))
        except ConfigError as error:
            problems.append(f"{layers.source(('plugins', key))}: {error}")
            settings.plugins.pop(key)
    for key, value in settings.plugins.items():
        source = layers.source(("plugins", key))
        if key not in known:
            problems.append(
                f"{source}: `plugins.{key}` is neither `load` nor `block` nor the table of a plugin"
                + (_nearest(key, known) or "; `stagelight plugins` lists those that are installed")
            )
        elif key not in {"load", "block"} and not isinstance(value, dict):
            problems.append(f"{source}: `plugins.{key}` is not a table; write [plugins.{key}]")
        else:
            yield key, value


def _installed() -> set[str]:
    third_party = {entry.name for entry in importlib.metadata.entry_points(group=GROUP)}
    return third_party | _built_in()


def _built_in() -> set[str]:
    return {module.rpartition(".")[2] for module in BUILT_IN}


def _nearest(name: str, possible: Iterable[str]) -> str:
    found = get_close_matches(name, sorted(possible), 1)
    return f"; did you mean `{found[0]}`?" if found else ""
