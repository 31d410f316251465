"""The live page in a real browser, under the collector's content security policy."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pytest
from playwright.async_api import expect

from .fake_collector import attempt, failure, fill_large, now_ms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import Locator, Page

    from .fake_collector import FakeCollector

    OpenPage = Callable[..., Awaitable[Page]]

pytestmark = pytest.mark.browser

PAYLOADS: Final = (
    "<script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    "<svg/onload=window.hacked=1>",
    '"><script>window.hacked=1</script>',
    "'-window.hacked--'",
    "javascript:window.hacked=1",
    '" autofocus onfocus=window.hacked=1 x="',
    "{{constructor.constructor('window.hacked=1')()}}",
    "{@html '<img src=x onerror=window.hacked=1>'}",
    "${window.hacked=1}",
    "<style>*{display:none}</style>",
    "<iframe srcdoc='<script>top.hacked=1</script>'>",
    "</title><script>window.hacked=1</script>",
    "<math><mi xlink:href='javascript:window.hacked=1'>",
    "\x1b[31mred\x1b[0m \u202egnp.exe\u202c \x00nul",
    "x" * 10_000,
)
DONE_RUN: Final = {"status": "completed", "duration_ms": 10.0}


def badge(page: Page) -> Locator:
    return page.get_by_test_id("connection")


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("treeitem").filter(has_text=name)


async def test_an_empty_lobby_says_how_to_get_a_first_run(
    open_page: OpenPage, collector: FakeCollector
) -> None:
    page = await open_page()
    run = f"stagelight run --endpoint {collector.url.rstrip('/')}"
    await expect(page.get_by_text(f"{run} python your_app.py")).to_be_visible()
    await expect(page.get_by_text(f"{run} --step '__main__:*' python your_app.py")).to_be_visible()
    collector.put_run("first", workflow="nightly")
    await expect(page.get_by_role("option").filter(has_text="nightly")).to_be_visible()


async def test_runs_appear_and_change_in_the_lobby_while_it_is_watched(
    open_page: OpenPage, collector: FakeCollector
) -> None:
    collector.put_run("one", workflow="etl")
    page = await open_page()
    await expect(page.get_by_role("option")).to_contain_text(["Running"])
    collector.put_run("two", workflow="report", started_ms=now_ms() + 1)
    collector.put_run("one", status="failed", error=failure("ValueError", "no rows\nsecond line"))
    await expect(page.get_by_role("option")).to_contain_text(["report", "Failed"])
    await expect(page.get_by_role("option").nth(1)).to_contain_text("ValueError: no rows")


async def test_steps_turn_from_running_to_completed_while_they_are_watched(
    open_page: OpenPage, collector: FakeCollector
) -> None:
    collector.put_run("r")
    page = await open_page("#/runs/r")
    await expect(badge(page)).to_contain_text("Live")
    await expect(page.get_by_text("Waiting for the first step.")).to_be_visible()
    collector.put_step("r", "outer", name="load")
    collector.put_step("r", "inner", name="fetch", parent_id="outer")
    await expect(page.get_by_text("2 steps")).to_be_visible()
    await expect(page.get_by_text("Waiting for the first step.")).to_have_count(0)
    await expect(row(page, "fetch")).to_have_attribute("aria-level", "2")
    await expect(row(page, "fetch")).to_contain_text("Running")
    collector.put_step("r", "inner", status="completed", ended_ms=now_ms(), duration_ms=1234.0)
    await expect(row(page, "fetch")).to_contain_text("Completed")
    await expect(row(page, "fetch")).to_contain_text("1.23s")
    await expect(row(page, "load")).to_contain_text("Running")


async def test_a_failed_step_shows_each_attempt_with_its_message_and_stack_trace(
    open_page: OpenPage, collector: FakeCollector
) -> None:
    error = failure("TimeoutError", "bank did not answer", "Traceback: line 7")
    collector.put_run("r", started_ms=1.0)
    tries = [
        attempt(1, "failed", 1.0, 2.0, error),
        attempt(2, "failed", 3.0, 4.0, failure("ValueError", "no money")),
    ]
    collector.put_step("r", "s", name="charge", status="failed", started_ms=1.0, ended_ms=4.0)
    collector.put_step("r", "s", attempt=2, attempts=tries, error=tries[1]["error"])
    collector.put_run("r", status="failed", error=tries[1]["error"])
    page = await open_page("#/runs/r/steps/s")
    await expect(page.get_by_role("main").get_by_text("no money").first).to_be_visible()
    panel = page.get_by_role("complementary", name="Step")
    await expect(panel.get_by_text("bank did not answer")).to_be_visible()
    await panel.get_by_text("Stack trace").click()
    await expect(panel.get_by_text("Traceback: line 7")).to_be_visible()
    await expect(row(page, "charge").locator(".bar.failed")).to_have_count(2)


async def test_a_step_that_a_dead_run_left_open_is_not_shown_as_running(
    open_page: OpenPage, collector: FakeCollector
) -> None:
    collector.put_run("r")
    collector.put_step("r", "s", name="orphan")
    collector.put_run("r", status="terminated", ended_ms=now_ms())
    page = await open_page("#/runs/r")
    await expect(row(page, "orphan")).to_contain_text("Did not end")


async def test_the_badge_tells_of_a_lost_link_and_the_page_catches_up(
    open_page: OpenPage, collector: FakeCollector, complaints: list[str]
) -> None:
    collector.put_run("r")
    collector.put_step("r", "s", name="work")
    page = await open_page("#/runs/r")
    await expect(badge(page)).to_contain_text("Live")
    await collector.stop()
    await expect(badge(page)).to_contain_text(re.compile(r"(Reconnecting|Unreachable)\s+· try \d+"))
    collector.put_step("r", "s", status="completed", ended_ms=now_ms())
    await collector.start()
    await badge(page).get_by_role("button", name="Retry").click()
    await expect(badge(page)).to_contain_text("Live")
    await expect(row(page, "work")).to_contain_text("Completed")
    assert all("ERR_" in complaint for complaint in complaints)
    complaints.clear()


async def test_an_unknown_run_is_explained_and_shown_once_it_starts(
    open_page: OpenPage, collector: FakeCollector, complaints: list[str]
) -> None:
    page = await open_page("#/runs/soon")
    await expect(badge(page)).to_contain_text("Not found")
    await expect(page.get_by_text("has no run with the id")).to_be_visible()
    collector.put_run("soon", workflow="late")
    await badge(page).get_by_role("button", name="Retry").click()
    await expect(page.get_by_role("heading", name="late")).to_be_visible()
    assert all("404" in complaint for complaint in complaints)
    complaints.clear()


async def test_an_ended_run_is_shown_as_ended_and_asked_for_no_more(
    open_page: OpenPage, collector: FakeCollector
) -> None:
    collector.put_run("r", **DONE_RUN)
    page = await open_page("#/runs/r")
    await expect(badge(page)).to_contain_text("Ended")
    assert collector.feeds_opened == 1


async def test_a_page_holds_one_stream_wherever_it_goes(
    open_page: OpenPage, collector: FakeCollector
) -> None:
    for name in ("one", "two"):
        collector.put_run(name, workflow=name)
    page = await open_page()
    for name in ("one", "two", "one"):
        await page.get_by_role("option").filter(has_text=name).click()
        await expect(page.get_by_role("heading", name=name)).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("option")).to_have_count(2)
    await expect(badge(page)).to_contain_text("Live")
    assert (collector.feeds_opened, collector.feeds_open) == (7, 1)


async def test_the_keyboard_alone_leads_from_the_lobby_to_a_step_and_back(
    open_page: OpenPage, collector: FakeCollector
) -> None:
    collector.put_run("old", workflow="import", started_ms=1.0)
    collector.put_run("new", workflow="export", started_ms=2.0)
    collector.put_step("old", "a", name="first", started_ms=1.0)
    collector.put_step("old", "b", name="second", started_ms=2.0, kind="sleep")
    page = await open_page()
    await expect(page.get_by_role("option")).to_have_count(2)
    await page.keyboard.press("/")
    await page.keyboard.type("import")
    await expect(page.get_by_role("option")).to_have_count(1)
    for key in ("Enter", "Enter"):  # into the list, then into the run
        await page.keyboard.press(key)
    await expect(page.get_by_role("treeitem")).to_have_count(2)
    for key in ("j", "j", "Enter"):
        await page.keyboard.press(key)
    panel = page.get_by_role("complementary", name="Step")
    await expect(panel.get_by_role("heading", name="second")).to_be_visible()
    assert page.url.endswith("#/runs/old/steps/b")
    await page.keyboard.press("k")
    await expect(panel.get_by_role("heading", name="first")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(panel).to_have_count(0)
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("listbox", name="Runs")).to_be_visible()
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()


async def test_nothing_that_a_sender_writes_is_read_as_markup(
    open_page: OpenPage, collector: FakeCollector
) -> None:
    for number, payload in enumerate(PAYLOADS):
        run, error = run_id(number, payload), failure(payload, payload, payload)
        collector.put_run(run, workflow=payload, service=payload, attributes={payload: payload}, error=error)
        collector.put_run(run, parent_run_id=payload, trace_ids=[payload], progress=progress(payload))
        collector.put_step(run, payload, name=payload, kind=payload, error=error, child_run_id=payload)
        collector.put_step(run, payload, attributes={payload: payload}, progress=progress(payload))
        collector.put_step(run, "tries", attempts=[attempt(n, "failed", 1.0, 2.0, error) for n in (1, 2)])
        collector.log(run, payload, step_id=payload, severity=payload, **{payload: payload})
    page = await open_page()
    await expect(page.get_by_role("option")).to_have_count(len(PAYLOADS))
    for number, payload in enumerate(PAYLOADS):
        await visit_all_views(page, run_id(number, payload), payload)
    assert await page.evaluate("window.hacked") is None


def run_id(number: int, payload: str) -> str:
    """Return a hostile id, without braces: aiohttp's routes do not match them."""
    return f"run{number}{payload[:60]}".translate({ord("{"): None, ord("}"): None})


def progress(message: str) -> dict[str, object]:
    return {"current": 1, "total": 3, "message": message}


async def visit_all_views(page: Page, run: str, step: str) -> None:
    for part in ("", "/logs", "/details", "/steps/tries", "/steps/" + await encoded(page, step)):
        link = f"#/runs/{await encoded(page, run)}{part}"
        await page.evaluate("link => { location.hash = link }", link)
        await expect(page.get_by_role("main").get_by_role("heading", level=1)).to_be_visible()
        await page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert await page.locator("main :is(script, iframe, img, style, math)").count() == 0


async def encoded(page: Page, text: str) -> str:
    return str(await page.evaluate("encodeURIComponent", text))


async def test_five_thousand_steps_put_only_what_is_seen_into_the_page(
    open_page: OpenPage, collector: FakeCollector
) -> None:
    fill_large(collector, "big", 5000)
    page = await open_page("#/runs/big")
    await expect(page.get_by_text("5,000 steps")).to_be_visible()
    assert await page.get_by_role("treeitem").count() < 60
    await page.keyboard.press("End")
    await expect(row(page, "load_part 4999")).to_be_in_viewport()
    assert await page.get_by_role("treeitem").count() < 60
    await page.get_by_role("button", name="Fold all steps").click()
    await expect(page.get_by_text("100 of 5,000 steps")).to_be_visible()
    collector.put_step("big", "s4999", status="completed", ended_ms=now_ms())
    await page.evaluate("location.hash = '#/runs/big/steps/s4999'")
    await expect(row(page, "load_part 4999")).to_contain_text("Completed")


async def test_a_storm_of_events_ends_in_the_right_state(
    open_page: OpenPage, collector: FakeCollector
) -> None:
    collector.put_run("r")
    collector.put_step("r", "s", name="work")
    page = await open_page("#/runs/r/logs")
    await expect(badge(page)).to_contain_text("Live")
    for number in range(2000):
        collector.log("r", f"line {number}", step_id="s")
    collector.put_step("r", "s", status="completed", ended_ms=now_ms())
    await expect(page.get_by_text("line 1999")).to_be_in_viewport()
    assert await page.locator("[role=log] .line").count() < 80
    await page.keyboard.press("1")
    await expect(row(page, "work")).to_contain_text("Completed")


async def test_older_runs_are_fetched_page_by_page_from_history(
    open_page: OpenPage, collector: FakeCollector
) -> None:
    for number in range(150):
        collector.put_run(f"past{number}", started_ms=1000.0 - number, **DONE_RUN)
        collector.older.append(collector.runs.pop(f"past{number}").state)
    collector.put_run("present", workflow="now")
    page = await open_page()
    for total in ("101", "151"):
        await page.get_by_role("button", name="Load older runs").click()
        await expect(page.get_by_role("button", name=f"All {total}")).to_be_visible()
    await page.keyboard.press("End")
    await expect(page.get_by_text("That is all of them.")).to_be_visible()


async def test_the_page_works_under_a_path(open_page: OpenPage, collector: FakeCollector) -> None:
    await collector.stop()
    collector.prefix = "/stagelight/"
    await collector.start()
    collector.put_run("r", workflow="proxied")
    page = await open_page()
    await page.get_by_role("option").filter(has_text="proxied").click()
    await expect(page.get_by_role("heading", name="proxied")).to_be_visible()


async def test_the_chosen_theme_is_kept(open_page: OpenPage) -> None:
    page = await open_page()
    for name in ("system", "light"):
        await page.get_by_role("button", name=f"Theme: {name}").click()
    await page.reload()
    await expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
    assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 17, 20)"
