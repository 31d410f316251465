"""Building: settings become notifiers, conditions and a service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stagelight_plugins.alerting.actions import ActionLinks, link_key
from stagelight_plugins.alerting.conditions import Conditions, made_by_plugin
from stagelight_plugins.alerting.delivery.addresses import check_url
from stagelight_plugins.alerting.delivery.guarded import Caller
from stagelight_plugins.alerting.notifiers.mail import MailNotifier
from stagelight_plugins.alerting.notifiers.pagerduty import PagerDutyNotifier
from stagelight_plugins.alerting.notifiers.slack import SlackNotifier
from stagelight_plugins.alerting.notifiers.through_apprise import AppriseNotifier
from stagelight_plugins.alerting.notifiers.webhook import WebhookNotifier
from stagelight_plugins.alerting.receivers import Apprise, Email, Other, PagerDuty, Slack, Webhook
from stagelight_plugins.alerting.rules.rulebook import Rulebook
from stagelight_plugins.alerting.service import Service
from stagelight_plugins.alerting.settings import NAME, Checked, read
from stagelight_plugins.alerting.state.store import Store
from stagelight_plugins.hookspecs import Actions, Notifier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stagelight_plugins.alerting.receivers import Receiver
    from stagelight_plugins.hookspecs import Collector


def build(collector: Collector) -> tuple[Service, list[Caller | AppriseNotifier]]:
    """Return the service of a collector, and what calls out for it.

    Raises:
        BadSettings: What is wrong with the table.
    """
    makers = _gathered(collector, "register_notifiers")
    conditions = _gathered(collector, "register_conditions")
    checked = read(collector.plugin_config(NAME), notifiers=makers, conditions=conditions)
    callers: list[Caller | AppriseNotifier] = []
    notifiers = {
        name: _notifier(name, receiver, checked, makers, callers)
        for name, receiver in checked.receivers.items()
    }
    rulebook = Rulebook(checked, Conditions(collector, conditions))
    store = Store(collector.plugin_dir(NAME) / "alerts.sqlite")
    return Service(
        collector, checked, store, notifiers, rulebook, links=_links(collector, checked, store)
    ), callers


def _gathered(collector: Collector, hook: str) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
    """Return what plugins offer under a hook, by name."""
    return {name: make for _, answer in collector.gather(hook) for name, make in answer.items()}


def _notifier(
    name: str,
    receiver: Receiver,
    checked: Checked,
    makers: Mapping[str, Callable[[Mapping[str, Any]], Any]],
    callers: list[Caller | AppriseNotifier],
) -> Notifier:
    if isinstance(receiver, Email):
        assert checked.settings.smtp is not None, "checked before"  # noqa: S101 - for the type checker
        return MailNotifier(checked.settings.smtp, receiver.to)
    if isinstance(receiver, Apprise):
        through = AppriseNotifier([url.get_secret_value() for url in receiver.urls])
        callers.append(through)
        return through
    if isinstance(receiver, Other):
        made: Notifier = made_by_plugin(
            makers[receiver.kind], receiver.model_extra or {}, ("receivers", name), Notifier
        )
        return made
    url = receiver.url.get_secret_value()
    caller = Caller(check_url(url, checked.settings.allow))
    callers.append(caller)
    return _called(receiver, caller, url)


def _called(receiver: Webhook | Slack | PagerDuty, caller: Caller, url: str) -> Notifier:
    if isinstance(receiver, Slack):
        return SlackNotifier(caller, url)
    if isinstance(receiver, PagerDuty):
        return PagerDutyNotifier(caller, url, receiver.routing_key.get_secret_value())
    secrets = [secret.get_secret_value() for secret in receiver.secret]
    headers = {header: value.get_secret_value() for header, value in receiver.headers.items()}
    return WebhookNotifier(caller, url, secrets, headers)


def _links(collector: Collector, checked: Checked, store: Store) -> ActionLinks | None:
    settings = checked.settings
    if not settings.actions.enabled:
        return None
    offered = [each for _, answer in collector.gather("register_actions") for each in answer]
    actions = [each for each in offered if isinstance(each, Actions)]
    key = link_key(collector.plugin_dir(NAME) / "links.key")
    base = (settings.url or collector.url).rstrip("/")
    return ActionLinks(collector, store, actions, key, base, settings.actions.expire)
