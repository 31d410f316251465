"""Samples: what a message looks like, for a test and a preview."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

from stagelight_plugins.alerting.notifiers import mail, pagerduty, slack, webhook
from stagelight_plugins.alerting.notifiers.message import notification
from stagelight_plugins.alerting.rules.rule import BUILT_IN
from stagelight_plugins.alerting.state.book import Book, Fact
from stagelight_plugins.alerting.state.groups import Group, News

if TYPE_CHECKING:
    from stagelight_plugins.alerting.rules.rule import Rule
    from stagelight_plugins.alerting.service import Service
    from stagelight_plugins.hookspecs import Notification

_NOTES: Final = {
    "error": "ValueError: this is a sample; nothing has failed",
    "duration": "5 min 20 s",
    "usual": "8\u00d7 its usual 40 s (median of its last 60)",
    "expected": "it usually does every 1 h, and last did 2 h ago",
    "rate": "40% (4 of 10)",
}


def sample(service: Service, receiver: str, rule_name: str = "") -> Notification:
    """Return a message as a rule would have it sent."""
    rules = service.desk.book.rules
    rule = rules.get(rule_name) or next(iter(rules.values()), BUILT_IN["run-failed"])
    book, now = Book([rule]), service.now()
    book.take(Fact(rule, _about(rule), True, now, _NOTES, "sample-run", firm=True), now)
    book.say()
    labels = {name: value for name, value in _about(rule) if name in service.checked.settings.group_by}
    group = Group(receiver, {"alertname": rule.name, **labels}, 0.0)
    news = News(group, list(book.alerts.values()), [])
    return notification(news, f"msg_{secrets.token_hex(12)}", service.desk.base_url, now)


def _about(rule: Rule) -> tuple[tuple[str, str], ...]:
    step = (("step", "sample step"),) if rule.when.startswith("step") else ()
    return (("workflow", "sample workflow"), *step)


def preview(service: Service, receiver: str, rule_name: str) -> dict[str, Any]:
    """Return what would be sent, without its secrets."""
    said = sample(service, receiver, rule_name)
    notifier = service.lanes[receiver].notifier
    if isinstance(notifier, slack.SlackNotifier):
        return {"body": slack.body(said)}
    if isinstance(notifier, pagerduty.PagerDutyNotifier):
        return {"body": [pagerduty.event(alert, said, "…") for alert in said.alerts]}
    if isinstance(notifier, mail.MailNotifier):
        return {"text": mail.mail(said, notifier.smtp.sender, notifier.to).as_string()}
    if isinstance(notifier, webhook.WebhookNotifier):
        return {"body": webhook.body(said)}
    return {"text": f"{said.title}\n{said.text}"}
