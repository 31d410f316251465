"""The built page, a collector that plays to it, and a real browser that watches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from playwright.async_api import expect

import build_ui

from .fake_collector import FakeCollector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from playwright.async_api import Browser, ConsoleMessage, Page

PATIENCE_MS: Final = 60_000
"""How long a condition is awaited: a busy machine is slow, and no test measures time."""
DASHBOARDS: Final = Path(__file__).parents[2] / "dashboards"

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="session")
def built_page() -> Path:
    """The page, built from the source in this tree; built now where it is out of date."""
    static = DASHBOARDS / "stagelight_dashboards" / "static"
    if not build_ui.is_current(DASHBOARDS / "ui", static):
        try:
            build_ui.build(DASHBOARDS / "ui", static)
        except build_ui.PageBuildError as error:
            pytest.skip(f"the page cannot be built here: {error}")
    return static


@pytest.fixture
async def collector(built_page: Path) -> AsyncIterator[FakeCollector]:  # noqa: ARG001  # it serves what was built
    """An empty collector on a free port."""
    collector = FakeCollector()
    await collector.start()
    yield collector
    await collector.stop()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser complained of: script errors, refused styles and scripts, failed requests. Empty at the end.

    A test that provokes complaints takes them out of the list.
    """
    return []


@pytest.fixture
async def open_page(
    browser: Browser, collector: FakeCollector, complaints: list[str]
) -> AsyncIterator[Callable[..., Awaitable[Page]]]:
    """Open an address of the page in a new window of this width; `#/…` is relative to the collector."""

    def heard(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            complaints.append(message.text)

    async def open_page(path: str = "", *, width: int = 1280) -> Page:
        context = await browser.new_context(viewport={"width": width, "height": 800})
        context.set_default_timeout(PATIENCE_MS)
        page = await context.new_page()
        page.on("console", heard)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(collector.url + path)
        return page

    yield open_page
    assert complaints == []
