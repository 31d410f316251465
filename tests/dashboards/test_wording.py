"""What the page says in words is true of what it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from playwright.async_api import expect

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import Page

    from .fake_collector import FakeCollector

    OpenPage = Callable[..., Awaitable[Page]]

pytestmark = pytest.mark.browser

DONE_RUN: Final = {"status": "completed", "duration_ms": 10.0}


async def test_the_empty_lobby_says_which_spans_light_up(open_page: OpenPage) -> None:
    page = await open_page()
    hint = page.get_by_text("OTEL_EXPORTER_OTLP_ENDPOINT")
    await expect(hint).to_be_visible()
    text = await page.get_by_role("main").inner_text()
    assert "Any OpenTelemetry SDK works" not in text
    assert "workflow.name" in text
    assert "collector/README.md" in text


async def test_what_is_not_there_is_worded_by_the_state_of_the_run(
    open_page: OpenPage, collector: FakeCollector
) -> None:
    collector.put_run("open", status="queued")
    collector.put_run("over", **DONE_RUN)
    page = await open_page("#/runs/open/logs")
    await expect(page.get_by_text("log lines")).to_have_text("No log lines yet.")
    step = page.get_by_role("complementary", name="Step").get_by_role("status")
    await page.evaluate("location.hash = '#/runs/open/steps/nowhere'")
    await expect(step).to_have_text("The run has no such step yet.")
    await page.evaluate("location.hash = '#/runs/over/steps/nowhere'")
    await expect(step).to_have_text("The run had no such step.")
    await page.evaluate("location.hash = '#/runs/over/logs'")
    await expect(page.get_by_text("log lines")).to_have_text("This run wrote no log lines.")


async def test_older_runs_are_offered_only_where_there_are_some(
    open_page: OpenPage, collector: FakeCollector
) -> None:
    for name in ("one", "two", "three"):
        collector.older.append(collector.put_run(name))
    page = await open_page()
    await expect(page.get_by_role("option")).to_have_count(3)
    await expect(page.get_by_text("That is all of them.")).to_be_visible()
    await expect(page.get_by_role("button", name="Load older runs")).to_have_count(0)
    await page.get_by_label("Filter runs").fill("two")
    await expect(page.get_by_role("option")).to_have_count(1)
    await expect(page.get_by_role("button", name="Search older runs")).to_have_count(0)
    collector.let_go("three")
    await page.get_by_label("Filter runs").fill("")
    await expect(page.get_by_role("button", name="Load older runs")).to_be_visible()


async def test_one_run_that_only_history_has_is_offered(
    open_page: OpenPage, collector: FakeCollector
) -> None:
    collector.put_run("past", started_ms=1.0, **DONE_RUN)
    collector.older.append(collector.runs.pop("past").state)
    collector.older.append(collector.put_run("present"))
    page = await open_page()
    await page.get_by_role("button", name="Load older runs").click()
    await expect(page.get_by_role("option")).to_have_count(2)
    await expect(page.get_by_text("That is all of them.")).to_be_visible()
