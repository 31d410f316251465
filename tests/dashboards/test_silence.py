"""What the page says of a run that nobody tells of any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from .fake_collector import failure, now_ms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import Locator, Page

    from .fake_collector import FakeCollector

    OpenPage = Callable[..., Awaitable[Page]]

pytestmark = pytest.mark.browser

MOVING = "() => document.getAnimations().filter(each => each.effect.target.closest('main')).length"


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("treeitem").filter(has_text=name)


async def test_a_run_that_fell_silent_is_marked_and_its_clock_stands_still(
    open_page: OpenPage, collector: FakeCollector
) -> None:
    collector.put_run("r", workflow="killed")
    collector.put_step("r", "s", name="work", started_ms=now_ms() - 300_000)
    collector.fall_silent("r", 240)
    page = await open_page()
    option = page.get_by_role("option")
    await expect(option).to_contain_text("last heard of 4m ago")
    await expect(option.locator(".length")).to_have_text("1m 30s")
    assert await page.evaluate(MOVING) == 0
    await option.click()
    header = page.get_by_role("main").locator("header")
    await expect(header).to_contain_text("last heard of 4m ago")
    await expect(header).to_contain_text("1m 30s")
    await expect(row(page, "work").locator(".bar.lost")).to_be_visible()
    assert await page.evaluate(MOVING) == 0


async def test_a_word_of_the_run_takes_the_mark_away(open_page: OpenPage, collector: FakeCollector) -> None:
    collector.put_run("r")
    collector.put_step("r", "s", name="work")
    collector.fall_silent("r", 65)
    page = await open_page("#/runs/r")
    header = page.get_by_role("main").locator("header")
    await expect(header).to_contain_text("last heard of 1m ago")
    # The sender's clock is a minute slow: what has just arrived was heard just now all the same.
    collector.log("r", "still here")
    await expect(header).not_to_contain_text("last heard of")
    await expect(row(page, "work").locator(".bar.open:not(.lost)")).to_be_visible()


async def test_a_run_that_has_nothing_to_say_is_not_marked(
    open_page: OpenPage, collector: FakeCollector
) -> None:
    for status in ("pending", "queued", "waiting", "paused", "completed", "failed", "running"):
        collector.put_run(status, status=status)
        collector.put_step(status, "s", name="nap", status="waiting", started_ms=now_ms() - 900_000)
        collector.fall_silent(status, 900)
    page = await open_page()
    await expect(page.get_by_role("option")).to_have_count(7)
    await expect(page.get_by_text("last heard of")).to_have_count(0)
    await page.evaluate("location.hash = '#/runs/running'")
    await expect(row(page, "nap").locator(".bar.open:not(.lost)")).to_be_visible()
    await expect(page.get_by_text("last heard of")).to_have_count(0)


async def test_nothing_turns_in_a_run_that_failed(open_page: OpenPage, collector: FakeCollector) -> None:
    collector.put_run("r")
    collector.put_step("r", "s", name="left open")
    page = await open_page()
    await expect(page.get_by_role("option")).to_contain_text("Running")
    assert await page.evaluate(MOVING) > 0
    collector.put_run("r", status="failed", ended_ms=now_ms(), error=failure("ValueError", "no rows"))
    await expect(page.get_by_role("option")).to_contain_text("Failed")
    assert await page.evaluate(MOVING) == 0
    await expect(page.get_by_role("option").locator(".part.tone-running")).to_have_count(0)
    await page.get_by_role("option").click()
    await expect(row(page, "left open")).to_contain_text("Did not end")
    assert await page.evaluate(MOVING) == 0


async def test_steps_that_have_not_started_come_last_in_the_order_they_were_told(
    open_page: OpenPage, collector: FakeCollector
) -> None:
    collector.put_run("r")
    collector.put_step("r", "z", name="one", status="pending", started_ms=None)
    page = await open_page("#/runs/r")
    names = page.get_by_role("treeitem").locator(".text")
    await expect(names).to_have_text(["one"])
    collector.put_step("r", "b", name="two", status="pending", started_ms=None)
    collector.put_step("r", "a", name="three", status="pending", started_ms=None)
    collector.put_step("r", "c", name="first", started_ms=now_ms())
    await expect(names).to_have_text(["first", "one", "two", "three"])
    collector.put_step("r", "b", status="running", started_ms=now_ms() + 1)
    await expect(names).to_have_text(["first", "two", "one", "three"])
