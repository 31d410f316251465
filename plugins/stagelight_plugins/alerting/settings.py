"""`[alerting]`: rules, receivers, routing. All of it is checked at start; what is wrong is told with its place."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from stagelight_plugins.alerting.receivers import (
    SHORT,
    STRICT,
    TYPES,
    Apprise,
    Email,
    Networks,
    Other,
    Receiver,
    Smtp,
)
from stagelight_plugins.alerting.rules.matching import Match
from stagelight_plugins.alerting.rules.rule import BUILT_IN, KINDS, Rule
from stagelight_plugins.alerting.rules.spans import Span  # noqa: TC001 - pydantic reads it
from stagelight_plugins.errors import BadSettings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from stagelight_plugins.errors import Place

NAME: Final = "alerting"
LONGEST_NAME: Final = 100
"""Characters in the name of a rule, which is a label of its alerts."""


class Inhibition(BaseModel):
    """`[[alerting.inhibit]]`: while `source` fires, `target` is not told, where their `equal` labels are equal."""

    model_config = STRICT

    source: dict[str, str]
    target: dict[str, str]
    equal: tuple[str, ...] = ("workflow",)


class Window(BaseModel):
    """`[[alerting.windows]]`: from each time of a schedule on, nothing is told for a while."""

    model_config = STRICT

    match: dict[str, str] = Field(default_factory=dict[str, str])
    cron: str
    lasts: Span
    timezone: str = "UTC"

    @model_validator(mode="after")
    def _is_a_schedule(self) -> Self:
        _ = self._schedule
        return self

    @property
    def _schedule(self) -> Rule:
        return Rule(when="missed", cron=self.cron, timezone=self.timezone)

    def open_at(self, now: float) -> bool:
        """Whether it is open."""
        return now - self._schedule.previous(now + 1) < self.lasts


class ActionLinks(BaseModel):
    """`[alerting.actions]`: links in messages that act on a run."""

    model_config = STRICT

    enabled: bool = False
    expire: Span = Field(default=86_400.0, gt=0, le=30 * 86_400.0)


class Settings(BaseModel):
    """The whole table."""

    model_config = STRICT

    webhook: Any = Field(default=None, repr=False)
    slack: Any = Field(default=None, repr=False)
    pagerduty: Any = Field(default=None, repr=False)
    email: Any = Field(default=None, repr=False)
    apprise: Any = Field(default=None, repr=False)
    receivers: dict[str, Any] = Field(default_factory=dict[str, Any], repr=False)
    smtp: Smtp | None = None
    rules: dict[str, Any] = Field(default_factory=dict[str, Any])
    off: tuple[str, ...] = ()
    """Built-in rules that are not wanted."""
    group_by: tuple[str, ...] = ("alertname", "workflow")
    group_wait: Span = 0.5
    """How long a first alert waits for others like it."""
    group_interval: Span = 60.0
    """How often, at most, a group is told of."""
    repeat_interval: Span = 14_400.0
    send_resolved: bool = True
    inhibit: tuple[Inhibition, ...] = ()
    windows: tuple[Window, ...] = ()
    allow: Networks = ()
    url: str = Field(default="", pattern=r"^(https?://\S+|)$")
    """Where people reach the collector; what links begin with."""
    actions: ActionLinks = ActionLinks()


class Checked(BaseModel):
    """Settings that can be used."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    settings: Settings
    receivers: dict[str, Receiver]
    rules: tuple[Rule, ...]


def read(
    table: Mapping[str, Any], *, notifiers: Collection[str] = (), conditions: Collection[str] = ()
) -> Checked:
    """Check the table.

    Args:
        table: `[alerting]`, as the configuration has it.
        notifiers: Types of receivers that plugins offer.
        conditions: Conditions that plugins offer.

    Raises:
        BadSettings: Everything that is wrong, each with its place.
    """
    problems: list[tuple[Place, str]] = []
    settings = _validated(Settings, table, (), problems) or Settings()
    context = {"allow": settings.allow}
    receivers = dict(_receivers(settings, {*notifiers}, context, problems))
    rules = tuple(_rules(settings, receivers, {*KINDS, *conditions}, problems))
    if problems:
        raise BadSettings(NAME, problems)
    return Checked(settings=settings, receivers=receivers, rules=rules)


def _receivers(
    settings: Settings, notifiers: set[str], context: dict[str, Any], problems: list[tuple[Place, str]]
) -> Iterator[tuple[str, Receiver]]:
    for name, key in SHORT.items():
        value = getattr(settings, name)
        if value is not None:
            made = _validated(TYPES[name], {key: value}, (name,), problems, context, own=(name,))
            yield from _usable(name, made, settings, (name,), problems)
    for name, table in settings.receivers.items():
        place = ("receivers", name)
        kind, rest = _kind(table)
        if kind in TYPES:
            made = _validated(TYPES[kind], rest, place, problems, context)
            yield from _usable(name, made, settings, place, problems)
        elif kind in notifiers:
            yield name, Other(kind=kind, **rest)
        else:
            have = ", ".join(sorted({*TYPES, *notifiers}))
            problems.append(((*place, "type"), f"there is no such type of receiver; there are {have}"))


def _kind(table: object) -> tuple[str, dict[str, Any]]:
    rest = dict(cast("dict[str, Any]", table)) if isinstance(table, dict) else {}
    return str(rest.pop("type", "")), rest


def _usable(
    name: str, made: Receiver | None, settings: Settings, place: Place, problems: list[tuple[Place, str]]
) -> Iterator[tuple[str, Receiver]]:
    missing = "aiosmtplib" if isinstance(made, Email) else "apprise" if isinstance(made, Apprise) else ""
    if isinstance(made, Email) and settings.smtp is None:
        problems.append((place, "mail needs a server; write [alerting.smtp] with its `host`"))
    elif missing and not _installed(missing):
        extra = "alerting" if missing == "aiosmtplib" else "apprise"
        problems.append((place, f"this needs an extra: pip install 'stagelight[{extra}]'"))
    elif made is not None:
        yield name, made


def _installed(module: str) -> bool:
    from importlib.util import find_spec  # noqa: PLC0415 - only where a receiver needs it

    return find_spec(module) is not None


def _rules(
    settings: Settings, receivers: Mapping[str, Receiver], kinds: set[str], problems: list[tuple[Place, str]]
) -> Iterator[Rule]:
    problems += [
        (("off",), f"{name!r} is no built-in rule; there are {', '.join(BUILT_IN)}")
        for name in settings.off
        if name not in BUILT_IN
    ]
    yield from (rule for name, rule in BUILT_IN.items() if name not in {*settings.off, *settings.rules})
    for name, table in settings.rules.items():
        rule = rule_of(name, table, receivers, kinds, problems, ("rules", name))
        if rule is not None:
            yield rule


def rule_of(
    name: str,
    table: object,
    receivers: Collection[str],
    kinds: Collection[str],
    problems: list[tuple[Place, str]],
    place: Place = (),
) -> Rule | None:
    """Return a table as a rule, and add to `problems` what is wrong with it."""
    given = {**cast("dict[str, Any]", table), "name": name} if isinstance(table, Mapping) else table
    rule = _validated(Rule, given, place, problems)
    if rule is None:
        return None
    if not name.isprintable() or not 0 < len(name) <= LONGEST_NAME:
        problems.append((place, f"write a name of 1 to {LONGEST_NAME} letters that can be seen"))
    if rule.when not in kinds:
        problems.append(((*place, "when"), f"nothing is called {rule.when!r}{_near(rule.when, kinds)}"))
    have = ", ".join(receivers) or "none yet"
    problems += [
        ((*place, "receivers"), f"there is no receiver {receiver!r}; there are: {have}")
        for receiver in rule.receivers or ()
        if receiver not in receivers
    ]
    return rule


M = TypeVar("M", bound=BaseModel)


def _validated(
    model: type[M],
    data: object,
    place: Place,
    problems: list[tuple[Place, str]],
    context: dict[str, Any] | None = None,
    own: Place = (),
) -> M | None:
    """Return the data as a model; say everything that is wrong with it. `own` stands for all places within it."""
    try:
        return model.model_validate(data, context=context)
    except ValidationError as error:
        for item in error.errors(include_url=False, include_input=False):
            inner = tuple(str(part) for part in item["loc"] if isinstance(part, str))
            inner = (*inner, *filter(None, [item.get("ctx", {}).get("key")]))
            problems.append((own or (*place, *inner), _told(item, model)))
    return None


def _told(item: Any, model: type[BaseModel]) -> str:
    if item["type"] == "extra_forbidden":
        names = Match.model_fields if "match" in item["loc"] else model.model_fields
        known = {field.alias or name for name, field in names.items()}
        what = "matcher" if "match" in item["loc"] else "setting"
        return f"there is no such {what}{_near(str(item['loc'][-1]), known)}"
    if item["type"] == "missing":
        return "this is needed"
    if item["type"] == "string_pattern_mismatch":
        return _WORDS[str(item["loc"][-1])]
    if item["type"] in _TYPES:
        return _TYPES[item["type"]]
    message = str(item["msg"]).removeprefix("Value error, ").replace("Input should be", "This should be")
    return message[:1].lower() + message[1:]


_TYPES: Final = {
    **dict.fromkeys(("dict_type", "model_type"), "this is a table; write it as name = { key = 'value' }"),
    **dict.fromkeys(("tuple_type", "list_type"), "this is a list; write ['one', 'another']"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "write true or false"),
    **dict.fromkeys(
        ("int_type", "int_parsing", "float_type", "float_parsing"), "this is no number; write one"
    ),
    "string_type": "this is a text; write it in quotes",
}
"""What is said of a value of the wrong type."""
_WORDS: Final = {
    "severity": "write critical, error, warning or info",
    "tls": "write starttls, implicit or none",
    "url": "write where people reach the collector, such as https://stagelight.example.com",
}
"""What is said of a text that is none of those that may stand there."""


def _near(name: str, possible: Collection[str]) -> str:
    found = get_close_matches(name, sorted(possible), 1)
    return f"; did you mean `{found[0]}`?" if found else f"; there are {', '.join(sorted(possible))}"
