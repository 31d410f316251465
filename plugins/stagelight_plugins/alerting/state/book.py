"""The book of alerts: facts go in, alerts begin to fire and are resolved.

A fact counts once, whenever and however often it comes: what is older than the newest fact of its kind changes
nothing, so a batch that comes again after a crash fires nothing again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from stagelight_plugins.alerting.rules.wording import short, summary
from stagelight_plugins.alerting.state.alert import RUNS, Alert, fingerprint

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from stagelight_plugins.alerting.rules.rule import Rule

MOST_ALERTS: Final = 10_000
FORGET_SECONDS: Final = 86_400.0
"""A resolved alert is remembered for so long, so that old facts that come again do not fire it."""
COUNTED: Final = 10_000
_HEARD_ONCE: Final = frozenset(
    {"run_failed", "step_failed", "missed", "stuck", "waiting", "run_too_long", "step_too_long"}
)
"""Said once, not again and again: what nobody ends is over some day."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something is so, or is no longer."""

    rule: Rule
    about: tuple[tuple[str, str], ...]
    """Labels beside those of the rule: `workflow`, `step`, `run`."""
    is_so: bool
    at: float
    """Unix seconds, by the clock of whoever saw it."""
    notes: Mapping[str, str] = field(default_factory=dict[str, str])
    run: str = ""
    firm: bool = False
    """Whether it does not need to last: it will not be undone."""


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to an alert, for the record."""

    at: float
    what: str
    """`fired`, `resolved`, `expired` or `acknowledged`."""
    alert: Alert


class Book:
    """All alerts by fingerprint."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = {rule.name: rule for rule in rules}
        self.alerts: dict[str, Alert] = {}
        self.pending: set[str] = set()
        self.firing: set[str] = set()
        self.dirty: set[str] = set()
        """Fingerprints of what must be written down."""
        self.changes: list[Change] = []
        self.refused = 0
        """Facts for which there was no place."""
        self._prints: dict[tuple[str, tuple[tuple[str, str], ...]], str] = {}
        self._seen: dict[str, set[str]] = {}
        self._unsaid: dict[str, Fact] = {}

    def restore(self, alerts: Iterable[Alert]) -> None:
        """Take alerts back; those whose rule is gone are resolved at the next turn."""
        for alert in alerts:
            self.alerts[alert.fingerprint] = alert
            if alert.status == "pending":
                self.pending.add(alert.fingerprint)
            elif alert.status == "firing":
                self.firing.add(alert.fingerprint)

    def change_rules(self, rules: Mapping[str, Rule], anew: Collection[str], now: float) -> None:
        """Go on with other rules; what was so by those that begin anew is over."""
        self.rules = dict(rules)
        self._prints.clear()
        for print_ in [*self.pending, *self.firing]:
            if self.alerts[print_].rule in anew:
                self._resolve(self.alerts[print_], "expired", now)

    def knows_of(self, rule: Rule, about: tuple[tuple[str, str], ...]) -> bool:
        """Whether an alert of these labels is pending or fires."""
        print_ = self._print(rule, about)
        return print_ in self.firing or print_ in self.pending

    def has_open(self) -> bool:
        """Whether any alert is pending or fires."""
        return bool(self.firing or self.pending)

    def take(self, fact: Fact, now: float) -> None:
        """Take a fact."""
        print_ = self._print(fact.rule, fact.about)
        alert = self.alerts.get(print_)
        if fact.is_so:
            self._begin(alert, fact, print_, now)
        elif alert is not None and fact.at > alert.good_at:
            alert.good_at = fact.at
            self.dirty.add(print_)
            self._look_at(alert, now)

    def turn(self, now: float) -> None:
        """Let time pass: what has lasted long enough fires, what is over long enough is resolved."""
        for print_ in [*self.pending, *self.firing]:
            self._look_at(self.alerts[print_], now)

    def forget(self, now: float) -> list[str]:
        """Drop what was resolved long ago; return the fingerprints."""
        old = [
            print_
            for print_, alert in self.alerts.items()
            if alert.ended and now - alert.ended > FORGET_SECONDS
        ]
        for print_ in old:
            self._drop(print_)
        return old

    def acknowledge(self, print_: str, who: str, now: float) -> Alert | None:
        """Note that somebody knows of an alert that fires; None where there is none."""
        alert = self.alerts.get(print_) if print_ in self.firing else None
        if alert is not None:
            alert.acked = who
            self._changed(alert, "acknowledged", now)
        return alert

    # --- one alert ------------------------------------------------------------------------------------------------

    def _begin(self, alert: Alert | None, fact: Fact, print_: str, now: float) -> None:
        if alert is None and len(self.alerts) >= MOST_ALERTS and not self.forget(now):
            self.refused += 1
            return
        if alert is None or alert.ended:
            if alert is not None and fact.at <= max(alert.bad_at, alert.good_at):
                return
            alert = self.alerts[print_] = self._fresh(fact, print_, alert, now)
            self.pending.add(print_)
        if fact.at > alert.bad_at or self._is_another(print_, fact.run):
            self._note(alert, fact, now)
            self.dirty.add(print_)
        self._look_at(alert, now, firm=fact.firm)

    def _fresh(self, fact: Fact, print_: str, old: Alert | None, now: float) -> Alert:
        self._seen.pop(print_, None)
        labels = self._labels(fact.rule, fact.about)
        good_at = old.good_at if old else 0.0
        return Alert(print_, fact.rule.name, labels, since=min(fact.at, now), good_at=good_at)

    def _is_another(self, print_: str, run: str) -> bool:
        """Whether a run was not counted yet: runs that fail together are heard of in any order."""
        return bool(run) and run not in self._seen.get(print_, ()) and run not in self.alerts[print_].runs

    def _note(self, alert: Alert, fact: Fact, now: float) -> None:
        alert.bad_at = max(alert.bad_at, fact.at)
        alert.heard = now
        if fact.run and self._is_another(alert.fingerprint, fact.run):
            alert.count += 1
            alert.runs.append(fact.run)
            del alert.runs[:-RUNS]
            seen = self._seen.setdefault(alert.fingerprint, set())
            if len(seen) < COUNTED:
                seen.add(fact.run)
        self._unsaid[alert.fingerprint] = fact

    def say(self) -> None:
        """Put into words what is new. Of ten thousand failures within a second only the last is worth a sentence."""
        for print_, fact in self._unsaid.items():
            if (alert := self.alerts.get(print_)) is not None:
                known = {
                    "rule": fact.rule.name,
                    "severity": fact.rule.level,
                    **dict(fact.about),
                    **fact.notes,
                }
                known |= {"run": fact.run} if fact.run else {}
                known |= {"count": str(alert.count)} if alert.count > 1 else {}
                notes = {name: short(text) for name, text in known.items() if text}
                kept = {name: text for name, text in notes.items() if name not in {*alert.labels, "rule"}}
                alert.notes = {"summary": summary(fact.rule, known), **kept}
        self._unsaid.clear()

    def _look_at(self, alert: Alert, now: float, *, firm: bool = False) -> None:
        rule = self.rules.get(alert.rule)
        if rule is None:
            self._resolve(alert, "expired", now)
        elif alert.status == "pending":
            self._look_at_pending(alert, rule, now, firm=firm)
        elif alert.status == "firing":
            if alert.is_over and now - alert.heard >= rule.lingers:
                self._resolve(alert, "resolved", now)
            elif rule.when in _HEARD_ONCE and now - alert.heard >= rule.resolve_after:
                self._resolve(alert, "expired", now)

    def _look_at_pending(self, alert: Alert, rule: Rule, now: float, *, firm: bool) -> None:
        if alert.is_over and rule.wait > 0:
            self._drop(alert.fingerprint)
        elif firm or now - alert.since >= rule.wait:
            alert.fired = now
            self.pending.discard(alert.fingerprint)
            self.firing.add(alert.fingerprint)
            self._changed(alert, "fired", now)

    def _resolve(self, alert: Alert, what: str, now: float) -> None:
        if not alert.fired:
            self._drop(alert.fingerprint)
            return
        alert.ended = now
        self.firing.discard(alert.fingerprint)
        self._seen.pop(alert.fingerprint, None)
        self._changed(alert, what, now)

    def _drop(self, print_: str) -> None:
        self.alerts.pop(print_, None)
        self._seen.pop(print_, None)
        self.pending.discard(print_)
        self.firing.discard(print_)
        self.dirty.add(print_)

    def _changed(self, alert: Alert, what: str, now: float) -> None:
        self.dirty.add(alert.fingerprint)
        self.changes.append(Change(now, what, alert))

    # --- labels ---------------------------------------------------------------------------------------------------

    def _labels(self, rule: Rule, about: tuple[tuple[str, str], ...]) -> dict[str, str]:
        return {"alertname": rule.name, "severity": rule.level, **rule.labels, **dict(about)}

    def _print(self, rule: Rule, about: tuple[tuple[str, str], ...]) -> str:
        key = (rule.name, about)
        found = self._prints.get(key)
        if found is None:
            if len(self._prints) >= 4 * MOST_ALERTS:
                self._prints.clear()
            found = self._prints[key] = fingerprint(self._labels(rule, about))
        return found
