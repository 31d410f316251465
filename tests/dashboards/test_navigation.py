"""The page's navigation is what the collector's plugins say it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from playwright.async_api import expect

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import Locator, Page

    from .fake_collector import FakeCollector

    OpenPage = Callable[..., Awaitable[Page]]

pytestmark = pytest.mark.browser

ALERTS: Final = {"title": "Alerts", "href": "#/alerts"}
ASSAYS: Final = {"title": "Assays <b>&</b> more", "href": "-/assays/"}


def places(page: Page) -> Locator:
    return page.get_by_role("navigation", name="Pages").get_by_role("link")


async def test_a_plugins_page_is_linked_by_its_own_address(
    open_page: OpenPage, collector: FakeCollector
) -> None:
    collector.pages = [ALERTS, ASSAYS]
    await collector.stop()
    collector.prefix = "/behind/"
    await collector.start()
    page = await open_page()
    await expect(places(page)).to_have_text(["Alerts", "Assays <b>&</b> more"])
    assert await places(page).nth(1).evaluate("link => link.href") == f"{collector.url}-/assays/"


async def test_an_address_that_is_no_page_is_not_linked(
    open_page: OpenPage, collector: FakeCollector
) -> None:
    collector.pages = [{"title": "Bad", "href": "javascript:alert(1)"}, ALERTS]
    page = await open_page()
    await expect(places(page)).to_have_text(["Alerts"])


async def test_without_alerting_there_is_no_link_to_it_and_its_page_says_why(
    open_page: OpenPage, collector: FakeCollector
) -> None:
    collector.put_run("r")
    page = await open_page("#/alerts")
    await expect(page.get_by_role("heading", name="Alerting is not loaded")).to_be_visible()
    await expect(page.get_by_text("stagelight plugins")).to_be_visible()
    await expect(places(page)).to_have_count(0)
    await page.get_by_role("link", name="All runs", exact=True).click()
    await expect(page.get_by_role("option")).to_have_count(1)


async def test_a_collector_that_comes_back_with_other_plugins_is_asked_again(
    open_page: OpenPage, collector: FakeCollector, complaints: list[str]
) -> None:
    collector.pages = [ALERTS]
    collector.put_run("r")
    page = await open_page()
    await expect(places(page)).to_have_text(["Alerts"])
    await collector.stop()
    await expect(page.get_by_test_id("connection").get_by_role("button", name="Retry")).to_be_visible()
    collector.pages = [ASSAYS]
    await collector.start()
    await expect(places(page)).to_have_text([ASSAYS["title"]])
    assert all("ERR_" in complaint for complaint in complaints)
    complaints.clear()
