"""Rules that are written in the page: checked, durable, in force at once, and never in the way of those of the configuration."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from stagelight.conventions import EventType
from stagelight_plugins.alerting.rules.rule import BUILT_IN, Rule
from stagelight_plugins.alerting.rules.wording import meaning

from .conftest import world
from .test_alerting import failing, running

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Receiver
    from .test_alerting import Client

BILLING: dict[str, Any] = {"when": "run_failed", "match": {"workflow": "billing*"}, "severity": "critical"}


async def listed(client: Client) -> dict[str, Any]:
    """Return the rules by name."""
    _, found = await client.ask("GET", "rules")
    return {rule["name"]: rule for rule in found["rules"]}


async def test_a_rule_of_the_page_holds_at_once_and_after_a_restart(
    tmp_path: Path, receiver: Receiver
) -> None:
    table = {"webhook": receiver.url, "off": ["run-failed"]}
    async with running(tmp_path, table) as client:
        await client.collector.accept(failing("before", "billing"))
        status, made = await client.ask("POST", "rules", {"name": "paid", "rule": BILLING, "by": "ann"})
        assert (status, made["source"], made["holds"], made["by"]) == (201, "page", True, "ann")
        assert made["meaning"] == "a run fails, where workflow is billing*"
        await client.collector.accept(failing("one", "billing"))
        (heard,) = await receiver.until(1)
        labels = heard.json["alerts"][0]["labels"]
        assert (labels["alertname"], labels["severity"]) == ("paid", "critical")
    async with running(tmp_path, table) as client:
        assert (await listed(client))["paid"]["rule"] == BILLING
        await client.collector.accept(failing("two", "billing-eu"))
        await receiver.until(2)
    assert receiver.heard[1].json["alerts"][0]["labels"]["workflow"] == "billing-eu"


async def test_a_rule_is_changed_switched_and_deleted(tmp_path: Path, receiver: Receiver) -> None:
    async with running(tmp_path, {"webhook": receiver.url, "off": ["run-failed"]}) as client:
        assert (await client.ask("POST", "rules", {"name": "paid", "rule": BILLING}))[0] == 201
        assert (await client.ask("POST", "rules/paid/disable", {"by": "ann"}))[0] == 200
        await client.collector.accept(failing("one", "billing"))
        other = {**BILLING, "match": {"workflow": "etl"}}
        status, changed = await client.ask("PUT", "rules/paid", {"rule": other})
        assert (status, changed["enabled"]) == (200, False), "an edit switches nothing on"
        await client.ask("POST", "rules/paid/enable")
        await client.collector.accept([*failing("two", "billing"), *failing("three", "etl")])
        (heard,) = await receiver.until(1)
        assert [alert["labels"]["workflow"] for alert in heard.json["alerts"]] == ["etl"]
        assert (await client.ask("DELETE", "rules/paid"))[0] == 200
        assert "paid" not in await listed(client)
        found = await client.until("alerts", lambda found: found["alerts"][0]["status"] == "resolved")
        assert found["alerts"][0]["rule"] == "paid", "what fires by a rule that is gone is over"


async def test_a_built_in_rule_is_switched_off_changed_and_had_back(tmp_path: Path) -> None:
    async with running(tmp_path, {}) as client:
        assert (await client.ask("DELETE", "rules/run-failed"))[0] == 409
        assert (await client.ask("POST", "rules/run-failed/disable"))[0] == 200
        rule = (await listed(client))["run-failed"]
        assert (rule["source"], rule["replaces"], rule["holds"]) == ("page", "built in", False)
        _, found = await client.ask("GET", "alerts")
        assert "run-failed" not in {rule["name"] for rule in found["rules"]}
        status, _ = await client.ask("PUT", "rules/run-failed", {"rule": {"when": "run_failed", "for": "1m"}})
        assert status == 200
        assert (await client.ask("DELETE", "rules/run-failed"))[0] == 200
        rule = (await listed(client))["run-failed"]
        assert (rule["source"], rule["holds"]) == ("built in", True)


async def test_rules_of_the_configuration_are_shown_and_not_changed(tmp_path: Path) -> None:
    table = {
        "off": ["missed-run"],
        "rules": {"etl-fails": {"when": "run_failed", "match": {"workflow": "etl"}}},
    }
    async with running(tmp_path, table) as client:
        rules = await listed(client)
        assert {name: (rule["source"], rule["holds"]) for name, rule in rules.items()} == {
            "missed-run": ("configuration", False), "run-failed": ("built in", True),
            "slow-step": ("built in", True), "stuck-run": ("built in", True), "etl-fails": ("configuration", True),
        }  # fmt: skip
        for method, path, body in (
            ("PUT", "rules/etl-fails", {"rule": BILLING}),
            ("DELETE", "rules/etl-fails", None),
            ("POST", "rules/missed-run/enable", None),
        ):
            status, answer = await client.ask(method, path, body)
            assert (status, "of the configuration; change it there" in answer["detail"]) == (409, True)
        status, answer = await client.ask("POST", "rules", {"name": "etl-fails", "rule": BILLING})
        assert (status, answer["errors"][0]["place"]) == (409, ["name"])


async def test_a_rule_that_cannot_be_used_any_more_is_shown_and_stops_nothing(
    tmp_path: Path, receiver: Receiver
) -> None:
    ops = {"receivers": {"ops": {"type": "webhook", "url": receiver.url}}}
    async with running(tmp_path, ops) as client:
        for name in ("paid", "both"):
            rule = {**BILLING, "receivers": ["ops"]}
            assert (await client.ask("POST", "rules", {"name": name, "rule": rule}))[0] == 201
    taken = {"rules": {"both": {"when": "run_failed"}}}
    async with running(tmp_path, taken) as client:
        _, found = await client.ask("GET", "alerts")
        assert found["problems"] == [
            "rule both of the page does not hold: receivers: there is no receiver 'ops'; there are: none yet",
            "rule paid of the page does not hold: receivers: there is no receiver 'ops'; there are: none yet",
        ]
        assert (await client.ask("PUT", "rules/both", {"rule": BILLING}))[1]["problem"].startswith(
            "the configuration has a rule of this name, and that one holds"
        )
        assert (await client.ask("DELETE", "rules/both"))[0] == 200
        assert (await listed(client))["both"]["source"] == "configuration"


WRONG: list[tuple[dict[str, Any], list[str], str]] = [
    ({"when": "run_fail"}, ["when"], "nothing is called 'run_fail'; did you mean `run_failed`?"),
    ({}, ["when"], "this is needed"),
    ({**BILLING, "for": "a while"}, ["for"], "this is no span of time"),
    ({**BILLING, "match": {"workfow": "x"}}, ["match", "workfow"], "there is no such matcher; did you mean `workflow`?"),
    ({**BILLING, "match": {"attributes": {"team": 3}}}, ["match", "attributes", "team"], "this is no pattern"),
    ({"when": "missed", "cron": "0 25 * * *"}, ["cron"], "'0 25 * * *' is no schedule"),
    ({**BILLING, "receivers": ["ops"]}, ["receivers"], "there is no receiver 'ops'; there are: none yet"),
    ({"when": "sql", "sql": "DROP TABLE stagelight_runs"}, ["sql"], "this SQL is refused"),
    ({"when": "sql", "sql": "SELECT nothing FROM stagelight_runs"}, ["sql"], ""),
    ({"when": "error_rate", "above": "half"}, ["above"], "this is no number; write one"),
]  # fmt: skip


async def test_what_is_wrong_is_told_with_its_field_and_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, {}) as client:
        before = await listed(client)
        for rule, place, message in WRONG:
            status, answer = await client.ask("POST", "rules", {"name": "r", "rule": rule})
            assert (status, [error["place"] for error in answer["errors"]]) == (400, [place]), rule
            assert answer["errors"][0]["message"].startswith(message)
        status, answer = await client.ask("POST", "rules", {"name": "no name", "rule": {"when": "x"}})
        assert [error["place"] for error in answer["errors"]] == [["name"], ["when"]], "all at once"
        assert (await client.ask("PUT", "rules/nowhere", {"rule": BILLING}))[0] == 404
        assert await listed(client) == before


async def test_another_site_cannot_change_a_rule(tmp_path: Path) -> None:
    async with running(tmp_path, {}) as client:
        assert (await client.ask("POST", "rules", {"name": "paid", "rule": BILLING}))[0] == 201
        before = await listed(client)
        requests = [
            ("POST", "rules", {"name": "x", "rule": BILLING}), ("PUT", "rules/paid", {"rule": {"when": "stuck"}}),
            ("DELETE", "rules/paid", None), ("POST", "rules/paid/disable", None), ("POST", "rules/run-failed/disable", None),
        ]  # fmt: skip
        for headers in (
            {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"}, {"Host": "evil.example"},
        ):  # fmt: skip
            for method, path, body in requests:
                url = f"{client.collector.url}/-/alerting/{path}"
                async with client.session.request(method, url, json=body, headers=headers) as answer:
                    assert answer.status in {403, 421}, (method, path, headers)
        assert await listed(client) == before


async def test_a_rule_is_json_of_a_bounded_size_and_there_are_so_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stagelight_plugins.alerting.rule_routes.MOST_RULES", 3)
    async with running(tmp_path, {}) as client:
        url = f"{client.collector.url}/-/alerting/rules"
        async with client.session.post(url, data=b'{"name": "x", "rule": {"when": "stuck"}}') as answer:
            assert answer.status == 415
        status, _ = await client.ask(
            "POST", "rules", {"name": "x", "rule": {**BILLING, "summary": "x" * 70_000}}
        )
        assert status == 413
        for number in range(3):
            assert (await client.ask("POST", "rules", {"name": f"r{number}", "rule": BILLING}))[0] == 201
        assert (await client.ask("POST", "rules", {"name": "more", "rule": BILLING}))[0] == 409
        assert (await client.ask("PUT", "rules/r0", {"rule": BILLING}))[0] == 200


NO_JSON: list[tuple[str, str]] = [
    ("rules", '{"name": "r", "rule": {"when": "disk", "options": {"a": NaN}}}'),
    ("rules", '{"name": "r", "rule": {"when": "disk", "options": {"a": 1e999}}}'),
    ("rules", '{"name": "r", "rule": {"when": "run_failed", "for": 1e300}}'),
    ("rules", '{"name": "r", "rule": {"when": "run_failed", "for": "9999999999w"}}'),
    ("rules", '{"name": "r", "rule": ' + "[" * 5_000 + "]" * 5_000 + "}"),
    ("rules", '{"name": "r", "rule": {"when": "run_failed", "severity": "\\ud800"}}'),
    ("silences", '{"match": {"workflow": "x"}, "starts": NaN}'),
    ("silences", '{"match": {"workflow": "x"}, "starts": 1e300}'),
    ("silences", '{"match": {"workflow": "x"}, "lasts": 1e999}'),
]


async def test_what_is_no_number_of_json_gets_nowhere(tmp_path: Path) -> None:
    """The page could not read it again, nor anything beside it."""
    async with running(tmp_path, {}) as client:
        url, headers = f"{client.collector.url}/-/alerting", {"Content-Type": "application/json"}
        for path, body in NO_JSON:
            async with client.session.post(f"{url}/{path}", data=body, headers=headers) as answer:
                assert answer.status == 400, body
            async with client.session.get(f"{url}/{path}") as answer:
                json.loads(await answer.text(), parse_constant=pytest.fail)


async def test_a_question_that_is_changed_is_asked_by_one_task(tmp_path: Path, receiver: Receiver) -> None:
    def asking() -> list[str]:
        return [
            name for task in asyncio.all_tasks() if (name := task.get_name()).startswith("alerting-rule-")
        ]

    rule = {"when": "sql", "sql": "SELECT 'disk' AS workflow", "evaluate": "1s"}
    async with running(tmp_path, {"webhook": receiver.url, "group_interval": "0.1s"}) as client:
        assert (await client.ask("POST", "rules", {"name": "full", "rule": rule}))[0] == 201
        await receiver.until(1)
        told = {**rule, "summary": "{workflow} is full"}
        assert (await client.ask("PUT", "rules/full", {"rule": told}))[0] == 200
        none = {**rule, "sql": "SELECT 'disk' AS workflow WHERE 0"}
        assert (await client.ask("PUT", "rules/full", {"rule": none}))[0] == 200
        assert asking() == ["alerting-rule-full"]
        (_, over) = await receiver.until(2)
        assert over.json["status"] == "resolved"
        await client.ask("POST", "rules/full/disable")
        await asyncio.sleep(0)
        assert asking() == []
    assert asking() == []


# --- what fires while rules change ------------------------------------------------------------------------------------


def rules(*changed: Rule) -> list[Rule]:
    """Return the built-in rules, these in their places."""
    return [*{**BUILT_IN, **{rule.name: rule for rule in changed}}.values()]


def test_what_fires_goes_on_where_a_rule_only_tells_somebody_else_now() -> None:
    here = world({"receivers": {"ops": {"type": "webhook", "url": "https://example.com/ops"}}})
    here.desk.change_rules(
        rules(Rule(name="run-failed", when="run_failed", receivers=("webhook",))), here.now
    )
    here.fail()
    here.pass_(2)
    assert [delivery.receiver for delivery in here.sent] == ["webhook"]
    changed = here.desk.change_rules(
        rules(Rule(name="run-failed", when="run_failed", receivers=("ops",))), here.now
    )
    here.pass_(2)
    assert changed == {"run-failed"}
    assert [delivery.receiver for delivery in here.sent] == ["webhook", "ops"]
    assert here.firing == {"run-failed"}


def test_what_fires_is_over_where_a_rule_waits_for_something_else_now() -> None:
    here = world()
    here.fail()
    here.pass_(2)
    severe = Rule.model_validate(
        {"name": "run-failed", "when": "run_failed", "match": {"workflow": "billing"}}
    )
    here.desk.change_rules(rules(severe), here.now)
    here.pass_(120)
    assert here.titles == ["etl failed: ValueError: no rows", "Resolved: etl failed: ValueError: no rows"]
    here.fail()
    here.fail(workflow="billing")
    here.pass_(2)
    assert here.titles[2:] == ["billing failed: ValueError: no rows"]


def test_a_limit_that_is_changed_is_measured_anew() -> None:
    here = world({"group_interval": "1s"})
    short = Rule.model_validate({"name": "quiet", "when": "stuck", "silent_for": "1m"})
    here.desk.change_rules([short], here.now)
    here.tell(EventType.RUN_STARTED, "one")
    here.pass_(90)
    assert here.firing == {"quiet"}, "a rule may have any name"
    here.desk.change_rules([short.model_copy(update={"silent_for": 600.0})], here.now)
    here.pass_(60)
    assert here.firing == set()
    here.pass_(600)
    assert here.firing == {"quiet"}
    here.tell(EventType.RUN_COMPLETED, "one")
    here.pass_(10)
    assert [title.startswith("Resolved") for title in here.titles] == [False, True, False, True]


def test_a_rule_that_comes_later_knows_the_names_that_are_known_and_what_is_open() -> None:
    here = world()
    here.tell(EventType.RUN_STARTED, "one")
    here.tell(EventType.STEP_STARTED, "one", step_id="s", step_name="load")
    here.pass_(100)
    late = [
        Rule.model_validate(
            {"name": "late", "when": "step_too_long", "longer_than": "1m", "match": {"step": "lo*"}}
        ),
        Rule.model_validate(
            {"name": "gone", "when": "heartbeat", "within": "5s", "match": {"workflow": "never"}}
        ),
        Rule.model_validate(
            {"name": "off", "when": "step_too_long", "longer_than": "1m", "match": {"step": "x"}}
        ),
    ]
    here.desk.change_rules(late, here.now)
    here.pass_(8)
    assert here.firing == {"late", "gone"}
    here.desk.change_rules([], here.now)
    here.pass_(2)
    assert here.firing == set()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"when": "step_failed"}, "a step fails and is not tried again, for 1 min"),
        ({"when": "stuck", "silent_for": "10m"}, "a run is silent for longer than 10 min"),
        ({"when": "step_too_long"}, "a step takes longer than it usually does"),
        ({"when": "error_rate", "above": 0.2}, "20% or more of the runs within 1 h fail"),
        ({"when": "missed", "cron": "0 3 * * *"}, "no run starts by its schedule 0 3 * * * (UTC)"),
        ({"when": "missed", "every": "1d"}, "no run starts within 1 d"),
        ({"when": "heartbeat", "within": "1h"}, "nothing is heard for 1 h"),
        ({"when": "disk_full"}, "disk_full says so"),
        ({"when": "run_failed", "match": {"workflow": ["a", "!b"], "attributes": {"team": "x"}}}, "a run fails, where workflow is a or !b, team is x"),
    ],
)  # fmt: skip
def test_a_rule_says_what_it_waits_for(table: dict[str, Any], said: str) -> None:
    assert meaning(Rule.model_validate(table)) == said
