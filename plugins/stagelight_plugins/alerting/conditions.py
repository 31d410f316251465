"""Conditions that are asked for again and again: SQL on history, and those of plugins."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from stagelight_plugins.alerting.settings import NAME
from stagelight_plugins.alerting.state.book import Fact
from stagelight_plugins.errors import BadSettings, BrokenPlugin
from stagelight_plugins.hookspecs import Condition, Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stagelight_plugins.alerting.rules.rule import Rule
    from stagelight_plugins.alerting.state.book import Book
    from stagelight_plugins.errors import Place
    from stagelight_plugins.hookspecs import Collector

MOST_FINDINGS: Final = 100
"""Alerts of one condition."""
PATIENCE_SECONDS: Final = 30.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class SqlCondition:
    """Each row of the answer is a finding: its texts are labels, its other columns are told."""

    collector: Collector
    sql: str

    async def check(self) -> Sequence[Finding]:
        """Ask history; the statement can only read."""
        answer = await self.collector.query(self.sql, seconds=10, rows=MOST_FINDINGS)
        return [_finding(answer.columns, row) for row in answer.rows]


def _finding(columns: Sequence[str], row: Sequence[Any]) -> Finding:
    named = dict(zip(columns, row, strict=True))
    labels = {name: value for name, value in named.items() if isinstance(value, str) and name.isidentifier()}
    said = named.get("summary") or ", ".join(f"{name} {value}" for name, value in named.items())
    labels.pop("summary", None)
    return Finding(labels=labels, text=str(said))


@dataclass(frozen=True, slots=True)
class Conditions:
    """Makes conditions for the rules that need one."""

    collector: Collector
    makers: Mapping[str, Callable[[Mapping[str, Any]], Any]]
    """Those of plugins, by `when`."""

    def of(self, rule: Rule, place: Place) -> Condition | None:
        """Return what a rule asks again and again; None where events say it.

        Raises:
            BadSettings: The plugin finds its options wrong.
        """
        if rule.when == "sql":
            return SqlCondition(self.collector, rule.sql)
        if rule.when not in self.makers:
            return None
        made: Condition = made_by_plugin(self.makers[rule.when], rule.options, place, Condition)
        return made


def made_by_plugin(
    make: Callable[[Mapping[str, Any]], Any], table: Mapping[str, Any], place: Place, kind: type[Any]
) -> Any:
    """Have a plugin make something, and check that it did.

    Raises:
        BadSettings: It finds the table wrong.
        BrokenPlugin: It made something else.
    """
    try:
        made = make(table)
    except ValueError as error:
        raise BadSettings(NAME, [(place, str(error))]) from error
    if not isinstance(made, kind):
        raise BrokenPlugin(".".join(place), f"its factory returned {made!r}, which is no {kind.__name__}")
    return made


@dataclass(slots=True)
class Round:
    """Checks one condition again and again, and says what is new and what is over."""

    rule: Rule
    condition: Condition
    find: Callable[[list[Fact]], None]
    now: Callable[[], float]
    problem: str = ""
    """Why it cannot be checked; empty where it can."""
    _known: set[tuple[tuple[str, str], ...]] = field(default_factory=set[tuple[tuple[str, str], ...]])

    def remember_open(self, book: Book) -> None:
        """Take up what was so before: before a restart, or before the rule was changed."""
        own = {"alertname", "severity", *self.rule.labels}
        for print_ in (*book.pending, *book.firing):
            alert = book.alerts[print_]
            if alert.rule == self.rule.name:
                self._known.add(tuple(sorted((k, v) for k, v in alert.labels.items() if k not in own)))

    async def check(self) -> None:
        """Check once. A condition that cannot be checked changes nothing, and says so."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                found = await self.condition.check()
        except Exception as error:  # noqa: BLE001 - a plugin's condition may raise anything
            if not self.problem:
                _log.warning("rule %s cannot be checked: %s", self.rule.name, error)
            self.problem = str(error) or type(error).__name__
            return
        self.problem = ""
        at = self.now()
        facts = {tuple(sorted(each.labels.items())): each.text for each in [*found][:MOST_FINDINGS]}
        said = [Fact(self.rule, about, True, at, {"finding": text}) for about, text in facts.items()]
        over = [Fact(self.rule, about, False, at) for about in self._known - facts.keys()]
        self._known = set(facts)
        self.find([*said, *over])

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(self.rule.evaluate)
