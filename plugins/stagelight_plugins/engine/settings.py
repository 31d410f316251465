"""Settings: the table `[plugins.engine]` of the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from stagelight_plugins.engine.limits import Limits
from stagelight_plugins.errors import PluginError
from stagelight_plugins.validation import first_problem

if TYPE_CHECKING:
    from collections.abc import Mapping

_TABLE: Final = "[plugins.engine]"
_REMEDY: Final = f"write `workflows = ['flows.py', 'my.module']` below {_TABLE}"


class SettingsUnusable(PluginError):
    """The table has something wrong in it."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{_TABLE}: {reason}")


class EngineSettings(BaseModel):
    """What can be set."""

    model_config = ConfigDict(extra="forbid", strict=True)

    workflows: list[Annotated[str, StringConstraints(min_length=1)]] = Field(default_factory=list[str])
    """Files, and modules by name."""
    reload: bool = False
    """Whether a workflow whose file has changed is loaded again; for development."""
    limits: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict[str, int])
    """Limits other than the default, by their names in `limits.py`."""

    def bounds(self) -> Limits:
        """Return the limits.

        Raises:
            SettingsUnusable: There is no limit of such a name.
        """
        known = Limits.__dataclass_fields__
        if others := sorted(self.limits.keys() - known.keys()):
            raise SettingsUnusable(f"`limits.{others[0]}` is no limit; there are {', '.join(known)}")
        if self.limits.get("shards") == 0 or self.limits.get("threads") == 0:
            raise SettingsUnusable("`limits.shards` and `limits.threads` are at least 1")
        return Limits(**self.limits)


def read(table: Mapping[str, Any]) -> EngineSettings:
    """Read the table.

    Raises:
        SettingsUnusable: Something in it is wrong.
    """
    if others := sorted(table.keys() - EngineSettings.model_fields.keys()):
        raise SettingsUnusable(f"`{others[0]}` is no setting of the engine; {_REMEDY}")
    try:
        return EngineSettings.model_validate(dict(table))
    except ValidationError as error:
        if error.errors()[0]["loc"][0] == "workflows":
            raise SettingsUnusable(f"`workflows` is not a list of files or modules; {_REMEDY}") from error
        raise SettingsUnusable(first_problem(error)) from error
