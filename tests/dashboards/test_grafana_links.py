"""The page links to the dashboards that are shipped, by uids and variables that these have."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlsplit

import pytest
from playwright.async_api import expect

from stagelight_dashboards.grafana import grafana_files

from .fake_collector import now_ms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import Locator, Page, Route

    from .fake_collector import FakeCollector

    OpenPage = Callable[..., Awaitable[Page]]

pytestmark = pytest.mark.browser

GRAFANA: Final = "https://grafana.example/team/"
ODD: Final = "dag:manual__2026-11-25T10:00:00+00:00/a b&c=d#e?f%2Fg"
WORKFLOW: Final = "report's <b>&</b>"
HOUR: Final = 3_600_000
MARGIN: Final = 5_000


def boards() -> dict[str, dict[str, Any]]:
    """Return the shipped dashboards by uid."""
    found = [json.loads(text) for path, text in grafana_files().items() if path.startswith("dashboards/")]
    return {board["uid"]: board for board in found}


def of_grafana(page: Page) -> Locator:
    return page.locator("a[target=_blank]")


async def links(page: Page) -> dict[str, tuple[str, dict[str, str]]]:
    """Return where the links lead, by their text: a dashboard's title and its query. Each is one that is shipped."""
    found: dict[str, tuple[str, dict[str, str]]] = {}
    for link in await of_grafana(page).all():
        assert await link.get_attribute("rel") == "noopener"
        url = urlsplit(str(await link.get_attribute("href")))
        assert url._replace(path="", query="").geturl() == "https://grafana.example"
        assert url.path.startswith("/team/d/")
        board = boards()[url.path.removeprefix("/team/d/")]
        query = dict(parse_qsl(url.query, strict_parsing=True))
        variables = {f"var-{variable['name']}" for variable in board["templating"]["list"]}
        assert query.keys() - {"from", "to"} <= variables
        text, told, _ = (await link.text_content() or "").partition(" in Grafana, in a new tab")
        assert told
        found[text] = (board["title"].removeprefix("Stagelight: "), query)
    return found


async def answer(route: Route, answers: dict[str, Any]) -> None:
    """Answer as the engine and alerting do."""
    path = urlsplit(route.request.url).path
    await route.fulfill(json=next(data for end, data in answers.items() if path.endswith(end)))


async def test_a_run_leads_to_its_dashboards_and_they_lead_back(
    open_page: OpenPage, collector: FakeCollector
) -> None:
    collector.grafana = GRAFANA
    await collector.stop()
    collector.prefix = "/behind/"
    await collector.start()
    collector.put_run(ODD, workflow=WORKFLOW, status="failed", started_ms=1_000 * HOUR, ended_ms=1_001 * HOUR)
    page = await open_page()
    await page.get_by_role("option").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(WORKFLOW)

    back = {"var-stagelight": collector.url.rstrip("/")}
    until = str(1_001 * HOUR + MARGIN)
    day = {"var-workflow": WORKFLOW, "from": str(977 * HOUR - MARGIN), "to": until, **back}
    run = {"var-run": ODD, "from": str(1_000 * HOUR - MARGIN), "to": until, **back}
    assert await links(page) == {
        "Run": ("Run", run),
        "Workflow": ("Workflow", day),
        "Steps & errors": ("Steps & errors", day),
    }


async def test_a_run_that_goes_on_is_shown_until_now(open_page: OpenPage, collector: FakeCollector) -> None:
    collector.grafana = GRAFANA
    collector.put_run("r", started_ms=now_ms())
    page = await open_page("#/runs/r")
    await expect(of_grafana(page)).to_have_count(3)
    assert {query["to"] for _, query in (await links(page)).values()} == {"now"}


async def test_every_view_leads_to_its_dashboard(open_page: OpenPage, collector: FakeCollector) -> None:
    collector.grafana = GRAFANA
    collector.pages = [{"title": title, "href": f"#/{title.lower()}"} for title in ("Workflows", "Alerts")]
    collector.put_run("r")
    page = await open_page()
    await expect(of_grafana(page)).to_have_count(2)
    back = {"var-stagelight": collector.url.rstrip("/")}
    assert await links(page) == {
        "Overview": ("Overview", back),
        "Collector health": ("Collector health", back),
    }

    queue: dict[str, Any] = {
        "queued": 0,
        "running": 0,
        "waiting": 0,
        "limit": 1,
        "account_limit": 1,
        "account_running": 0,
        "shards": [],
    }
    workflow: dict[str, Any] = {
        "name": WORKFLOW,
        "class_name": "Report",
        "schedules": [],
        "counts": {},
        "queue": queue,
    }
    alert: dict[str, Any] = {
        "fingerprint": "f", "rule": "failed", "labels": {"workflow": WORKFLOW, "severity": "error"}, "notes": {"summary": "s"},
        "since": 2_000 * HOUR / 1_000, "fired": 0, "ended": 2_001 * HOUR / 1_000, "count": 2, "acked": "", "status": "resolved",
        "run": "", "muted": "",
    }  # fmt: skip
    answers: dict[str, Any] = {
        "engine/workflows": {"workflows": [workflow]},
        "/alerts": {"alerts": [alert], "left_out": 0, "receivers": [], "problems": []},
        "/deliveries": {"deliveries": []},
        "/silences": {"silences": []},
        "/rules": {"rules": [], "kinds": {}, "receivers": []},
    }
    for path in ("**/api/v1/engine/**", "**/-/alerting/**"):
        await page.route(path, lambda route: answer(route, answers))
    await page.evaluate("location.hash = '#/workflows'")
    await expect(page.get_by_role("heading", name=WORKFLOW)).to_be_visible()
    assert await links(page) == {"Trends": ("Workflow", {"var-workflow": WORKFLOW, **back})}

    await page.evaluate("location.hash = '#/alerts'")
    await expect(page.get_by_role("heading", name="Resolved within a day")).to_be_visible()
    day = {"from": str(1_977 * HOUR - MARGIN), "to": str(2_001 * HOUR + MARGIN)}
    assert await links(page) == {
        "Steps & errors": ("Steps & errors", {"var-workflow": WORKFLOW, **day, **back})
    }


@pytest.mark.parametrize("where", ["", "javascript:alert(1)"])
async def test_without_a_grafana_nothing_leads_there(
    open_page: OpenPage, collector: FakeCollector, where: str
) -> None:
    collector.grafana = where
    collector.pages = [{"title": "Alerts", "href": "#/alerts"}]
    collector.put_run("r")
    page = await open_page("#/runs/r")
    await expect(page.get_by_role("navigation", name="Pages").get_by_role("link")).to_have_count(1)
    await expect(of_grafana(page)).to_have_count(0)
    await page.evaluate("location.hash = '#/'")
    await expect(page.get_by_role("option")).to_have_count(1)
    await expect(of_grafana(page)).to_have_count(0)


async def test_the_new_tab_cannot_reach_the_page(open_page: OpenPage, collector: FakeCollector) -> None:
    collector.grafana = f"{collector.url}grafana/"
    collector.put_run("r")
    page = await open_page("#/runs/r")
    async with page.context.expect_page() as opened:
        await page.get_by_role("link", name="Run in Grafana, in a new tab").click()
    tab = await opened.value
    await tab.wait_for_url("**/grafana/d/stagelight-run?var-run=r&**")
    assert await tab.evaluate("window.opener") is None
