"""The rulebook: all rules, where each comes from, and which of them hold.

A rule of the configuration is changed there and nowhere else. One that was written in the page is kept in the store; it
may take the place of a built-in one, as one of the configuration may.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stagelight_plugins.alerting.rules.rule import BUILT_IN, KINDS
from stagelight_plugins.alerting.settings import NAME, rule_of
from stagelight_plugins.errors import BadSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stagelight_plugins.alerting.conditions import Conditions
    from stagelight_plugins.alerting.rules.rule import Rule
    from stagelight_plugins.alerting.settings import Checked
    from stagelight_plugins.errors import Place
    from stagelight_plugins.hookspecs import Condition

BUILT: Final = "built in"
CONFIGURATION: Final = "configuration"
PAGE: Final = "page"
MOST_RULES: Final = 200
"""Rules that were written in the page."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A rule that was written in the page, as it was written."""

    name: str
    table: Mapping[str, Any]
    enabled: bool
    by: str
    changed: float
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A rule and where it comes from."""

    name: str
    source: str
    rule: Rule | None
    enabled: bool = True
    condition: Condition | None = None
    problem: str = ""
    """Why it does not hold although it is switched on."""
    kept: Kept | None = None

    @property
    def holds(self) -> bool:
        """Whether it is in force."""
        return self.enabled and self.rule is not None and not self.problem


class Rulebook:
    """All rules of one collector.

    Raises:
        BadSettings: A plugin finds the options of a rule of the configuration wrong.
    """

    def __init__(self, checked: Checked, conditions: Conditions) -> None:
        self._checked = checked
        self._conditions = conditions
        self.kinds = frozenset({*KINDS, *conditions.makers})
        off = {
            name: Entry(name, CONFIGURATION, BUILT_IN[name], enabled=False) for name in checked.settings.off
        }
        self._given = off | {rule.name: self._given_entry(rule) for rule in checked.rules}
        self._kept: dict[str, Entry] = {}

    def restore(self, kept: Iterable[Kept]) -> None:
        """Take back what was written in the page. What cannot be used any more is shown, and does not hold."""
        for each in kept:
            self.put(each)

    def put(self, kept: Kept) -> None:
        """Add or change a rule of the page."""
        try:
            rule, condition = self.check(kept.name, kept.table)
        except BadSettings as error:
            entry = Entry(kept.name, PAGE, None, kept.enabled, problem=_first(error), kept=kept)
        else:
            entry = Entry(kept.name, PAGE, rule, kept.enabled, condition, self._shadowed(kept.name), kept)
        self._kept[kept.name] = entry

    def drop(self, name: str) -> None:
        """Take a rule of the page out."""
        del self._kept[name]

    def find(self, name: str) -> Entry | None:
        """Return the rule of this name that can be changed, or else that of the configuration."""
        return self._kept.get(name) or self._given.get(name)

    def entries(self) -> list[Entry]:
        """Return all rules; one of the page stands for the built-in one of its name."""
        given = [each for each in self._given.values() if each.source != BUILT or each.name not in self._kept]
        return [*given, *self._kept.values()]

    def in_force(self) -> tuple[Rule, ...]:
        """Return the rules that hold."""
        return tuple(each.rule for each in self.entries() if each.holds and each.rule is not None)

    def is_built_in(self, name: str) -> bool:
        """Whether there is a built-in rule of this name that the configuration leaves alone."""
        given = self._given.get(name)
        return given is not None and given.source == BUILT

    @property
    def kept(self) -> int:
        """How many rules of the page there are."""
        return len(self._kept)

    def check(self, name: str, table: Mapping[str, Any]) -> tuple[Rule, Condition | None]:
        """Return a table as a rule, and what is asked for it again and again where there is something.

        Raises:
            BadSettings: What is wrong with it, each with its place within the table.
        """
        problems: list[tuple[Place, str]] = []
        rule = rule_of(name, table, self._checked.receivers, self.kinds, problems)
        if rule is None or problems:
            raise BadSettings(NAME, problems)
        try:
            return rule, self._conditions.of(rule, ("options",))
        except BadSettings:
            raise
        except Exception as error:  # a plugin's factory may raise anything
            raise BadSettings(NAME, [(("options",), f"{rule.when} cannot use this: {error}")]) from error

    def _given_entry(self, rule: Rule) -> Entry:
        own = rule.name in self._checked.settings.rules
        condition = self._conditions.of(rule, ("rules", rule.name, "options"))
        return Entry(rule.name, CONFIGURATION if own else BUILT, rule, condition=condition)

    def _shadowed(self, name: str) -> str:
        if name not in self._given or self.is_built_in(name):
            return ""
        return "the configuration has a rule of this name, and that one holds; delete this one"


def _first(error: BadSettings) -> str:
    place, message = error.problems[0]
    return f"{'.'.join(place)}: {message}" if place else message
