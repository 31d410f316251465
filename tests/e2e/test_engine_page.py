"""Durable workflows in the page: started, steered, approved, and seen in their diagram, in a real browser."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest
from playwright.async_api import expect

from .processes import PATIENCE_SECONDS
from .shop import Shop, open_shop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Browser, Locator, Page, Route

MORE: Final = """

class Parcel(WorkflowEntrypoint):
    concurrency = 2

    async def run(self, event, step):
        packed = await step.do("pack", lambda: {"packed": event.payload["item"]})
        weighed = await step.do("weigh", lambda: 1 / event.payload["grams"], retries=0)
        called = await step.wait_for_event("courier", event_type="courier", timeout="1 day")
        await step.sleep("on its way", "30 days")
        return {**packed, "weighed": weighed, "by": called.payload}
"""

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    expect.set_options(timeout=PATIENCE_SECONDS * 1_000)
    async with open_shop(tmp_path, MORE) as shop:
        yield shop


@pytest.fixture
async def page(browser: Browser, shop: Shop) -> AsyncIterator[Page]:
    """A page of the collector; it must complain of nothing that is the page's own fault."""
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(PATIENCE_SECONDS * 1_000)
    page = await context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(f"{shop.collector.url}/#/workflows")
    yield page
    await context.close()
    assert complaints == []


def status(page: Page) -> Locator:
    return page.get_by_role("main").get_by_role("status").first


def steering(page: Page) -> Locator:
    return page.get_by_role("region", name="Steering", exact=True)


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("treeitem").filter(has_text=name)


async def start(page: Page, workflow: str, payload: str, instance: str) -> None:
    """Start an instance from the page, and be on its run's page."""
    item = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=workflow))
    await item.get_by_role("button", name="Start…").click()
    form = page.get_by_role("form", name=f"Start {workflow}")
    await expect(form.get_by_label("Payload")).to_be_focused()
    await form.get_by_label("Payload").fill(payload)
    await form.get_by_label("Id").fill(instance)
    await form.get_by_role("button", name="Start").click()


@pytest.mark.crash
async def test_the_sample_is_started_and_approved_in_the_page_and_killed_in_each_of_its_states(
    shop: Shop, page: Page
) -> None:
    await start(page, "Refund", '{"order": 7}', "refund-7")
    await expect(page).to_have_url(f"{shop.collector.url}/#/runs/refund-7")
    await shop.killed("fetch")
    os.close(await shop.gate("fetch"))
    await shop.until(lambda found: found.status == "waiting")
    await shop.restart()
    await shop.until(lambda found: found.status == "waiting")

    approval = page.get_by_role("region", name="Approval")
    await expect(approval).to_contain_text("Waits for your approval: approve")
    await approval.get_by_label("Reason").fill("he is right")
    await approval.get_by_role("button", name="Approve").click()
    await expect(approval).to_have_count(0)

    await shop.killed("process")
    os.close(await shop.gate("process"))
    ended = await shop.until(lambda found: found.end is not None)
    await expect(status(page)).to_contain_text("Completed")
    told = await shop.instances.step(
        "refund-7", name="approve-1", type="waitForEvent", account_id="any", workflow_name="Refund"
    )

    assert ended.output == {"order": 7, "paid": True}
    assert shop.calls == ["fetch", "fetch", "process", "process"]
    payload: Any = told.output
    assert payload["payload"] == {"approved": True, "reason": "he is right", "metadata": None}


async def test_the_buttons_come_although_the_collector_was_away_when_they_were_loaded(
    shop: Shop, page: Page
) -> None:
    away = 2

    async def answer(route: Route) -> None:
        nonlocal away
        away -= 1
        await (route.abort() if away >= 0 else route.continue_())

    await page.route("**/assets/Steering-*.js", answer)
    await start(page, "Refund", '{"order": 7}', "refund-7")
    await expect(steering(page).get_by_role("button", name="Pause")).to_be_visible()
    assert away < 0
    os.close(await shop.gate("fetch"))


async def test_the_sample_is_rejected_in_the_page_with_the_reason(shop: Shop, page: Page) -> None:
    await start(page, "Refund", '{"order": 7}', "refund-7")
    os.close(await shop.gate("fetch"))
    approval = page.get_by_role("region", name="Approval")
    await approval.get_by_label("Reason").fill("too late")
    await approval.get_by_role("button", name="Reject").click()
    ended = await shop.until(lambda found: found.end is not None)

    await expect(status(page)).to_contain_text("Failed")
    await expect(page.get_by_role("main").get_by_text("too late").first).to_be_visible()
    assert ended.status == "errored"


async def parcel(shop: Shop) -> Any:
    return await shop.instances.get("p", account_id="any", workflow_name="Parcel")


async def test_every_operation_of_an_instance_is_in_the_page(shop: Shop, page: Page) -> None:
    await start(page, "Parcel", '{"item": "cup", "grams": 0}', "p")
    await expect(status(page)).to_contain_text("Failed")
    # The feed of a run that has ended is over; what is done to it is seen all the same.
    await expect(page.get_by_test_id("connection")).to_contain_text("Ended")
    # Skip the failed step, with an output.
    await row(page, "weigh").click()
    panel = page.get_by_role("complementary", name="Step")
    await panel.get_by_role("button", name="Skip…").click()
    skip = panel.get_by_role("form", name="Skip this step")
    await skip.get_by_label("Output").fill("{grams}")
    await skip.get_by_role("button", name="Skip").click()
    await expect(skip.get_by_role("alert")).to_contain_text("not JSON")
    await skip.get_by_label("Output").fill('{"grams": 250}')
    await skip.get_by_role("button", name="Skip").click()
    await expect(status(page)).to_contain_text("Waiting")
    await expect(row(page, "weigh")).to_contain_text("Skipped")
    # Pause and resume.
    await steering(page).get_by_role("button", name="Pause").click()
    await expect(status(page)).to_contain_text("Paused")
    await steering(page).get_by_role("button", name="Resume").click()
    await expect(status(page)).to_contain_text("Waiting")
    # Send the event that a step waits for; its type is there already.
    await steering(page).get_by_role("button", name="Send event…").click()
    send = page.get_by_role("form", name="Send an event")
    await expect(send.get_by_label("Type")).to_have_value("courier")
    await send.get_by_label("Payload").fill('"Ada"')
    await send.get_by_role("button", name="Send").click()
    await expect(row(page, "on its way")).to_contain_text("Waiting")
    # Skip the sleep.
    await row(page, "on its way").click()
    await panel.get_by_role("button", name="Skip…").click()
    await panel.get_by_role("form").get_by_role("button", name="Skip").click()
    await expect(status(page)).to_contain_text("Completed")
    await expect(page.get_by_test_id("connection")).to_contain_text("Ended")
    ended = await parcel(shop)
    assert ended.output == {"packed": "cup", "weighed": {"grams": 250}, "by": "Ada"}
    # Restart from the wait; what was before it is kept.
    await row(page, "courier").click()
    await panel.get_by_role("button", name="Restart from here…").click()
    await panel.get_by_role("form").get_by_role("button", name="Restart").click()
    await expect(status(page)).to_contain_text("Waiting")
    again = await parcel(shop)
    assert [step.name for step in again.steps] == ["pack-1", "weigh-1", "courier-1"]
    assert again.steps[0].start == ended.steps[0].start
    # Terminate, by keyboard.
    await steering(page).get_by_role("button", name="Terminate…").press("Enter")
    form = page.get_by_role("form", name="Terminate")
    await page.keyboard.press("Escape")
    await expect(form).to_have_count(0)
    await expect(steering(page).get_by_role("button", name="Terminate…")).to_be_focused()
    await page.keyboard.press("Enter")
    await form.get_by_role("button", name="Terminate").press("Enter")
    await expect(status(page)).to_contain_text("Terminated")
    await expect(steering(page).get_by_role("button", name="Pause")).to_have_count(0)
    # Restart from its start.
    await steering(page).get_by_role("button", name="Restart…").click()
    await page.get_by_role("form", name="Restart").get_by_role("button", name="Restart").click()
    await expect(status(page)).to_contain_text("Failed")


async def test_the_queue_and_the_slots_of_each_workflow_are_in_the_page(shop: Shop, page: Page) -> None:
    item = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="Refund"))
    await expect(item).to_contain_text("0 of 50,000 slots, 0 queued")
    await shop.instances.create("Refund", instance_id="refund-7", params='{"order": 7}', account_id="any")
    gate = await shop.gate("fetch")
    await expect(item).to_contain_text("1 of 50,000 slots, 0 queued")
    await item.get_by_role("button", name="Newest").click()
    newest = item.get_by_role("list", name="Newest instances of Refund")
    await expect(newest.get_by_role("listitem")).to_contain_text("running")
    await expect(item.get_by_role("table")).to_contain_text("SousChef")
    os.close(gate)
    await expect(item).to_contain_text("0 of 50,000 slots, 0 queued")
    await expect(item).to_contain_text("1 waiting")
    await newest.get_by_role("link").click()
    await expect(page).to_have_url(f"{shop.collector.url}/#/runs/refund-7")


async def test_what_the_engine_refuses_is_said_where_it_was_asked(shop: Shop, page: Page) -> None:
    await start(page, "Parcel", "{", "p")
    form = page.get_by_role("form", name="Start Parcel")
    await expect(form.get_by_role("alert")).to_contain_text("not JSON")
    await form.get_by_label("Payload").fill("1")
    await form.get_by_label("Id").fill("no spaces")
    await form.get_by_role("button", name="Start").click()
    await expect(form.get_by_role("alert")).to_contain_text("instance id")
    async with aiohttp.ClientSession() as session:
        url = f"{shop.collector.url}/api/v1/engine/workflows/Parcel/instances"
        async with session.post(url, json={}, headers={"Origin": "http://evil.example"}) as answer:
            assert answer.status == 403
        async with session.get(url) as answer:
            assert (await answer.json())["instances"] == []


async def test_the_diagram_of_the_class_lights_up_as_its_run_moves(shop: Shop, page: Page) -> None:
    await start(page, "Refund", '{"order": 7}', "refund-7")
    await expect(page).to_have_url(f"{shop.collector.url}/#/runs/refund-7")
    gate = await shop.gate("fetch")
    await page.goto(f"{shop.collector.url}/#/runs/refund-7/diagram")
    diagram = page.get_by_role("tree", name="Diagram of Refund")
    places = {
        name: diagram.get_by_role("treeitem").filter(has_text=name)
        for name in ("fetch", "approve", "process")
    }
    await expect(places["fetch"]).to_have_attribute("data-status", "running")
    await expect(places["approve"]).to_have_attribute("data-status", "idle")
    os.close(gate)
    await expect(places["approve"]).to_have_attribute("data-status", "waiting")
    await expect(places["fetch"]).to_have_attribute("data-status", "completed")
    await page.get_by_role("region", name="Approval").get_by_role("button", name="Approve").click()
    os.close(await shop.gate("process"))
    await expect(places["process"]).to_have_attribute("data-status", "completed")
