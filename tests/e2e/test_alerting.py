"""Alerting in real processes: two lines of configuration, and collectors that are killed while they tell."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest
from aiohttp import web
from playwright.async_api import expect

from stagelight.conventions import EventType
from stagelight.events import Event, Failure
from stagelight_plugins.otlp import request_of

from ..plugins.alerting.conftest import Receiver  # noqa: TID252 - tests are no package

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Browser

    from .processes import CollectorProcess

KILLS: Final = int(os.environ.get("STAGELIGHT_TEST_KILLS", "4"))
"""`STAGELIGHT_TEST_KILLS=100 pytest tests/e2e/test_alerting.py` is what the promise was measured with."""
SEED: Final = int(os.environ.get("STAGELIGHT_TEST_SEED", "7"))
ERROR: Final = Failure(type="ValueError", message="no rows")


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A webhook, and what is shaped like Slack's."""
    receiver = Receiver()
    await receiver.start()
    yield receiver
    await receiver.stop()


async def configure(collector: CollectorProcess, text: str) -> None:
    """Start a collector again with a configuration."""
    await collector.stop()
    file = collector.data_dir / "stagelight.toml"
    file.write_text(text)
    collector.environment["STAGELIGHT_CONFIG"] = str(file)
    await collector.start()


async def send(collector: CollectorProcess, session: aiohttp.ClientSession, events: list[Event]) -> bool:
    """Return whether the collector acknowledged them."""
    try:
        async with session.post(
            f"{collector.url}/v1/logs",
            data=request_of(events).SerializeToString(),
            headers={"Content-Type": "application/x-protobuf"},
            timeout=aiohttp.ClientTimeout(10),
        ) as answer:
            return answer.status == 200
    except (aiohttp.ClientError, ConnectionError, TimeoutError):
        return False


def failing(number: int) -> list[Event]:
    now = time.time_ns()
    ids: dict[str, Any] = {"run_id": f"run-{number}", "workflow": f"workflow-{number}"}
    return [
        Event(type=EventType.RUN_STARTED, time=now, **ids),
        Event(type=EventType.RUN_FAILED, time=now + 1, error=ERROR, **ids),
    ]


@pytest.mark.crash
@pytest.mark.timeout(120 + 8 * KILLS)
async def test_no_alert_is_lost_however_often_the_collector_is_killed(
    collector: CollectorProcess, receiver: Receiver
) -> None:
    chance = random.Random(SEED)

    async def slowly(_request: web.Request) -> web.Response:
        await asyncio.sleep(0.02)  # so that kills meet messages under way
        return web.Response()

    receiver.answers.extend([slowly] * 100_000)
    await configure(collector, f"[alerting]\nwebhook = '{receiver.url}/hook'\ngroup_wait = '20ms'\n")
    acknowledged: set[str] = set()
    number = 0
    async with aiohttp.ClientSession() as session:
        for _ in range(KILLS):
            end = time.monotonic() + chance.uniform(0.0, 0.4)
            while time.monotonic() < end or number % 3:
                number += 1
                if await send(collector, session, failing(number)):
                    acknowledged.add(f"workflow-{number}")
            await collector.kill()
            await collector.start()

        def missing() -> set[str]:
            heard = [alert["labels"]["workflow"] for each in receiver.heard for alert in each.json["alerts"]]
            return acknowledged - set(heard)

        try:
            async with asyncio.timeout(60):
                while missing():
                    await receiver.until(len(receiver.heard) + 1, 60)
        except TimeoutError:
            pytest.fail(f"lost {sorted(missing())} of {len(acknowledged)}")
    await collector.stop()
    ids: dict[str, set[str]] = {}
    for each in receiver.heard:
        ids.setdefault(each.json["groupKey"], set()).add(each.headers["webhook-id"])
    again = len(receiver.heard) - sum(map(len, ids.values()))
    print(f"\n{KILLS} kills: {len(acknowledged)} alerts, 0 lost, {again} told again under the same id")
    assert {group: found for group, found in ids.items() if len(found) > 1} == {}, (
        "a second id is a second message"
    )


AUDIT: Final = """
import sys, pathlib, sysconfig, tempfile
from stagelight_collector.demo import survey
survey.audit(pathlib.Path(tempfile.mkdtemp()), pathlib.Path(sysconfig.get_paths()["stdlib"]))
"""
MENDED: Final = """
import stagelight
with stagelight.workflow("text audit"):
    pass
"""


async def run(collector: CollectorProcess, program: str) -> None:
    """Run a program under the agent, as a user does."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "stagelight_collector", "run", "--endpoint", collector.url, sys.executable, "-c", program,
        stderr=asyncio.subprocess.DEVNULL, cwd=collector.data_dir,
    )  # fmt: skip
    async with asyncio.timeout(60):
        await process.wait()


@pytest.mark.timeout(180)
async def test_the_demo_heeds_two_lines_of_the_users_configuration_and_nothing_else(
    tmp_path: Path, receiver: Receiver
) -> None:
    lines = f"alerting.slack = '{receiver.url}/slack'\nalerting.webhook = '{receiver.url}/hook'\n"
    (tmp_path / "stagelight.toml").write_text(f"{lines}port = 1\nprot = 'unknown'\n")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "stagelight_collector", "demo", "--no-open", "--port", "0", "--data-dir", "data",
        cwd=tmp_path, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if name != "STAGELIGHT_CONFIG"},
    )  # fmt: skip
    try:
        heard = await receiver.until(2, 150)
    finally:
        process.terminate()
        await process.wait()
    found = {each.path: each.json for each in heard}
    assert found["/slack"]["text"].startswith("🔴 text audit failed: UnicodeDecodeError")
    assert "/#/runs/" in found["/slack"]["blocks"][1]["text"]["text"]
    assert found["/hook"]["alerts"][0]["labels"]["workflow"] == "text audit"


@pytest.mark.browser
@pytest.mark.timeout(240)
async def test_a_failure_is_told_resolved_and_silenced_from_the_page(
    browser: Browser, collector: CollectorProcess, receiver: Receiver
) -> None:
    expect.set_options(timeout=30_000)
    quick = (
        "group_interval = '1s'\n[alerting.rules.run-failed]\nwhen = 'run_failed'\nkeep_firing_for = '1s'\n"
    )
    await configure(
        collector, f"[alerting]\nslack = '{receiver.url}/slack'\nwebhook = '{receiver.url}/hook'\n{quick}"
    )
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(f"{collector.url}/#/alerts")
    await expect(page.get_by_text("Nothing fires.")).to_be_visible()

    await run(collector, AUDIT)
    first = await receiver.until(2, 60)
    assert {each.path for each in first} == {"/slack", "/hook"}
    firing = page.get_by_role("region", name="Firing").get_by_role("listitem")
    await expect(firing).to_contain_text("text audit failed: UnicodeDecodeError")
    await firing.get_by_role("link").click()
    await expect(page.get_by_role("treeitem").filter(has_text="read_as_text").first).to_be_visible()
    await page.get_by_role("link", name="Alerts").click()

    await run(collector, MENDED)
    over = (await receiver.until(4, 60))[2:]
    assert {each.json.get("status", "resolved") for each in over} == {"resolved"}
    resolved = page.get_by_role("region", name="Resolved within a day").get_by_role("listitem")
    await expect(resolved).to_contain_text("text audit failed")

    await run(collector, AUDIT)
    await receiver.until(6, 60)
    await firing.get_by_role("button", name="Silence…").click()
    await firing.get_by_placeholder("Why?").fill("the disk is being moved")
    await firing.get_by_role("button", name="Silence", exact=True).click()
    silences = page.get_by_role("region", name="Silences").get_by_role("listitem")
    await expect(silences).to_contain_text("workflow=text audit")
    await expect(silences).to_contain_text("the disk is being moved")
    await expect(firing).to_contain_text("Not told: silence")
    await run(collector, AUDIT)
    await expect(firing).to_contain_text("2 runs")
    assert len(receiver.heard) == 6, "nobody is told during a silence"

    await silences.get_by_role("button", name="End now").click()
    await expect(silences).to_have_count(0)

    async def refuse(request: web.Request) -> web.Response:
        # Slack means a 404; whoever has a webhook may mend it.
        return web.Response(status=404 if request.path == "/slack" else 500)

    receiver.answers.extend([refuse] * 2)
    await run(collector, MENDED)
    failed = page.get_by_role("region", name="Not delivered").get_by_role("listitem")
    await expect(failed).to_have_count(2)
    await failed.filter(has_text="Given up").get_by_role("button", name="Try now").click()
    await expect(failed).to_have_count(1)
    await failed.filter(has_text="Will be tried again").get_by_role("button", name="Try now").click()
    await expect(failed).to_have_count(0)
    await context.close()


@pytest.mark.browser
@pytest.mark.timeout(240)
async def test_a_rule_is_written_in_the_page_by_keyboard_and_survives_a_kill(
    browser: Browser, collector: CollectorProcess, receiver: Receiver
) -> None:
    expect.set_options(timeout=30_000)
    fixed = "[alerting.rules.nightly]\nwhen = 'missed'\nevery = '1d'\nmatch = { workflow = 'nightly' }\n"
    await configure(collector, f"[alerting]\nwebhook = '{receiver.url}/hook'\noff = ['run-failed']\n{fixed}")
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(f"{collector.url}/#/alerts")
    rules = page.get_by_role("region", name="Rules")
    nightly = rules.get_by_role("listitem").filter(has_text="nightly")
    await expect(nightly).to_contain_text("from stagelight.toml, and changed there")
    await expect(nightly.get_by_role("button")).to_have_count(0)

    await rules.get_by_role("button", name="Add a rule…").focus()
    await page.keyboard.press("Enter")
    form = rules.get_by_role("form", name="New rule")
    await expect(form.get_by_label("Name")).to_be_focused()
    await page.keyboard.type("audit fails")
    await page.keyboard.press("Tab")
    await page.keyboard.type("A run fails")
    await form.get_by_label("Workflow").focus()
    await page.keyboard.type("text*")
    await form.get_by_label("For at least").fill("soon")
    await page.keyboard.press("Enter")
    await expect(form.get_by_label("Name")).to_have_accessible_description(
        "write 1 to 80 letters, digits, '-', '_' and '.', such as billing-late"
    )
    await expect(form.get_by_label("Name")).to_be_focused()
    await expect(form.get_by_label("For at least")).to_have_accessible_description(
        "this is no span of time; write for example '30s', '5m', '1h30m' or '1d'"
    )
    await form.get_by_label("Name").fill("audit-fails")
    await form.get_by_label("For at least").fill("")
    await page.keyboard.press("Enter")
    audit = rules.get_by_role("listitem").filter(has_text="audit-fails")
    await expect(audit).to_contain_text("when a run fails, where workflow is text*")
    await expect(rules.get_by_role("button", name="Add a rule…")).to_be_focused()

    await collector.kill()
    await collector.start()
    await run(collector, AUDIT)
    (heard,) = await receiver.until(1, 60)
    assert heard.json["alerts"][0]["labels"]["alertname"] == "audit-fails"

    await audit.get_by_role("button", name="Edit audit-fails").click()
    form = audit.get_by_role("form", name="Rule audit-fails")
    await expect(form.get_by_label("Workflow")).to_have_value("text*")
    await form.get_by_label("Severity").select_option("critical")
    await form.get_by_role("button", name="Save").click()
    await expect(audit).to_contain_text("critical")
    await audit.get_by_role("button", name="Switch off audit-fails").click()
    await expect(audit).to_contain_text("Switched off")
    await expect(page.get_by_role("region", name="Firing")).to_contain_text("Nothing fires.")
    await audit.get_by_role("button", name="Delete audit-fails").click()
    await audit.get_by_role("button", name="Really delete").click()
    await expect(audit).to_have_count(0)
    await context.close()


FLOWS: Final = """
from pathlib import Path
from stagelight_plugins.engine import NonRetryableError, WorkflowEntrypoint

class Door(WorkflowEntrypoint):
    async def run(self, event, step):
        def open_door():
            if not Path("key").exists():
                raise NonRetryableError("no <b>key</b>")
        return await step.do("open door", open_door)
"""


@pytest.mark.browser
@pytest.mark.timeout(240)
async def test_an_action_link_is_pressed_in_a_browser(
    browser: Browser, collector: CollectorProcess, receiver: Receiver, session: aiohttp.ClientSession
) -> None:
    expect.set_options(timeout=30_000)
    (collector.data_dir / "flows.py").write_text(FLOWS)
    actions = "[alerting.actions]\nenabled = true\n[plugins.engine]\nworkflows = ['flows.py']\n"
    await configure(collector, f"[alerting]\nslack = '{receiver.url}/slack'\n{actions}")
    instances = f"{collector.url}/client/v4/accounts/local/workflows/Door/instances"
    async with session.post(instances, json={}) as answer:
        assert answer.status == 200, await answer.text()
    (heard,) = await receiver.until(1, 60)
    (buttons,) = [block["elements"] for block in heard.json["blocks"] if block["type"] == "actions"]
    link = {button["text"]["text"]: button["url"] for button in buttons}["Retry"]

    async def status() -> str:
        async with session.get(f"{instances}/latest") as answer:
            return str((await answer.json())["result"]["status"])

    complaints: list[str] = []
    context = await browser.new_context(color_scheme="dark")
    page = await context.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    for _ in range(2):  # a preview, then a person
        await page.goto(link)
        await expect(page.get_by_role("heading", name="Retry?")).to_be_visible()
    await expect(page.get_by_role("definition").first).to_have_text("Door")
    background = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == "rgb(16, 17, 20)", "the style sheet is let in by the collector's policy"
    assert await status() == "errored"
    (collector.data_dir / "key").touch()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Done")).to_be_visible()
    async with asyncio.timeout(60):
        while await status() != "complete":  # noqa: ASYNC110 - the engine is asked, as a user asks it
            await asyncio.sleep(0.05)
    assert complaints == []
    await page.goto(link)
    await page.get_by_role("button", name="Retry").click()
    await expect(page.get_by_role("heading", name="Nothing was done")).to_be_visible()
    await page.get_by_role("link", name="Look at the run").click()
    await expect(page.get_by_role("treeitem").filter(has_text="open door").first).to_be_visible()
    await context.close()
