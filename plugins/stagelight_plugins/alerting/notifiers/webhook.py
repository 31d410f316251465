"""The generic webhook: Alertmanager's body, which whatever receives alerts understands; signed by Standard Webhooks."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from stagelight_plugins.alerting.delivery import signing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stagelight_plugins.alerting.delivery.guarded import Caller
    from stagelight_plugins.hookspecs import AlertView, Notification

MOST_BYTES: Final = 20_000
"""Standard Webhooks asks for less."""
NEVER: Final = "0001-01-01T00:00:00Z"
"""How Alertmanager writes the end of what goes on."""


@dataclass(slots=True)
class WebhookNotifier:
    """Posts to one address."""

    caller: Caller
    url: str
    secrets: Sequence[str] = ()
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    now: Callable[[], float] = time.time

    async def send(self, notification: Notification) -> None:
        """Post it."""
        data = written(notification)
        signed = signing.headers(self.secrets, notification.id, int(self.now()), data)
        await self.caller.post(self.url, data, {**self.headers, **signed})


def written(notification: Notification) -> bytes:
    """Return the body as text, with as many alerts as have room; the others are counted in it."""
    data = json.dumps(body(notification), ensure_ascii=False, separators=(",", ":")).encode()
    if len(data) <= MOST_BYTES or len(notification.alerts) <= 1:
        return data
    kept = max(1, min(len(notification.alerts) - 1, len(notification.alerts) * MOST_BYTES // len(data)))
    left_out = notification.truncated + len(notification.alerts) - kept
    return written(replace(notification, alerts=notification.alerts[:kept], truncated=left_out))


def body(notification: Notification) -> dict[str, Any]:
    """Return Alertmanager's webhook body, version 4."""
    alerts = [_alert(each) for each in notification.alerts]
    return {
        "version": "4",
        "groupKey": notification.group,
        "truncatedAlerts": notification.truncated,
        "status": notification.status,
        "receiver": notification.receiver,
        "groupLabels": dict(notification.labels),
        "commonLabels": _common([each.labels for each in notification.alerts]),
        "commonAnnotations": _common([each.annotations for each in notification.alerts]),
        "externalURL": notification.url,
        "alerts": alerts,
    }


def _common(many: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return what all of them say."""
    first: Mapping[str, str] = many[0] if many else {}
    return {name: text for name, text in first.items() if all(each.get(name) == text for each in many)}


def _alert(each: AlertView) -> dict[str, Any]:
    return {
        "status": each.status,
        "labels": dict(each.labels),
        "annotations": dict(each.annotations),
        "startsAt": _written(each.starts),
        "endsAt": _written(each.ends) if each.ends else NEVER,
        "generatorURL": each.url,
        "fingerprint": each.fingerprint,
    }


def _written(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
