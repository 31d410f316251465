"""The sample page's buttons: from an empty page to workflows that were played, and what is left after Clear."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final

import pytest
from playwright.async_api import expect

if TYPE_CHECKING:
    import aiohttp
    from playwright.async_api import Browser, Locator, Page, Route

    from .processes import CollectorProcess

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

PATIENCE_MS: Final = 15_000
LONGEST_MS: Final = 3_000
"""How long a stage takes at most."""


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def row(page: Page, number: int) -> Locator:
    return page.get_by_role("option").filter(has_text=f"Sample Workflow {number}")


async def opened(browser: Browser, collector: CollectorProcess, chance: str) -> Page:
    """Open the page with a clock that can be moved, and with a chance that is known."""
    expect.set_options(timeout=PATIENCE_MS)
    page = await browser.new_page()
    await page.clock.install()
    await page.add_init_script(f"Math.random = () => {chance};")
    await page.goto(collector.url)
    await expect(button(page, "Start All")).to_be_disabled()
    await expect(button(page, "Clear")).to_be_disabled()
    return page


async def runs(collector: CollectorProcess, session: aiohttp.ClientSession) -> dict[str, dict[str, Any]]:
    async with session.get(f"{collector.url}/api/v1/runs") as response:
        return {run["workflow"]: run for run in (await response.json())["runs"]}


async def test_samples_are_created_started_and_played_to_their_end(
    browser: Browser, collector: CollectorProcess, session: aiohttp.ClientSession
) -> None:
    page = await opened(browser, collector, "0.5")
    await button(page, "Create Sample Workflow").click()
    await expect(row(page, 1)).to_contain_text("Pending")
    await button(page, "Create Sample Workflow").click()
    await expect(row(page, 2)).to_contain_text("0 / 5")
    await button(page, "Start All").click()
    await expect(button(page, "Start All")).to_be_disabled()
    for done in range(5):
        for number in (1, 2):
            await expect(row(page, number)).to_contain_text(f"{done} / 5")
            await expect(row(page, number)).to_contain_text("Running")
        await expect(page.get_by_text("Cleanup")).to_have_count(2 if done == 4 else 0)
        await page.clock.fast_forward(LONGEST_MS)
    for number in (1, 2):
        await expect(row(page, number)).to_contain_text("Completed")

    await button(page, "Clear").click()
    await expect(button(page, "Clear")).to_have_count(0)
    await expect(page.get_by_role("option")).to_have_count(2)
    found = await runs(collector, session)
    assert {name: run["status"] for name, run in found.items()} == {
        "Sample Workflow 1": "completed",
        "Sample Workflow 2": "completed",
    }
    await page.close()


async def test_a_stage_that_fails_ends_its_workflow(browser: Browser, collector: CollectorProcess) -> None:
    page = await opened(browser, collector, "0.05")
    await button(page, "Create Sample Workflow").click()
    await button(page, "Start All").click()
    await expect(row(page, 1)).to_contain_text("Running")
    await page.clock.fast_forward(LONGEST_MS)
    await expect(row(page, 1)).to_contain_text(re.compile("Failed.*Stage failed", re.DOTALL))
    await row(page, 1).click()
    await page.get_by_role("treeitem").filter(has_text="Initialize").click()
    await expect(page.get_by_text("Simulated failure").first).to_be_visible()
    await page.close()


async def test_clear_ends_what_runs_and_what_waits(
    browser: Browser, collector: CollectorProcess, session: aiohttp.ClientSession
) -> None:
    page = await opened(browser, collector, "0.5")
    await button(page, "Create Sample Workflow").click()
    await button(page, "Start All").click()
    await expect(row(page, 1)).to_contain_text("Running")
    await button(page, "Create Sample Workflow").click()
    await expect(row(page, 2)).to_contain_text("Pending")
    await button(page, "Clear").click()
    for number in (1, 2):
        await expect(row(page, number)).to_contain_text(re.compile("Failed.*Cleared", re.DOTALL))
    assert set(await runs(collector, session)) == {"Sample Workflow 1", "Sample Workflow 2"}
    await page.close()


async def test_nothing_is_left_running_when_the_page_goes(
    browser: Browser, collector: CollectorProcess
) -> None:
    page = await opened(browser, collector, "0.5")
    await button(page, "Create Sample Workflow").click()
    await button(page, "Start All").click()
    await expect(row(page, 1)).to_contain_text("Running")
    await page.goto("about:blank")
    await page.goto(collector.url)
    await expect(row(page, 1)).to_contain_text(re.compile("Failed.*Cleared", re.DOTALL))
    await page.close()


@pytest.mark.parametrize("said", ["running", "completed"])
async def test_what_was_cleared_while_a_request_was_on_its_way_stays_cleared(
    browser: Browser, collector: CollectorProcess, session: aiohttp.ClientSession, said: str
) -> None:
    page = await opened(browser, collector, "0.5")
    under_way, answer = asyncio.Event(), asyncio.Event()

    async def hold_the_answer(route: Route) -> None:
        response = await route.fetch()
        if said in (route.request.post_data or ""):
            under_way.set()
            await answer.wait()
        await route.fulfill(response=response)

    await page.route("**/stage", hold_the_answer)
    await button(page, "Create Sample Workflow").click()
    await button(page, "Start All").click()
    await expect(row(page, 1)).to_contain_text("Running")
    async with asyncio.timeout(60):
        while not under_way.is_set():
            await page.clock.run_for(LONGEST_MS)
    await button(page, "Clear").click()
    await expect(row(page, 1)).to_contain_text(re.compile("Failed.*Cleared", re.DOTALL))
    sent: list[str] = []
    page.on("request", lambda request: sent.append(f"{request.method} {request.url}"))
    async with page.expect_response("**/stage"):
        answer.set()
    await page.evaluate("fetch('/healthz').then(answer => answer.text())")

    assert [request for request in sent if "/workflow/" in request] == []
    assert (await runs(collector, session))["Sample Workflow 1"]["status"] == "failed"
    await page.close()
