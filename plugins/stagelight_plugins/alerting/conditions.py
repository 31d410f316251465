"""Conditions that are asked for again and again: SQL on history, and those of plugins."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from stagelight_plugins.alerting.state.book import Fact
from stagelight_plugins.hookspecs import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stagelight_plugins.alerting.rules.rule import Rule
    from stagelight_plugins.hookspecs import Collector, Condition

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

    def remember(self, about: tuple[tuple[str, str], ...]) -> None:
        """Take up what was so before the restart."""
        self._known.add(about)

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
