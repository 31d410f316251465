"""Slack: an incoming webhook with blocks. Names are text there: nothing in them is a link, a mention or markup."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stagelight_plugins.errors import DeliveryFailed

if TYPE_CHECKING:
    from stagelight_plugins.alerting.delivery.guarded import Caller
    from stagelight_plugins.hookspecs import AlertView, Notification

PACE_SECONDS: Final = 1.0
"""Slack takes one message a second."""
SHOWN: Final = 10
"""Alerts with a block each: ten stay far below Slack's 50 blocks and 13,000 characters."""
MOST_TITLE: Final = 150
MOST_TEXT: Final = 600
_FINAL: Final = frozenset({400, 403, 404})
"""Slack means it: the message, or the webhook, will never be taken."""


@dataclass(slots=True)
class SlackNotifier:
    """Posts to one incoming webhook."""

    caller: Caller
    url: str

    async def send(self, notification: Notification) -> None:
        """Post it."""
        data = json.dumps(body(notification), ensure_ascii=False).encode()
        try:
            await self.caller.post(self.url, data, {})
        except DeliveryFailed as failure:
            if failure.status in _FINAL:
                raise DeliveryFailed(str(failure), status=failure.status, final=True) from failure
            raise


def body(notification: Notification) -> dict[str, Any]:
    """Return the message: a text for where blocks are not shown, and the blocks."""
    mark = "🔴" if notification.status == "firing" else "✅"
    title = f"{mark} {notification.title}"
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": _cut(title, MOST_TITLE), "emoji": True}}
    ]
    blocks += [_section(alert) for alert in notification.alerts[:SHOWN]]
    rest = len(notification.alerts) + notification.truncated - SHOWN
    if rest > 0:
        blocks.append(_context(f"… and {rest} more"))
    if notification.links:
        blocks.append(
            {
                "type": "actions",
                "elements": [_button(words, address) for words, address in notification.links[:5]],
            }
        )
    blocks.append(_context(f"<{notification.url}|All alerts> · Stagelight"))
    return {"text": escaped(_cut(title, MOST_TEXT)), "blocks": blocks}


def _section(alert: AlertView) -> dict[str, Any]:
    summary = escaped(_cut(alert.annotations.get("summary", alert.labels["alertname"]), MOST_TEXT))
    lines = [
        f"*<{alert.url}|{summary}>*" if alert.status == "firing" else f"<{alert.url}|{summary}> — resolved"
    ]
    facts = [
        f"{name}: {escaped(alert.labels[name])}" for name in ("severity", "step") if name in alert.labels
    ]
    facts += [
        f"{name}: {escaped(alert.annotations[name])}"
        for name in ("run", "service")
        if name in alert.annotations
    ]
    return {
        "type": "section",
        "text": {"type": "mrkdwn", "text": "\n".join([*lines, "   ".join(facts)]).strip()},
    }


def _context(text: str) -> dict[str, Any]:
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": text}]}


def _button(words: str, address: str) -> dict[str, Any]:
    return {"type": "button", "text": {"type": "plain_text", "text": _cut(words, 75)}, "url": address}


def escaped(text: str) -> str:
    """Return text in which Slack sees no markup: its three characters, and what would end a link or begin a style."""
    for character, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(character, written)
    # A zero-width space keeps `*bold*`, `_it_`, `~no~`, backticks and the bar of a link from being markup.
    return "".join(f"\u200b{letter}" if letter in "*_~`|" else letter for letter in text.replace("\n", " "))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
