"""Matchers: patterns on workflow, step, service and attributes. `*` and `?` as in file names; `!` before one says "not"."""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def _globs(value: object) -> tuple[str, ...]:
    given = cast("list[object]", value) if isinstance(value, (list, tuple)) else [value]
    patterns = tuple(each for each in given if isinstance(each, str))
    if not patterns or len(patterns) < len(given):
        raise ValueError("this is no pattern; write a text such as 'billing*', or a list of them")
    return patterns


Globs = Annotated[tuple[str, ...], BeforeValidator(_globs)]


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))


def matches(patterns: Sequence[str], text: str) -> bool:
    """Whether a text fits any of the patterns that have no `!`, and none of those that have one."""
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
    refused = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    if any(_compiled(pattern).match(text) for pattern in refused):
        return False
    return not wanted or any(_compiled(pattern).match(text) for pattern in wanted)


class Match(BaseModel):
    """`match = { workflow = "billing*", attributes = { team = "payments" } }`: all of it must fit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    workflow: Globs = ()
    step: Globs = ()
    service: Globs = ()
    attributes: dict[str, Globs] = Field(default_factory=dict[str, Globs])

    def fits_names(self, workflow: str, step: str | None = None) -> bool:
        """Whether the names fit. The answer for a name never changes, so it is asked once per name."""
        return matches(self.workflow, workflow) and (step is None or matches(self.step, step))

    def fits_rest(self, service: str, attributes: Mapping[str, Any]) -> bool:
        """Whether what differs from run to run fits."""
        return matches(self.service, service) and all(
            key in attributes and matches(patterns, str(attributes[key]))
            for key, patterns in self.attributes.items()
        )
