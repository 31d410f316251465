"""Groups: what is told together, when, and what was told already.

As in Alertmanager: the first alert of a group waits `group_wait` for others, then the group is told of at most once per
`group_interval`, and again after `repeat_interval` while it goes on. A group outlives its last alert by an interval, so
that one that flaps is not new each time. Unlike there, an alert that was over before anybody was told is told all
the same: a failed run is news even where the next one succeeded.
"""

from __future__ import annotations

import heapq
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from stagelight_plugins.alerting.state.silences import fit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from stagelight_plugins.alerting.settings import Inhibition, Settings
    from stagelight_plugins.alerting.state.alert import Alert
    from stagelight_plugins.alerting.state.silences import Quiet

_KEPT_QUIET: Final = {
    "step_failed": {"run_failed"},
    "step_too_long": {"run_failed", "run_too_long"},
    "stuck": {"run_failed", "step_too_long"},
}
"""Of one run, a rule of the first kind is not told while one of the others fires: it is the same problem."""
_INHIBITING: Final = frozenset(kind for kinds in _KEPT_QUIET.values() for kind in kinds)


@dataclass(slots=True)
class Group:
    """Alerts that one receiver is told of together."""

    receiver: str
    labels: dict[str, str]
    due: float
    sent: float = 0.0
    """When it was last told of."""
    members: set[str] = field(default_factory=set[str])
    told: dict[str, float] = field(default_factory=dict[str, float])
    """Fingerprints that the receiver believes to fire, and when each began to."""

    @property
    def key(self) -> str:
        """Its name: the receiver and the labels."""
        return f"{self.receiver}:{json.dumps(self.labels, sort_keys=True, separators=(',', ':'))}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-compatible data."""
        return {
            "receiver": self.receiver, "labels": self.labels, "due": self.due, "sent": self.sent,
            "members": sorted(self.members), "told": self.told,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        given: dict[str, Any] = {**data, "members": set(data["members"])}
        return cls(**given)


@dataclass(frozen=True, slots=True)
class News:
    """What a receiver must hear of a group now."""

    group: Group
    firing: Sequence[Alert]
    resolved: Sequence[Alert]


@dataclass(slots=True)
class Burning:
    """Alerts that fire and may keep others quiet."""

    sources: list[dict[tuple[str | None, ...], list[Alert]]]
    """For each inhibition of the configuration, by the labels that must be equal."""
    by_run: dict[tuple[str, str], list[Alert]] = field(default_factory=dict[tuple[str, str], "list[Alert]"])
    """By workflow and run."""


class Groups:
    """All groups, and when each is due."""

    def __init__(
        self, settings: Settings, quiet: Quiet, alerts: Mapping[str, Alert], kind_of: Callable[[str], str]
    ) -> None:
        self.groups: dict[str, Group] = {}
        self.dirty: set[str] = set()
        self._settings = settings
        self._quiet = quiet
        self._alerts = alerts
        self._kind_of = kind_of
        self._due: list[tuple[float, str]] = []
        self._burning: Burning | None = None
        self._of: dict[str, set[str]] = {}
        """Keys of the groups that an alert is in, by its fingerprint."""

    def restore(self, groups: Iterable[Group]) -> None:
        """Take groups back."""
        for group in groups:
            self.groups[group.key] = group
            self._set_members(group, group.members)
            heapq.heappush(self._due, (group.due, group.key))

    def add(self, alert: Alert, receivers: Iterable[str], now: float) -> None:
        """Put an alert that fires into its group for each receiver."""
        labels = {name: alert.labels[name] for name in self._settings.group_by if name in alert.labels}
        for receiver in receivers:
            group = Group(receiver, labels, 0.0)
            group = self.groups.setdefault(group.key, group)
            self._set_members(group, group.members | {alert.fingerprint})
            wait = max(
                now + self._settings.group_wait, group.sent + self._settings.group_interval * (group.sent > 0)
            )
            if not group.due or group.due > wait:
                self._set_due(group, wait)

    def look_again(self, print_: str, now: float) -> None:
        """See to it that a group hears of a change of an alert when it may."""
        for key in self._of.get(print_, ()):
            group = self.groups[key]
            self._set_due(group, min(group.due, max(now, group.sent + self._settings.group_interval)))

    @property
    def next_due(self) -> float:
        """When something is due; infinite where nothing is."""
        return self._due[0][0] if self._due else float("inf")

    def turn(self, now: float) -> list[News]:
        """Return what must be told now."""
        news: list[News] = []
        self._burning = None
        while self._due and self._due[0][0] <= now:
            due, key = heapq.heappop(self._due)
            group = self.groups.get(key)
            if group is not None and group.due == due:
                news += self._flush(group, now)
        return news

    def _flush(self, group: Group, now: float) -> list[News]:
        self.dirty.add(group.key)
        members = [self._alerts[each] for each in sorted(group.members) if each in self._alerts]
        heard = [alert for alert in members if not self.muted(alert, now)]
        firing = [alert for alert in heard if not alert.ended]
        resolved = [alert for alert in heard if alert.ended]
        # Over while it was muted, and never told of: nobody needs to hear of it.
        left = {each.fingerprint for each in members if not each.ended or each.fingerprint in group.told}
        news = self._is_news(group, firing, resolved, now)
        self._set_members(group, left - {alert.fingerprint for alert in resolved})
        if not self._settings.send_resolved:
            resolved = [alert for alert in resolved if alert.fingerprint not in group.told]
        if news:
            group.sent = now
            group.told = {alert.fingerprint: alert.fired for alert in firing}
        if not group.members and now >= group.sent + self._settings.group_interval:
            del self.groups[group.key]
        else:
            self._set_due(group, now + self._settings.group_interval)
        return [News(group, firing, resolved)] if news else []

    def _is_news(self, group: Group, firing: list[Alert], resolved: list[Alert], now: float) -> bool:
        if any(group.told.get(alert.fingerprint) != alert.fired for alert in firing):
            return True
        if resolved and (
            self._settings.send_resolved or any(alert.fingerprint not in group.told for alert in resolved)
        ):
            return True
        unknown = [alert for alert in firing if not alert.acked]
        return bool(unknown) and now - group.sent >= self._settings.repeat_interval

    def muted(self, alert: Alert, now: float) -> str:
        """Return why an alert is not told now; empty where it may be."""
        return self._quiet.reason(alert, now) or self._inhibited_by(alert)

    def reasons(self, alerts: Iterable[Alert], now: float) -> dict[str, str]:
        """Return why alerts are not told now, by fingerprint."""
        self._burning = None
        return {alert.fingerprint: self.muted(alert, now) for alert in alerts}

    def _inhibited_by(self, alert: Alert) -> str:
        """A step's alert is not told while its run's alert fires, for example; nor what the configuration says."""
        burning = self._burning = self._burning or self._find_burning()
        sources = _KEPT_QUIET.get(self._kind_of(alert.rule), set[str]())
        for run in _runs(alert) if sources else ():
            for other in burning.by_run.get((alert.labels.get("workflow", ""), run), ()):
                if self._kind_of(other.rule) in sources:
                    return f"inhibited by {other.labels['alertname']}"
        for rule, found in zip(self._settings.inhibit, burning.sources, strict=True):
            if fit(rule.target, alert.labels):
                same = found.get(_equal(rule, alert), ())
                if any(other is not alert for other in same):
                    return "inhibited"
        return ""

    def _find_burning(self) -> Burning:
        """Find what may keep others quiet. Once a turn: of ten thousand alerts each asks for it."""
        burning = Burning(sources=[{} for _ in self._settings.inhibit])
        for alert in self._alerts.values():
            if not alert.fired or alert.ended:
                continue
            if self._kind_of(alert.rule) in _INHIBITING:
                for run in _runs(alert):
                    key = (alert.labels.get("workflow", ""), run)
                    burning.by_run.setdefault(key, []).append(alert)
            for rule, found in zip(self._settings.inhibit, burning.sources, strict=True):
                if fit(rule.source, alert.labels):
                    found.setdefault(_equal(rule, alert), []).append(alert)
        return burning

    def _set_members(self, group: Group, members: set[str]) -> None:
        key = group.key
        for print_ in group.members - members:
            self._of[print_].discard(key)
            if not self._of[print_]:
                del self._of[print_]
        for print_ in members:
            self._of.setdefault(print_, set()).add(key)
        group.members = members

    def _set_due(self, group: Group, due: float) -> None:
        if group.due != due:
            group.due = due
            heapq.heappush(self._due, (due, group.key))
        self.dirty.add(group.key)


def _equal(rule: Inhibition, alert: Alert) -> tuple[str | None, ...]:
    return tuple(alert.labels.get(name) for name in rule.equal)


def _runs(alert: Alert) -> set[str]:
    return {*alert.runs, alert.labels.get("run", "")} - {""}
