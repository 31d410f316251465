"""Alerting in a running collector: configured, watched, silenced and acted on as a user does."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from stagelight.conventions import EventType
from stagelight.events import Event, Failure
from stagelight_collector.app import Collector
from stagelight_collector.cli import main
from stagelight_collector.config import Settings
from stagelight_plugins import hookimpl
from stagelight_plugins.errors import BadSettings
from stagelight_plugins.hookspecs import Finding
from stagelight_plugins.manager import Plugins

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from pathlib import Path

    from stagelight_plugins.hookspecs import Notification

    from .conftest import Receiver

ERROR = Failure(type="ValueError", message="no rows")


def settings(folder: Path, table: dict[str, Any]) -> Settings:
    return Settings.model_validate({"data_dir": folder, "port": 0, "plugins": {"alerting": table}})


def failing(run: str, workflow: str = "etl", at: float | None = None) -> list[Event]:
    now = int((at or time.time()) * 1e9)
    return [
        Event(type=EventType.RUN_STARTED, run_id=run, time=now, workflow=workflow),
        Event(type=EventType.RUN_FAILED, run_id=run, time=now + 1, workflow=workflow, error=ERROR),
    ]


class Client:
    """Asks the routes."""

    def __init__(self, collector: Collector, session: aiohttp.ClientSession) -> None:
        self.collector = collector
        self.session = session

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        async with self.session.request(
            method, f"{self.collector.url}/-/alerting/{path}", json=body
        ) as answer:
            return answer.status, await answer.json()

    async def until(self, path: str, condition: Callable[[Any], object]) -> Any:
        """Return an answer for which something holds."""
        async with asyncio.timeout(60):
            while True:
                _, found = await self.ask("GET", path)
                if condition(found):
                    return found
                await asyncio.sleep(0.02)


@asynccontextmanager
async def running(folder: Path, table: dict[str, Any]) -> AsyncGenerator[Client]:
    async with Collector(settings(folder, table)) as collector, aiohttp.ClientSession() as session:
        yield Client(collector, session)


async def test_a_failed_run_reaches_its_receivers_is_listed_acknowledged_and_silenced(
    tmp_path: Path, receiver: Receiver
) -> None:
    table = {"slack": f"{receiver.url}/slack", "webhook": f"{receiver.url}/hook", "group_interval": "0.1s"}
    async with running(tmp_path, table) as client:
        await client.collector.accept(failing("one"))
        heard = await receiver.until(2)
        assert {each.path for each in heard} == {"/slack", "/hook"}
        found = await client.until("alerts", lambda found: found["alerts"])
        (alert,) = found["alerts"]
        assert (alert["status"], alert["run"], alert["labels"]["workflow"]) == ("firing", "one", "etl")
        assert "/hook" not in json.dumps(found["receivers"]), "an address may be a secret"
        assert (await client.ask("POST", f"alerts/{alert['fingerprint']}/ack", {"by": "ann"}))[0] == 200
        status, silence = await client.ask("POST", "silences", {"match": {"workflow": "etl"}, "lasts": "1h"})
        assert status == 201
        _, found = await client.ask("GET", "alerts")
        assert (found["alerts"][0]["muted"], found["alerts"][0]["acked"]) == (
            f"silence {silence['id']}",
            "ann",
        )
        await client.collector.accept(failing("two"))
        await client.until("alerts", lambda found: found["alerts"][0]["count"] == 2)
        assert (await client.ask("DELETE", f"silences/{silence['id']}"))[0] == 200
        _, history = await client.ask("GET", "history")
        assert [change["what"] for change in history["changes"]] == ["acknowledged", "fired"]
    assert len(receiver.heard) == 2


async def test_what_failed_to_arrive_is_shown_and_can_be_tried_again(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.answers.append(410)
    async with running(tmp_path, {"webhook": receiver.url}) as client:
        await client.collector.accept(failing("one"))
        found = await client.until("deliveries?state=failed", lambda found: found["deliveries"])
        (delivery,) = found["deliveries"]
        assert delivery["problem"] == "answered 410"
        _, listed = await client.ask("GET", "alerts")
        assert listed["problems"] == ["receiver webhook answered 410 (it wants no more messages)"]
        assert listed["failed_deliveries"] == 1
        assert (await client.ask("POST", f"deliveries/{delivery['id']}/retry"))[0] == 200
        await client.until("deliveries?state=sent", lambda found: found["deliveries"])
        _, listed = await client.ask("GET", "alerts")
        assert listed["problems"] == []
    assert receiver.heard[0].headers["webhook-id"] == receiver.heard[1].headers["webhook-id"]


async def test_of_many_alerts_the_newest_are_listed_and_the_rest_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stagelight_plugins.alerting.routes.MOST_SHOWN", 3)
    async with running(tmp_path, {}) as client:
        now = time.time()
        for number in range(5):
            await client.collector.accept(failing(f"r{number}", f"w{number}", now - 60 + number))
        found = await client.until("alerts", lambda found: found["left_out"] == 2)
        assert [alert["labels"]["workflow"] for alert in found["alerts"]] == ["w4", "w3", "w2"]


async def test_a_disabled_receiver_stays_disabled_over_a_restart(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers.append(410)
    async with running(tmp_path, {"webhook": receiver.url}) as client:
        await client.collector.accept(failing("one"))
        await client.until("deliveries?state=failed", lambda found: found["deliveries"])
    async with running(tmp_path, {"webhook": receiver.url}) as client:
        _, found = await client.ask("GET", "alerts")
        assert found["receivers"][0]["disabled"] == "answered 410 (it wants no more messages)"
        assert (await client.ask("POST", "receivers/webhook/enable"))[0] == 200
        assert (await client.ask("POST", "receivers/webhook/test"))[0] == 200
    assert "this is a sample" in receiver.heard[1].json["alerts"][0]["annotations"]["error"]


async def test_what_history_knows_from_before_is_usual_after_a_restart(
    tmp_path: Path, receiver: Receiver
) -> None:
    """20 runs of a minute each, then a restart, and a step that goes on for an hour: no rule was written."""
    begin = time.time() - 5 * 3600
    events: list[Event] = []
    for number in range(25):
        at, run = int((begin + number * 600) * 1e9), f"old-{number}"
        ids: dict[str, Any] = {"run_id": run, "workflow": "etl"}
        step: dict[str, Any] = {"step_id": f"s{number}", "step_name": "load"}
        minute = 60 * 10**9 + number * 10**8
        events += [
            Event(type=EventType.RUN_STARTED, time=at, **ids),
            Event(type=EventType.STEP_STARTED, time=at + 1, **ids, **step),
            Event(type=EventType.STEP_COMPLETED, time=at + minute, **ids, **step),
            Event(type=EventType.RUN_COMPLETED, time=at + minute + 1, **ids),
        ]
    async with running(tmp_path, {"webhook": receiver.url, "off": ["missed-run"]}) as client:
        await client.collector.publish(events)
    async with running(tmp_path, {"webhook": receiver.url, "off": ["missed-run"]}) as client:
        service = _service(client.collector)
        async with asyncio.timeout(60):
            while not service.desk.watch.steps or service.learned:  # noqa: ASYNC110 - it is told by nobody
                await asyncio.sleep(0.02)
        usual = service.desk.watch.steps["etl", "load"].usual
        assert len(usual) == 25
        assert usual.usual == pytest.approx(61.2, abs=1)
        now = time.time_ns()
        slow: dict[str, Any] = {"run_id": "slow", "workflow": "etl", "time": now - 3600 * 10**9}
        await client.collector.accept(
            [Event(type=EventType.RUN_STARTED, **slow), Event(type=EventType.STEP_STARTED, step_id="s", step_name="load", **slow)]
        )  # fmt: skip
        service.desk._settle = 0  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # half a minute is long
        (heard,) = await receiver.until(1)
    assert heard.json["commonAnnotations"]["summary"].startswith(
        "Step load of etl has been running for 1 h, 59\N{MULTIPLICATION SIGN} its usual"
    )


def _service(collector: Collector) -> Any:
    (sink,) = [runner.sink for runner in collector.pipeline.sinks if runner.sink.name == "alerting"]
    return sink


async def test_a_question_to_history_is_a_rule(tmp_path: Path, receiver: Receiver) -> None:
    sql = "SELECT Workflow AS workflow, count() AS failures FROM stagelight_runs WHERE Status = 'failed' GROUP BY Workflow"
    rule = {"when": "sql", "sql": sql, "evaluate": "1s"}
    async with running(
        tmp_path, {"webhook": receiver.url, "off": ["run-failed"], "rules": {"many": rule}}
    ) as client:
        await client.collector.publish([*failing("a"), *failing("b")])
        (heard,) = await receiver.until(1)
        (alert,) = heard.json["alerts"]
        assert (alert["labels"]["workflow"], alert["annotations"]["summary"]) == (
            "etl",
            "workflow etl, failures 2",
        )


async def test_a_rule_that_cannot_be_checked_says_so(tmp_path: Path) -> None:
    rule = {"when": "sql", "sql": "DROP TABLE stagelight_events", "evaluate": "1s"}
    async with running(tmp_path, {"rules": {"bad": rule}}) as client:
        found = await client.until("alerts", lambda found: found["problems"])
        assert found["problems"][0].startswith("rule bad cannot be checked: ")


# --- wrong settings ---------------------------------------------------------------------------------------------------


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STAGELIGHT_CONFIG", raising=False)

    def write(text: str) -> None:
        (tmp_path / "stagelight.toml").write_text(text)

    return write


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[alerting]\nslack = 'hooks'\n", "stagelight.toml:2: `alerting.slack`: this is no address of a receiver; write https://…"),
        ("port = 1\n\n[plugins.alerting]\n# a line\nslak = 'x'\n", "stagelight.toml:5: `alerting.slak`: there is no such setting; did you mean `slack`?"),
        ("[alerting.rules.a]\nwhen = 'run_failed'\n[alerting.rules.b]\nwhen = 'run_failed'\nmatch = { workfow = 'x' }\n", "stagelight.toml:5: `alerting.rules.b.match.workfow`: there is no such matcher; did you mean `workflow`?"),
        ("[alerting]\n[alerting.receivers.ops]\ntype = 'pagerduty'\nrouting_key = 'abc'\n", "stagelight.toml:4: `alerting.receivers.ops.routing_key`: a secret does not belong into this file"),
        ("[alerting]\nslack = 1\n[plugins.alerting]\n", "stagelight.toml: there are both [alerting] and [plugins.alerting]; keep one of them"),
        ("[alerting]\nslack = \n", "stagelight.toml: this is not TOML: Invalid value (at line 2, column 9)"),
    ],
)  # fmt: skip
def test_a_start_with_wrong_settings_is_refused_with_the_line_and_the_remedy(
    configured: Callable[[str], None], capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    configured(text)

    assert main(["up", "--port", "0", "--data-dir", "data"]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "abc" not in told
    assert len([line for line in told.splitlines() if line.startswith("stagelight:")]) == 1


def test_secrets_are_not_printed_with_the_configuration(
    configured: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    configured(
        "[alerting]\nslack = 'https://hooks.slack.com/services/T/B/SECRET'\npagerduty = 'SECRET'\n[alerting.smtp]\nhost = 'h'\npassword = 'SECRET'\n"
    )

    main(["config", "show"])
    told = capsys.readouterr()
    assert "https://hooks.slack.com/…" in told.out
    assert "SECRET" not in told.out + told.err


# --- plugins of others ------------------------------------------------------------------------------------------------


class Pager:
    """A plugin that brings a notifier and a condition."""

    def __init__(self) -> None:
        self.sent: list[Notification] = []
        self.news = asyncio.Event()

    async def send(self, notification: Notification) -> None:
        self.sent.append(notification)
        self.news.set()

    async def check(self) -> Sequence[Finding]:
        return [Finding(labels={"workflow": "disk"}, text="the disk is 91% full")]

    @hookimpl
    def register_notifiers(self) -> dict[str, Any]:
        def make(table: dict[str, Any]) -> Pager:
            if "number" not in table:
                raise ValueError("write the `number` to call")
            return self

        return {"pager": make}

    @hookimpl
    def register_conditions(self) -> dict[str, Any]:
        def make(_options: dict[str, Any]) -> Pager:
            return self

        return {"disk_full": make}


@pytest.fixture
def pager(monkeypatch: pytest.MonkeyPatch) -> Pager:
    """Have every collector load the plugin."""
    pager, original = Pager(), Plugins.__init__

    def load(self: Plugins, core: Any = (), **options: Any) -> None:
        original(self, [*core, ("pager", pager)], **options)

    monkeypatch.setattr(Plugins, "__init__", load)
    return pager


async def test_a_plugin_brings_a_notifier_and_a_condition(tmp_path: Path, pager: Pager) -> None:
    table = {
        "receivers": {"night": {"type": "pager", "number": "112"}},
        "rules": {"disk": {"when": "disk_full"}},
    }
    async with running(tmp_path, table):
        async with asyncio.timeout(60):
            await pager.news.wait()
    assert pager.sent[0].title == "the disk is 91% full"
    assert pager.sent[0].alerts[0].labels["workflow"] == "disk"


async def test_what_a_plugins_notifier_finds_wrong_is_told_with_its_place(
    tmp_path: Path, pager: Pager
) -> None:
    del pager
    with pytest.raises(BadSettings) as refused:
        async with running(tmp_path, {"receivers": {"night": {"type": "pager"}}}):
            pass
    assert refused.value.problems == ((("receivers", "night"), "write the `number` to call"),)


async def test_what_failed_while_alerting_did_not_look_is_found_in_history(
    tmp_path: Path, receiver: Receiver
) -> None:
    """A kill between history's commit and alerting's leaves nothing in the journal to be read again."""
    table = {"webhook": receiver.url}
    async with running(tmp_path, table) as client:
        await client.collector.accept(failing("before", "other"))
        await receiver.until(1)
    blind = settings(tmp_path, table)
    blind.plugins["block"] = ["alerting"]
    async with Collector(blind) as collector:
        await collector.accept(failing("unseen"))
    async with running(tmp_path, table):
        heard = await receiver.until(2)
    assert [each.json["groupLabels"]["workflow"] for each in heard] == ["other", "etl"]


async def test_batches_that_were_dropped_are_found_in_history(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stagelight_plugins.alerting.service.GAP_SECONDS", 0.2)
    async with running(tmp_path, {"webhook": receiver.url}) as client:
        (runner,) = [each for each in client.collector.pipeline.sinks if each.sink.name == "alerting"]
        await client.collector.accept(failing("before", "other"))
        await receiver.until(1)
        await client.collector.settle()
        runner.benched_until = float("inf")
        await client.collector.accept(failing("dropped"))
        await client.collector.settle()
        runner.benched_until = float("-inf")
        await client.collector.accept(failing("after", "third"))
        heard = await receiver.until(3)
    assert {each.json["groupLabels"]["workflow"] for each in heard} == {"other", "third", "etl"}
