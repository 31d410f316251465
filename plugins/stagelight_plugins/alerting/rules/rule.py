"""One rule: `[alerting.rules.<name>]`."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self, cast
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from stagelight_plugins.alerting.rules.matching import Match
from stagelight_plugins.alerting.rules.spans import Span  # noqa: TC001 - pydantic reads it

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS: Final[dict[str, tuple[frozenset[str], frozenset[str]]]] = {
    "run_failed": (frozenset(), frozenset()),
    "step_failed": (frozenset(), frozenset()),
    "run_too_long": (frozenset({"longer_than"}), frozenset()),
    "step_too_long": (frozenset({"longer_than"}), frozenset()),
    "stuck": (frozenset({"silent_for"}), frozenset()),
    "waiting": (frozenset({"longer_than"}), frozenset()),
    "error_rate": (frozenset({"above", "window", "at_least"}), frozenset({"above"})),
    "missed": (frozenset({"cron", "every", "timezone", "grace"}), frozenset()),
    "heartbeat": (frozenset({"within"}), frozenset({"within"})),
    "sql": (frozenset({"sql", "evaluate"}), frozenset({"sql"})),
}
"""What a rule can wait for, the keys that each kind takes, and those that it needs."""
OF_A_KIND: Final = frozenset(key for keys, _ in KINDS.values() for key in keys)

FIELDS: Final = frozenset(
    {
        "rule", "workflow", "step", "run", "service", "error", "duration", "usual", "count", "rate", "expected",
        "last", "severity", "finding",
    }
)  # fmt: skip
"""What a `summary` may name in braces."""
LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
DAY: Final = 86_400.0

_PLACEHOLDER: Final = re.compile(r"\{(\w*)\}")


class Rule(BaseModel):
    """What is waited for, where, and who hears of it."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: str = ""
    when: str
    match: Match = Match()
    for_: Span | None = Field(default=None, alias="for")
    """How long it must be so before anybody hears of it; 0, but for failed steps, that may be tried again: a minute."""
    keep_firing_for: Span | None = None
    """How long it goes on firing after it was last so: 5 minutes for failures, else 0."""
    resolve_after: Span = DAY
    """A failure of which nothing more is heard for so long is over."""
    severity: str = Field(default="", pattern=r"^(critical|error|warning|info|)$")
    receivers: tuple[str, ...] | None = None
    labels: dict[str, str] = Field(default_factory=dict[str, str])
    summary: str = ""

    longer_than: Span | None = None
    silent_for: Span | None = None
    above: float = Field(default=1.0, gt=0, le=1)
    window: Span = Field(default=3600.0, gt=0)
    at_least: int = Field(default=5, gt=0)
    cron: str = ""
    timezone: str = "UTC"
    every: Span | None = None
    grace: Span = 60.0
    within: Span = 60.0
    sql: str = ""
    evaluate: Span = Field(default=60.0, ge=1)
    options: dict[str, Any] = Field(default_factory=dict[str, Any])
    """For the condition of a plugin."""

    @property
    def wait(self) -> float:
        """How long it must be so before it fires."""
        return self.for_ if self.for_ is not None else 60.0 if self.when == "step_failed" else 0.0

    @property
    def lingers(self) -> float:
        """How long it fires after it was last so."""
        failures = self.when in {"run_failed", "step_failed"}
        return self.keep_firing_for if self.keep_firing_for is not None else 300.0 if failures else 0.0

    @property
    def level(self) -> str:
        """How bad it is."""
        return self.severity or ("error" if self.when in {"run_failed", "step_failed"} else "warning")

    @property
    def needs_more(self) -> bool:
        """Whether it looks at more than names."""
        return bool(self.match.service or self.match.attributes)

    def previous(self, now: float) -> float:
        """Return when the schedule last named a time before now, in Unix seconds."""
        from cronsim import CronSim  # noqa: PLC0415 - of the extra `alerting`

        zone = ZoneInfo(self.timezone)
        return next(CronSim(self.cron, datetime.fromtimestamp(now, zone), reverse=True)).timestamp()

    @model_validator(mode="before")
    @classmethod
    def _has_what_its_kind_needs(cls, data: Any) -> Any:
        if isinstance(data, dict):
            given = cast("dict[str, Any]", data)
            for key, message in _misfits(given):
                raise PydanticCustomError("misfit", "{text}", {"text": message, "key": key})
        return cast("object", data)

    @model_validator(mode="after")
    def _can_be_used(self) -> Self:
        for key in self.labels:
            if not LABEL.match(key):
                raise PydanticCustomError(
                    "misfit",
                    "{text}",
                    {"key": "labels", "text": f"{key!r} is no label; write letters, digits and _"},
                )
        unknown = set(_PLACEHOLDER.findall(self.summary)) - FIELDS
        if unknown:
            text = f"{{{min(unknown)}}} means nothing here; there are {', '.join(sorted(FIELDS))}"
            raise PydanticCustomError("misfit", "{text}", {"key": "summary", "text": text})
        if self.cron:
            self._check_schedule()
        return self

    def _check_schedule(self) -> None:
        try:
            self.previous(datetime.now(UTC).timestamp())
        except ImportError as error:
            text = "schedules need an extra: pip install 'stagelight[alerting]'"
            raise PydanticCustomError("misfit", "{text}", {"key": "cron", "text": text}) from error
        except KeyError as error:
            text = f"there is no time zone {self.timezone!r}; write one such as 'Europe/Berlin'"
            raise PydanticCustomError("misfit", "{text}", {"key": "timezone", "text": text}) from error
        except Exception as error:
            text = f"{self.cron!r} is no schedule ({error}); write five fields such as '0 3 * * *'"
            raise PydanticCustomError("misfit", "{text}", {"key": "cron", "text": text}) from error


def _misfits(given: dict[str, Any]) -> Iterator[tuple[str, str]]:
    kind = given.get("when")
    if not isinstance(kind, str) or kind not in KINDS:
        return
    takes, needs = KINDS[kind]
    for key in sorted(needs - given.keys()):
        yield "when", f"a rule of this kind needs `{key}`"
    for key in sorted((OF_A_KIND & given.keys()) - takes):
        others = ", ".join(sorted(takes)) or "nothing of that sort"
        yield key, f"a rule with when = {kind!r} takes {others}"
    if kind == "missed" and "cron" in given and "every" in given:
        yield "every", "give `cron` or `every`, not both"


BUILT_IN: Final[dict[str, Rule]] = {
    rule.name: rule
    for rule in (
        Rule(name="run-failed", when="run_failed"),
        Rule(name="slow-step", when="step_too_long"),
        Rule(name="stuck-run", when="stuck"),
        Rule(name="missed-run", when="missed"),
    )
}
"""What is watched where nothing is said: a failed run, and what is unusual by what history knows."""
