"""What may stand in `[alerting]`, and what is said of what may not."""

from __future__ import annotations

import base64
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from stagelight_plugins.alerting.receivers import Slack, Webhook
from stagelight_plugins.alerting.rules.matching import Match
from stagelight_plugins.alerting.rules.rule import KINDS
from stagelight_plugins.alerting.settings import read
from stagelight_plugins.errors import BadSettings

KEY = "whsec_" + base64.b64encode(b"k" * 32).decode()


def test_two_lines_send_failed_runs_to_slack() -> None:
    checked = read({"slack": "https://hooks.slack.com/services/T/B/x"})

    assert isinstance(checked.receivers["slack"], Slack)
    assert [rule.name for rule in checked.rules] == ["run-failed", "slow-step", "stuck-run", "missed-run"]


RULE: dict[str, Any] = {"when": "run_failed"}
WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"slak": "x"}, "slak", "there is no such setting; did you mean `slack`?"),
    ({"slack": "hooks.slack.com/x"}, "slack", "this is no address of a receiver; write https://…"),
    ({"webhook": "http://example.com/"}, "webhook", "what is sent there could be read on the way; write https://…"),
    ({"webhook": "https://u:secret@example.com/"}, "webhook", "a URL is no place for a password"),
    ({"webhook": "https://example.com/?token=secret"}, "webhook", "a URL's query is no place for a secret"),
    ({"pagerduty": "R0UT1NGsecret"}, "pagerduty", "a secret does not belong into this file"),
    ({"pagerduty": "env:NOT_SET_ANYWHERE"}, "pagerduty", "the environment variable NOT_SET_ANYWHERE is not set"),
    ({"pagerduty": "file:/nowhere/key"}, "pagerduty", "the file /nowhere/key cannot be read"),
    ({"email": "ops"}, "email", "'ops' is no address; write one such as 'ops@example.com'"),
    ({"email": "ops@example.com"}, "email", "mail needs a server; write [alerting.smtp] with its `host`"),
    ({"receivers": {"ops": {"type": "pager"}}}, "receivers.ops.type", "there is no such type of receiver"),
    ({"receivers": {"ops": {"type": "webhook", "url": "https://x.org", "secret": KEY}}}, "receivers.ops.secret", "a secret does not belong into this file"),
    ({"receivers": {"ops": {"type": "webhook"}}}, "receivers.ops.url", "this is needed"),
    ({"rules": {"r": {"when": "run_fail"}}}, "rules.r.when", "nothing is called 'run_fail'; did you mean `run_failed`?"),
    ({"rules": {"r": {**RULE, "match": {"workfow": "x"}}}}, "rules.r.match.workfow", "there is no such matcher; did you mean `workflow`?"),
    ({"rules": {"r": {**RULE, "match": {"workflow": 3}}}}, "rules.r.match.workflow", "this is no pattern"),
    ({"rules": {"r": {**RULE, "cron": "* * * * *"}}}, "rules.r.cron", "a rule with when = 'run_failed' takes nothing of that sort"),
    ({"rules": {"r": {"when": "error_rate"}}}, "rules.r.when", "a rule of this kind needs `above`"),
    ({"rules": {"r": {"when": "missed", "cron": "0 25 * * *"}}}, "rules.r.cron", "'0 25 * * *' is no schedule"),
    ({"rules": {"r": {"when": "missed", "cron": "0 5 * * *", "timezone": "Mars/Base"}}}, "rules.r.timezone", "there is no time zone 'Mars/Base'"),
    ({"rules": {"r": {"when": "missed", "cron": "0 5 * * *", "every": "1d"}}}, "rules.r.every", "give `cron` or `every`, not both"),
    ({"rules": {"r": {**RULE, "for": "a while"}}}, "rules.r.for", "this is no span of time"),
    ({"rules": {"r": {**RULE, "summary": "{nme}"}}}, "rules.r.summary", "{nme} means nothing here; there are count, "),
    ({"rules": {"r": {**RULE, "labels": {"not a label": "x"}}}}, "rules.r.labels", "'not a label' is no label"),
    ({"rules": {"r": {**RULE, "receivers": ["ops"]}}}, "rules.r.receivers", "there is no receiver 'ops'; there are: none yet"),
    ({"rules": {"r": {**RULE, "severity": "bad"}}}, "rules.r.severity", "write critical, error, warning or info"),
    ({"smtp": {"host": "mail", "tls": "yes"}}, "smtp.tls", "write starttls, implicit or none"),
    ({"url": "stagelight.example.com"}, "url", "write where people reach the collector, such as https://"),
    ({"actions": {"enabled": True, "expire": "60d"}}, "actions.expire", "this should be less than or equal to 2592000"),
    ({"group_wait": float("inf")}, "group_wait", "this is longer than a hundred years"),
    ({"rules": 3}, "rules", "this is a table"),
    ({"rules": {"r": {**RULE, "receivers": "ops"}}}, "rules.r.receivers", "this is a list; write ['one', 'another']"),
    ({"rules": {"r": {**RULE, "labels": {"team": 3}}}}, "rules.r.labels.team", "this is a text; write it in quotes"),
    ({"rules": {"r": {"when": "error_rate", "above": "x"}}}, "rules.r.above", "this is no number; write one"),
    ({"rules": {"r": {"when": "error_rate", "above": 2}}}, "rules.r.above", "this should be less than or equal to 1"),
    ({"rules": {"a\nb": RULE}}, "rules.a\nb", "write a name of 1 to 100 letters that can be seen"),
    ({"actions": {"enabled": "maybe"}}, "actions.enabled", "write true or false"),
    ({"smtp": {"host": "x", "ca_file": "/nowhere"}}, "smtp.ca_file", "there is no file /nowhere"),
    ({"email": []}, "email", "write at least one address"),
    ({"webhook": "https://exa mple.com/"}, "webhook", "this is no address of a receiver; its host has letters"),
    ({"webhook": "https://x.org:99999/"}, "webhook", "this is no port; write one from 1 to 65535"),
    ({"receivers": {"ops": {"type": "webhook", "url": "https://x.org", "headers": {"a b": "env:PATH"}}}}, "receivers.ops.headers", "a header's name has letters"),
    ({"off": ["run-fails"]}, "off", "'run-fails' is no built-in rule; there are run-failed, "),
    ({"windows": [{"cron": "x", "lasts": "1h"}]}, "windows.cron", "'x' is no schedule"),
    ({"allow": ["10.0.0.0/33"]}, "allow", "'10.0.0.0/33' is no address"),
    ({"smtp": {"host": "mail", "tls": "none", "password": "env:PATH"}}, "smtp.password", "a password would be sent in the clear"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("table", "place", "message"), WRONG, ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_is_wrong_is_refused_with_its_place_and_the_remedy(
    table: dict[str, Any], place: str, message: str
) -> None:
    with pytest.raises(BadSettings) as refused:
        read(table)

    (problem,) = refused.value.problems
    assert ".".join(problem[0]) == place
    assert problem[1].startswith(message)
    assert "secret@" not in str(refused.value)
    assert "R0UT1NG" not in str(refused.value)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(BadSettings) as refused:
        read({"slack": "x", "rules": {"a": {"when": "x"}, "b": {}}})

    assert [place for place, _ in refused.value.problems] == [
        ("slack",),
        ("rules", "a", "when"),
        ("rules", "b", "when"),
    ]


def test_secrets_come_from_the_environment_or_a_file_and_are_never_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("HOOK_KEY", KEY)
    (tmp_path / "old").write_text(f"{KEY}\n")
    secrets = ["env:HOOK_KEY", f"file:{tmp_path}/old"]
    checked = read({"receivers": {"ops": {"type": "webhook", "url": "https://x.org/a/b", "secret": secrets}}})

    ops = checked.receivers["ops"]
    assert isinstance(ops, Webhook)
    assert [secret.get_secret_value() for secret in ops.secret] == [KEY, KEY]
    assert KEY not in repr(checked)
    assert ops.shown == "https://x.org/…"


@pytest.mark.parametrize(
    "secret", ["short", "whsec_" + base64.b64encode(b"k" * 23).decode(), "whsec_not base64"]
)
def test_a_signing_secret_is_of_the_length_that_the_specification_asks_for(
    secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_KEY", secret)
    with pytest.raises(BadSettings, match="make one with: python3 -c") as refused:
        read({"receivers": {"ops": {"type": "webhook", "url": "https://x.org", "secret": "env:HOOK_KEY"}}})

    assert secret not in str(refused.value)


def test_a_rule_of_a_users_own_takes_the_place_of_a_built_in_one() -> None:
    checked = read(
        {"off": ["missed-run"], "rules": {"run-failed": {"when": "run_failed", "severity": "critical"}}}
    )

    assert {rule.name: rule.level for rule in checked.rules} == {
        "slow-step": "warning", "stuck-run": "warning", "run-failed": "critical",
    }  # fmt: skip


def test_matchers_are_patterns_with_not_before_them() -> None:
    match = Match.model_validate({"workflow": ["billing*", "!*-test"], "attributes": {"team": "pay?ents"}})

    assert [match.fits_names(name) for name in ("billing", "billing-test", "etl")] == [True, False, False]
    assert match.fits_rest("", {"team": "payments"})
    assert not match.fits_rest("", {})


def test_the_documented_settings_can_be_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "plugins" / "README.md").read_text().partition("\n## Alerting\n")[2]
    monkeypatch.setenv("PAGERDUTY_KEY", "key")
    for name in ("HOOK_SECRET", "OLD_HOOK_SECRET", "HOOK_TOKEN"):
        monkeypatch.setenv(name, KEY)
    (tmp_path / "smtp").write_text("word")
    blocks = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    first, receivers, rules = (
        tomllib.loads(block.replace("/run/secrets", str(tmp_path))) for block in blocks
    )

    assert read(first["alerting"]).receivers.keys() == {"slack"}
    both = read({**receivers["alerting"], **rules["alerting"]})
    assert both.receivers.keys() == {"pagerduty", "email", "ops"}
    assert {"billing-late", "too-many-failures", "long-queue"} < {rule.name for rule in both.rules}


def test_every_kind_of_rule_is_documented() -> None:
    text = (Path(__file__).parents[3] / "plugins" / "README.md").read_text()

    assert [kind for kind in KINDS if f"`{kind}`" not in text] == []
