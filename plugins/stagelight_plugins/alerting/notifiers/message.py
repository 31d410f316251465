"""The message: what is said to people about a group, whatever the receiver is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from stagelight_plugins.hookspecs import AlertView, Notification

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stagelight_plugins.alerting.state.alert import Alert
    from stagelight_plugins.alerting.state.groups import News

MOST_ALERTS: Final = 20
"""Alerts in one message."""
SHOWN: Final = 5
"""Alerts that the text names."""


def notification(news: News, identity: str, base_url: str, now: float) -> Notification:
    """Return what a receiver is told."""
    alerts = [*news.firing, *news.resolved]
    views = tuple(view(alert, base_url) for alert in alerts[:MOST_ALERTS])
    status = "firing" if news.firing else "resolved"
    return Notification(
        id=identity,
        receiver=news.group.receiver,
        group=news.group.key,
        status=status,
        title=_title(views, len(news.firing), len(news.resolved)),
        text=_text(views, len(alerts)),
        labels=dict(news.group.labels),
        alerts=views,
        truncated=max(0, len(alerts) - MOST_ALERTS),
        url=f"{base_url}/#/alerts",
        created=now,
    )


def view(alert: Alert, base_url: str) -> AlertView:
    """Return an alert as receivers see it."""
    run = alert.labels.get("run") or alert.notes.get("run", "")
    return AlertView(
        fingerprint=alert.fingerprint,
        status="resolved" if alert.ended else "firing",
        labels=dict(alert.labels),
        annotations=dict(alert.notes),
        starts=alert.since,
        ends=alert.ended,
        url=f"{base_url}/#/runs/{quote(run, safe='')}" if run else f"{base_url}/#/alerts",
    )


def _title(views: Sequence[AlertView], firing: int, resolved: int) -> str:
    """One alert: what it is. Several: how many, and the first."""
    if firing + resolved == 1:
        word = "Resolved: " if resolved else ""
        return f"{word}{views[0].annotations.get('summary', views[0].labels['alertname'])}"
    count = (
        f"{firing} firing" + (f", {resolved} resolved" if resolved else "")
        if firing
        else f"{resolved} resolved"
    )
    return f"{count}: {views[0].annotations.get('summary', views[0].labels['alertname'])}, and others"


def _text(views: Sequence[AlertView], total: int) -> str:
    lines = [_line(each) for each in views[:SHOWN]]
    if total > SHOWN:
        lines.append(f"… and {total - SHOWN} more")
    return "\n".join(lines)


def _line(each: AlertView) -> str:
    over = "Resolved: " if each.status == "resolved" else ""
    return f"{over}{each.annotations.get('summary', each.labels['alertname'])}"
