"""The page on a phone: everything fits, whatever the connection is like."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest
from playwright.async_api import expect

from .fake_collector import failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import Page, Route

    from .fake_collector import FakeCollector

    OpenPage = Callable[..., Awaitable[Page]]

pytestmark = pytest.mark.browser

WIDTHS: Final = (360, 375)
PAGES: Final = [{"title": title, "href": f"#/{title.lower()}"} for title in ("Workflows", "Alerts")]


async def test_a_phone_shows_everything_without_scrolling_sideways(
    open_page: OpenPage, collector: FakeCollector
) -> None:
    long = "a_name_that_is_much_longer_than_any_phone_is_wide_" * 3
    error = failure(long, long, long)
    collector.grafana = "https://grafana.example/"
    collector.put_run(
        "r", workflow=long, service=long, error=error, attributes={long: long}, parent_run_id=long
    )
    collector.put_step("r", "s", name=long, error=error, attributes={long: long})
    collector.log("r", long, step_id="s")
    collector.put_run("done", workflow=long, status="completed")
    page = await open_page(width=360)
    await expect(page.get_by_role("option")).to_have_count(2)
    for link in ("#/", "#/runs/r", "#/runs/r/steps/s", "#/runs/r/logs", "#/runs/r/details", "#/runs/done"):
        await page.evaluate("link => { location.hash = link }", link)
        await expect(page.get_by_role("heading", level=1)).to_have_count(1)
        await expect(page.get_by_test_id("connection")).to_contain_text("Ended" if "done" in link else "Live")
        await assert_fits(page, link)


OUTSIDE: Final = """() => [...document.querySelectorAll('header :is(a, button), main button, main h1, main nav a')]
  .filter(each => each.checkVisibility() && each.getBoundingClientRect().right > innerWidth + 0.5)
  .map(each => each.textContent)"""


async def assert_fits(page: Page, what: str) -> None:
    for width in WIDTHS:
        await page.set_viewport_size({"width": width, "height": 740})
        assert await page.evaluate("document.documentElement.scrollWidth") == width, (what, width)
        assert await page.evaluate(OUTSIDE) == [], (what, width)


@pytest.mark.parametrize("link", ["#/", "#/runs/r"])
@pytest.mark.parametrize("places", [1, 2])
async def test_the_top_bar_fits_in_every_state_of_the_connection(
    open_page: OpenPage, collector: FakeCollector, complaints: list[str], link: str, places: int
) -> None:
    collector.pages = PAGES[:places]
    collector.put_run("r", workflow="a workflow with a long name")
    page = await open_page(link, width=360)
    badge = page.get_by_test_id("connection")
    await expect(page.get_by_role("navigation", name="Pages").get_by_role("link")).to_have_count(places)
    await expect(badge).to_contain_text("Live")
    await assert_fits(page, "Live")
    for word in ("Connecting", "Reconnecting", "Unreachable", "Not found", "Refused"):
        await page.unroute_all()
        await page.route(re.compile("/feed"), partial(answer, word))
        await page.evaluate(COME_BACK)
        await expect(badge).to_contain_text(word, timeout=60_000)
        await assert_fits(page, word)
    complaints.clear()


COME_BACK: Final = """() => {
  dispatchEvent(new PageTransitionEvent('pagehide'))
  dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))
}"""
"""Leaves the page and comes back to it: its feed is opened anew."""


async def answer(badge: str, route: Route) -> None:
    """Treat the feed so that the badge says this, and goes on saying it."""
    statuses = {"Not found": 404, "Refused": 403, "Reconnecting": 503}
    if badge in statuses:
        await route.fulfill(status=statuses[badge], headers={"Retry-After": "600"})
    elif badge == "Unreachable":
        await route.abort()
    # Connecting: nobody answers.


async def test_the_name_of_a_run_is_shown_on_two_lines_and_whole_when_pointed_at(
    open_page: OpenPage, collector: FakeCollector
) -> None:
    long = "nightly import of every ledger of every subsidiary, with reconciliation and the report for the auditors"
    collector.put_run("short", workflow="nightly")
    collector.put_run("r", workflow=long)
    page = await open_page("#/runs/short", width=375)
    heading = page.get_by_role("heading", level=1)
    await expect(heading).to_have_text("nightly")
    line = await heading.evaluate("each => each.clientHeight")
    await page.evaluate("location.hash = '#/runs/r'")
    await expect(heading).to_have_text(long)
    assert await heading.evaluate("each => each.clientHeight") == pytest.approx(2 * line, abs=2)
    await expect(heading).to_have_attribute("title", long)
