"""The state machine: what fires when, what is told together, when it is over, and who is left in peace."""

from __future__ import annotations

import json

import pytest

from stagelight.conventions import EventType
from stagelight.events import Failure
from stagelight_plugins.alerting.state.alert import Alert, fingerprint
from stagelight_plugins.alerting.state.groups import Group
from stagelight_plugins.alerting.state.silences import Silence
from stagelight_plugins.alerting.state.store import Saved

from .conftest import START, World, world

RESOLVED = "Resolved: etl failed: ValueError: no rows"
ERROR = Failure(type="ValueError", message="no rows")


def test_a_failed_run_is_told_once_and_again_when_it_is_over() -> None:
    here = world()
    here.fail()
    here.pass_(10)
    assert here.titles == ["etl failed: ValueError: no rows"]
    here.succeed()
    here.pass_(285)
    assert len(here.sent) == 1
    here.pass_(120)
    assert here.titles[1:] == [RESOLVED]
    assert here.sent[1].notification.status == "resolved"
    here.pass_(24 * 3600, step=10)
    assert len(here.sent) == 2


def test_what_fails_within_the_wait_is_told_together() -> None:
    here = world({"group_by": ["alertname"]})
    here.fail(workflow="etl")
    here.pass_(0.3, step=0.1)
    here.fail(workflow="report")
    here.pass_(5)
    (title,) = here.titles
    assert title in {
        "2 firing: etl failed: ValueError: no rows, and others",
        "2 firing: report failed: ValueError: no rows, and others",
    }
    assert len(here.sent[0].notification.alerts) == 2


def test_ten_thousand_failures_within_a_second_are_one_message_per_interval() -> None:
    here = world()
    for number in range(10_000):
        here.now = START + number / 10_000
        here.fail(f"storm-{number}")
        if number % 100 == 0:
            here.sent += here.desk.turn(here.now)
    here.pass_(59)
    assert len(here.sent) == 1
    here.pass_(3_600)
    assert len(here.sent) == 1, "nothing is new"
    assert here.desk.book.alerts[here.sent[0].notification.alerts[0].fingerprint].count == 10_000


def test_what_flaps_is_told_at_most_once_a_minute() -> None:
    here = world({"rules": {"run-failed": {"when": "run_failed", "keep_firing_for": "0s"}}})
    for _ in range(600):
        here.fail()
        here.pass_(0.5, step=0.25)
        here.succeed()
        here.pass_(0.5, step=0.25)
    assert 5 <= len(here.sent) <= 11


def test_a_failure_that_was_over_before_anybody_was_told_is_told_all_the_same() -> None:
    here = world({"rules": {"run-failed": {"when": "run_failed", "keep_firing_for": "0s"}}})
    here.fail()
    here.now += 0.01
    here.succeed()
    here.pass_(5)
    assert here.titles == [RESOLVED]


def test_it_is_repeated_while_it_goes_on_unless_somebody_knows_of_it() -> None:
    here = world(
        {"repeat_interval": "1h", "rules": {"run-failed": {"when": "run_failed", "resolve_after": "10d"}}}
    )
    here.fail()
    here.pass_(3 * 3600 + 200, step=10)
    assert len(here.sent) == 4
    (print_,) = here.desk.book.firing
    assert here.desk.book.acknowledge(print_, "ann", here.now) is not None
    here.pass_(5 * 3600, step=10)
    assert len(here.sent) == 4
    here.succeed()
    here.pass_(600)
    assert here.titles[-1] == RESOLVED


def test_for_waits_and_forgets_what_was_over_before() -> None:
    here = world({"rules": {"steps": {"when": "step_failed", "for": "1m"}}, "off": ["run-failed"]})
    step = {"step_id": "s", "step_name": "load"}
    here.tell(EventType.RUN_STARTED, "r")
    here.tell(EventType.STEP_STARTED, "r", **step, attempt=1)
    here.tell(EventType.STEP_FAILED, "r", **step, attempt=1, error=ERROR)
    here.pass_(30)
    here.tell(EventType.STEP_STARTED, "r", **step, attempt=2)
    here.pass_(60)
    assert here.sent == [], "it is tried again"
    here.tell(EventType.STEP_FAILED, "r", **step, attempt=2, error=ERROR)
    here.pass_(58)
    assert here.sent == []
    here.pass_(5)
    assert here.titles == ["Step load of etl failed: ValueError: no rows"]


def test_a_step_that_failed_in_a_run_that_is_over_does_not_wait() -> None:
    here = world({"rules": {"steps": {"when": "step_failed", "for": "1h"}}, "off": ["run-failed"]})
    here.tell(EventType.RUN_STARTED, "r")
    here.tell(EventType.STEP_STARTED, "r", step_id="s", step_name="load")
    here.tell(EventType.STEP_FAILED, "r", step_id="s", step_name="load", error=ERROR)
    here.pass_(5)
    assert here.sent == []
    here.tell(EventType.RUN_FAILED, "r", error=ERROR)
    here.pass_(2)
    assert here.titles == ["Step load of etl failed: ValueError: no rows"]


def test_the_alert_of_a_run_keeps_that_of_its_step_quiet() -> None:
    here = world({"rules": {"steps": {"when": "step_failed", "for": "0s"}}})
    here.tell(EventType.RUN_STARTED, "r")
    here.tell(EventType.STEP_STARTED, "r", step_id="s", step_name="load")
    here.tell(EventType.STEP_FAILED, "r", step_id="s", step_name="load", error=ERROR)
    here.now += 0.05
    here.tell(EventType.RUN_FAILED, "r", error=ERROR)
    here.pass_(120)
    assert here.titles == ["etl failed: ValueError: no rows"]
    assert here.firing == {"steps", "run-failed"}


def test_what_the_configuration_inhibits_is_not_told() -> None:
    inhibit = [{"source": {"workflow": "database"}, "target": {"workflow": "etl"}, "equal": ["alertname"]}]
    here = world({"inhibit": inhibit})
    here.fail(workflow="database")
    here.fail(workflow="etl")
    here.pass_(10)
    assert here.titles == ["database failed: ValueError: no rows"]


def test_a_silence_keeps_quiet_and_what_still_goes_on_after_it_is_told() -> None:
    here = world()
    here.desk.silence(Silence("s", {"workflow": "e*"}, START, START + 3600, "ann", ""), START)
    here.fail()
    here.fail(workflow="report")
    here.pass_(3590)
    assert here.titles == ["report failed: ValueError: no rows"]
    here.pass_(80)
    assert here.titles[1:] == ["etl failed: ValueError: no rows"]


def test_what_came_and_went_within_a_silence_is_never_told() -> None:
    here = world()
    here.desk.silence(Silence("s", {"workflow": "etl"}, START, START + 3600, "", ""), START)
    here.fail()
    here.pass_(10)
    here.succeed()
    here.pass_(8_000)
    assert here.sent == []


def test_a_silence_of_what_was_told_holds_the_resolution_back_until_it_ends() -> None:
    here = world()
    here.fail()
    here.pass_(10)
    here.desk.silence(Silence("s", {"workflow": "etl"}, here.now, here.now + 3600, "", ""), here.now)
    here.succeed()
    here.pass_(3500)
    assert len(here.sent) == 1
    here.pass_(200)
    assert here.titles[1:] == [RESOLVED]


def test_a_maintenance_window_comes_by_its_schedule() -> None:
    # START is 2025-11-24 16:00 UTC.
    here = world({"windows": [{"match": {"workflow": "etl"}, "cron": "0 16 * * *", "lasts": "30m"}]})
    here.fail()
    here.pass_(1_700)
    assert here.sent == []
    here.pass_(200)
    assert here.titles == ["etl failed: ValueError: no rows"]


def test_a_failure_of_which_nothing_more_is_heard_is_over_some_day() -> None:
    here = world({"repeat_interval": "10d"})
    here.fail()
    here.pass_(86_400 + 120, step=10)
    assert here.titles == ["etl failed: ValueError: no rows", RESOLVED]


def test_a_batch_that_comes_again_fires_nothing_again() -> None:
    here = world()
    here.fail("r")
    here.pass_(10)
    at = START
    here.succeed()
    here.pass_(600)
    before = len(here.sent)
    late = World(here.desk, at)
    late.fail("r")
    here.pass_(600)
    assert (before, len(here.sent)) == (2, 2)


def test_a_restart_changes_nothing() -> None:
    here = world()
    here.fail()
    here.pass_(5)
    saved = as_saved(here)
    again = world(saved=saved, now=here.now)
    again.pass_(120)
    assert again.sent == [], "it was told before"
    again.succeed()
    again.pass_(600)
    assert again.titles == [RESOLVED]


def test_a_restart_between_the_failure_and_its_message_loses_nothing() -> None:
    here = world()
    here.fail()
    here.desk.turn(here.now)
    again = world(saved=as_saved(here), now=here.now + 3600)
    again.pass_(2)
    assert again.titles == ["etl failed: ValueError: no rows"]


def test_the_alert_of_a_rule_that_is_gone_is_over() -> None:
    here = world({"rules": {"mine": {"when": "run_failed"}}, "off": ["run-failed"]})
    here.fail()
    here.pass_(5)
    again = world(saved=as_saved(here), now=here.now)
    again.pass_(120)
    assert again.titles == [RESOLVED]


def as_saved(here: World) -> Saved:
    """Return what is written down, as it would be read back."""
    save = here.desk.unsaved([])
    alerts = [
        Alert.from_dict(json.loads(json.dumps(each.to_dict()))) for each in save.alerts.values() if each
    ]
    groups = [
        Group.from_dict(json.loads(json.dumps(each.to_dict()))) for each in save.groups.values() if each
    ]
    return Saved(alerts, groups, [], [], dict(save.meta))


def test_only_whom_a_rule_names_hears_of_it() -> None:
    table = {
        "slack": "https://hooks.slack.com/x",
        "rules": {"run-failed": {"when": "run_failed", "receivers": ["slack"]}},
    }
    here = world(table)
    here.fail()
    here.pass_(5)
    assert [delivery.receiver for delivery in here.sent] == ["slack"]


def test_attributes_and_services_are_matched_as_they_come() -> None:
    rule = {"when": "run_failed", "match": {"attributes": {"team": "pay*"}, "service": "billing"}}
    here = world({"off": ["run-failed"], "rules": {"mine": rule}})
    for run, service, team in (
        ("a", "billing", "ops"),
        ("b", "shop", "payments"),
        ("c", "billing", "payments"),
    ):
        here.tell(EventType.RUN_STARTED, run, service=service, workflow=run, attributes={"team": team})
        here.tell(EventType.RUN_FAILED, run, service=service, workflow=run, error=ERROR)
    here.pass_(5)
    assert here.titles == ["c failed: ValueError: no rows"]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({}, "cbf29ce484222325"),
        ({"alertname": "run-failed", "workflow": "etl", "severity": "error"}, "ba99463c8f3184e4"),
    ],
)
def test_fingerprints_are_those_of_prometheus(labels: dict[str, str], expected: str) -> None:
    """The second one is what Alertmanager 0.25 answers; `test_alertmanager` asks it where it is installed."""
    assert fingerprint(labels) == expected


def test_alerts_are_bounded_and_what_has_no_place_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stagelight_plugins.alerting.state.book.MOST_ALERTS", 10)
    here = world()
    for number in range(15):
        here.fail(workflow=f"w{number}")
    assert (len(here.desk.book.alerts), here.desk.book.refused) == (10, 5)
