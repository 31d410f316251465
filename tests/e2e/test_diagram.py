"""The demo's run page shows the demo's own code, lighting up while it runs: real processes, a real browser."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from .processes import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Browser, Locator, Page

pytestmark = pytest.mark.browser
SLOW = 60_000
"""Milliseconds: the job is a real one."""


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[str]:
    """Run `stagelight demo`; return where its page is."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "stagelight_collector", "demo", "--no-open", "--port", "0", "--data-dir", str(tmp_path),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            line = (await process.stdout.readline()).decode()
        yield line.split()[-1]
    finally:
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await process.communicate()


def card(page: Page, name: str) -> Locator:
    return page.locator(
        "g.card", has=page.locator("text.title", has_text=re.compile(rf"^{re.escape(name)}$"))
    )


async def test_the_demo_s_own_code_lights_up(demo: str, browser: Browser) -> None:
    page = await browser.new_page()
    page.set_default_timeout(SLOW)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    await page.goto(demo)
    await page.get_by_role("option").filter(has_text="standard library survey").click()
    await page.get_by_role("link", name="Diagram").click()
    running = page.locator("g.running")
    await expect(running.first).to_be_visible(timeout=SLOW)
    await expect(card(page, "parse …")).to_have_attribute("data-status", "running", timeout=SLOW)
    await expect(card(page, "parse …").locator(".halo")).to_be_visible(timeout=SLOW)
    await expect(card(page, "scan")).to_have_attribute("data-status", "completed", timeout=SLOW)
    await expect(card(page, "measure")).to_have_attribute("data-status", "completed", timeout=SLOW)
    await expect(page.get_by_role("button", name="Play the run again")).to_be_visible(timeout=SLOW)
    await expect(running).to_have_count(0, timeout=SLOW)
    for name in ("scan", "parse …", "measure", "find_duplicates", "index of names"):
        await expect(card(page, name)).to_have_attribute("data-status", "completed", timeout=SLOW)
    await expect(card(page, "write_report").first).to_contain_text("try")
    assert await page.locator("g.extra").count() == 0
    await card(page, "measure").click()
    code = page.get_by_role("complementary", name="Place in the code").locator(".line.here")
    await expect(code).to_contain_text("measure(findings)")
    assert complaints == []
    await page.close()
