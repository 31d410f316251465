"""Configuration: command line > `STAGELIGHT_*` environment > `stagelight.toml` > default."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE: Final = "stagelight.toml"
"""Read from the working directory, or from where `STAGELIGHT_CONFIG` points."""


class ConfigError(Exception):
    """The configuration is wrong; the message says where and what to do."""


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


class Settings(BaseSettings):
    """All settings of the collector. Tables of other parts (`[agent]`) are theirs to check."""

    model_config = SettingsConfigDict(
        env_prefix="STAGELIGHT_",
        env_nested_delimiter="__",
        extra="forbid",
        nested_model_default_partial_update=True,
    )

    host: str = Field(default="127.0.0.1", description="The address to listen on: loopback, for now.")
    port: int = Field(default=4318, ge=0, le=65535, description="The port of telemetry, API, feed and page.")
    data_dir: Path = Field(
        default_factory=lambda: platformdirs.user_data_path("stagelight"),
        description="Where the journal and the embedded history live.",
    )
    history: str = Field(
        default="", description="The DSN of history; empty means chdb in the data directory."
    )
    allowed_hosts: list[str] = Field(default_factory=list, description="More values for the Host header.")
    limits: Bounds = Field(default_factory=Bounds)
    plugins: dict[str, Any] = Field(
        default_factory=dict,
        description="`load` and `block` are lists of names; `[plugins.<name>]` is a plugin's own table.",
    )
    agent: dict[str, Any] = Field(
        default_factory=dict, description="The agent's table, which the agent reads."
    )

    file: ClassVar[Path | None] = None

    @property
    def history_dsn(self) -> str:
        """Where history is."""
        return self.history or f"chdb://{self.data_dir / 'history'}"

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

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, config_path())


_NAMES: Final = TypeAdapter(list[str])
_TABLE: Final = TypeAdapter(dict[str, Any])


def config_path() -> Path:
    """Return where the configuration file is, or would be."""
    return Path(os.environ.get("STAGELIGHT_CONFIG", FILE))


def load(**overrides: Any) -> Settings:
    """Read the settings; `overrides` come from the command line, None meaning not given.

    Raises:
        ConfigError: A key is unknown, or a value is wrong.
    """
    path = config_path()
    if "STAGELIGHT_CONFIG" in os.environ and not path.is_file():
        raise ConfigError(f"STAGELIGHT_CONFIG: there is no file {path}")
    try:
        return Settings(**{key: value for key, value in overrides.items() if value is not None})
    except ValidationError as error:
        raise ConfigError(_explain(error)) from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def _explain(error: ValidationError) -> str:
    lines: list[str] = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(f"{key}: there is no such setting; `stagelight config show` lists them all")
        else:
            lines.append(f"{key}: {item['msg']} (got {item['input']!r})")
    return "; ".join(lines)
