"""PagerDuty Events v2: an incident for each alert, found again by its fingerprint and resolved with it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from stagelight_plugins.errors import DeliveryFailed

if TYPE_CHECKING:
    from stagelight_plugins.alerting.delivery.guarded import Caller
    from stagelight_plugins.hookspecs import AlertView, Notification

MOST_SUMMARY: Final = 1024


@dataclass(slots=True)
class PagerDutyNotifier:
    """Posts events with one routing key."""

    caller: Caller
    url: str
    routing_key: str

    async def send(self, notification: Notification) -> None:
        """Post an event for each alert; after a failure all are sent again, which changes nothing there."""
        for alert in notification.alerts:
            data = json.dumps(event(alert, notification, self.routing_key), ensure_ascii=False).encode()
            try:
                await self.caller.post(self.url, data, {})
            except DeliveryFailed as failure:
                if failure.status == 400:  # it says so of an event that it cannot read
                    raise DeliveryFailed(str(failure), status=400, final=True) from failure
                raise


def event(alert: AlertView, notification: Notification, routing_key: str) -> dict[str, Any]:
    """Return one event."""
    found: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": "trigger" if alert.status == "firing" else "resolve",
        "dedup_key": alert.fingerprint,
    }
    if alert.status != "firing":
        return found
    summary = alert.annotations.get("summary", alert.labels["alertname"])
    links = [{"href": alert.url, "text": "The run"}]
    links += [{"href": address, "text": words} for words, address in notification.links]
    return {
        **found,
        "client": "Stagelight",
        "client_url": notification.url,
        "links": links,
        "payload": {
            "summary": summary[:MOST_SUMMARY],
            "source": alert.labels.get("workflow") or "stagelight",
            "severity": alert.labels["severity"],
            "timestamp": datetime.fromtimestamp(alert.starts, UTC).isoformat(timespec="milliseconds"),
            "component": alert.labels.get("step", ""),
            "class": alert.labels["alertname"],
            "group": alert.labels.get("workflow", ""),
            "custom_details": dict(alert.annotations),
        },
    }
