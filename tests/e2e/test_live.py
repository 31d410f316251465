"""The main job as a person sees it: a real collector, a real job, a real browser."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import expect

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from playwright.async_api import Browser, Page

    from .processes import CollectorProcess

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

PATIENCE_MS: Final = 60_000

STEPS_ON_DEMAND: Final = """
import sys, stagelight

@stagelight.step
def load(line):
    stagelight.log(f"loading {line}")
    sys.stdin.readline()

with stagelight.workflow("on demand", run_id="demand"):
    for number in range(3):
        load(number)
"""


@asynccontextmanager
async def page_of(browser: Browser, url: str) -> AsyncGenerator[Page]:
    """Open a page that waits patiently."""
    context = await browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    page = await context.new_page()
    await page.goto(url)
    yield page
    await context.close()


async def test_the_demo_is_seen_from_the_first_step_to_the_last(browser: Browser, tmp_path: Path) -> None:
    expect.set_options(timeout=PATIENCE_MS)
    demo = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "stagelight_collector", "demo", "--no-open", "--port", "0",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=tmp_path,
    )  # fmt: skip
    assert demo.stdout is not None
    url = (await demo.stdout.readline()).decode().split()[-1]

    async with page_of(browser, url) as page:
        lobby = page.get_by_role("option")
        await expect(lobby.filter(has_text="standard library survey")).to_contain_text("Running")
        await lobby.filter(has_text="standard library survey").click()
        await expect(page.get_by_role("treeitem").filter(has_text="Running").first).to_be_visible()
        await expect(page.get_by_role("treeitem").filter(has_text="scan")).to_contain_text("Completed")
        await page.get_by_role("button", name="Fold all steps").click()
        await expect(page.get_by_role("treeitem").filter(has_text="index of names")).to_be_visible()
        report = page.get_by_role("treeitem").filter(has_text="write_report")
        await expect(report).to_contain_text("Completed")
        await expect(report.locator(".bar.failed").first).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(lobby.filter(has_text="text audit")).to_contain_text("UnicodeDecodeError")
        await expect(lobby.filter(has_text="standard library survey")).to_contain_text("Completed")

    demo.send_signal(signal.SIGINT)
    async with asyncio.timeout(30):
        _, errors = await demo.communicate()
    assert demo.returncode == 0, errors.decode()
    assert "Traceback" not in errors.decode()


async def test_the_page_recovers_when_the_collector_was_killed_and_comes_back(
    browser: Browser, collector: CollectorProcess
) -> None:
    expect.set_options(timeout=PATIENCE_MS)
    app = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STEPS_ON_DEMAND, stdin=asyncio.subprocess.PIPE,
        env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url},
    )  # fmt: skip
    assert app.stdin is not None
    async with page_of(browser, collector.url) as page:
        await page.get_by_role("option").filter(has_text="on demand").click()
        await expect(page.get_by_role("treeitem")).to_have_count(1)
        await collector.kill()
        await expect(page.get_by_test_id("connection")).to_contain_text(
            re.compile("Reconnecting|Unreachable")
        )
        app.stdin.write(b"go\n")
        await collector.start()
        await expect(page.get_by_test_id("connection")).to_contain_text("Live")
        await expect(page.get_by_role("treeitem")).to_have_count(2)
        await expect(page.get_by_role("treeitem").first).to_contain_text("Completed")
        app.stdin.write(b"go\ngo\n")
        await expect(page.get_by_role("treeitem").filter(has_text="Completed")).to_have_count(3)
        await expect(page.get_by_test_id("connection")).to_contain_text("Ended")
    assert await app.wait() == 0


async def test_a_page_of_another_origin_gets_nothing(browser: Browser, collector: CollectorProcess) -> None:
    async def show(request: web.Request) -> web.Response:
        del request
        return web.Response(text='<link rel="icon" href="data:,">elsewhere', content_type="text/html")

    elsewhere = web.Application()
    elsewhere.router.add_get("/", show)
    async with TestServer(elsewhere) as other, page_of(browser, collector.url) as page:
        await page.goto(str(other.make_url("/")))
        statuses: list[int] = []
        network: Any = await page.context.new_cdp_session(page)  # tells answers that the page is not given

        def told(answer: dict[str, Any]) -> None:
            statuses.append(answer["statusCode"])

        network.on("Network.responseReceivedExtraInfo", told)
        await network.send("Network.enable")
        read = await page.evaluate(
            """async url => {
                const tries = [
                    fetch(url + '/api/v1/runs').then(response => response.text()),
                    fetch(url + '/v1/traces', {method: 'POST', mode: 'no-cors'}).then(response => response.text()),
                    new Promise((take, refuse) => {
                        const source = new EventSource(url + '/api/v1/feed');
                        source.onmessage = take; source.onerror = () => { source.close(); refuse('closed'); };
                    }),
                ];
                return (await Promise.allSettled(tries)).map(result => result.status + ':' + (result.value ?? ''));
            }""",
            collector.url,
        )

    assert read == ["rejected:"] * 3
    assert statuses == [403] * 3, "the browser kept it from the page, not the collector"
