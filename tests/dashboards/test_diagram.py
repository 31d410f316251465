"""The diagram tab in a real browser: what runs is seen on the code, and nothing in the code is more than text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pytest
from playwright.async_api import expect

from .fake_collector import attempt, diagram, failure, now_ms
from .test_live_page import PAYLOADS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import Locator, Page

    from .fake_collector import FakeCollector

    OpenPage = Callable[..., Awaitable[Page]]

pytestmark = pytest.mark.browser


def step(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "step_do", "name": name, "id": name, "nodes": [], **more}


CODE: Final = "\n".join(f"line {number}" for number in range(1, 60))
NODES: Final[list[dict[str, Any]]] = [
    step("extract", line=12),
    {
        "type": "loop",
        "id": "loop",
        "loop": {"kind": "for", "over": "pages"},
        "nodes": [step("load ${...}", line=20)],
    },
    {
        "type": "if",
        "id": "if",
        "branches": [
            {"condition": "rows", "nodes": [step("save")]},
            {"condition": None, "nodes": [step("give up")]},
        ],
    },
    step("tidy up"),
]


def place(page: Page, name: str) -> Locator:
    return page.get_by_role(
        "treeitem", name=re.compile(rf"^step (that is not in the code )?{re.escape(name)},")
    )


def status(value: str) -> re.Pattern[str]:
    return re.compile(rf"^{value}$")


def run(collector: FakeCollector, **changes: Any) -> None:
    """Put a run of a workflow whose diagram is there."""
    collector.diagrams["etl"] = diagram("etl", NODES)
    collector.sources["etl"] = {"version": "v1", "main": "app.py", "files": {"app.py": CODE}}
    collector.put_run("r", **changes)


def done(collector: FakeCollector, step_id: str, name: str, **changes: Any) -> None:
    at = now_ms()
    finished = {"status": "completed", "started_ms": at - 50, "ended_ms": at, "duration_ms": 50.0}
    collector.put_step("r", step_id, name=name, **{**finished, **changes})


async def test_the_code_lights_up_as_the_run_moves(open_page: OpenPage, collector: FakeCollector) -> None:
    run(collector)
    page = await open_page("#/runs/r/diagram")
    await expect(place(page, "extract")).to_have_attribute("data-status", "idle")
    collector.put_step("r", "1", name="extract")
    await expect(place(page, "extract")).to_have_attribute("data-status", "running")
    await expect(place(page, "extract").locator(".halo")).to_be_visible()
    done(collector, "1", "extract")
    await expect(place(page, "extract")).to_have_attribute("data-status", "completed")
    await expect(place(page, "extract").locator(".halo")).to_have_count(0)
    for number in range(3):
        done(collector, f"l{number}", f"load {number}")
    await expect(place(page, "load …")).to_contain_text("\u00d73")
    await expect(page.get_by_role("treeitem", name="loop for each of pages")).to_contain_text("round 3")
    await expect(place(page, "give up")).not_to_have_class(re.compile("faded"))
    done(collector, "s", "save")
    await expect(place(page, "give up")).to_have_class(re.compile("faded"))
    await expect(place(page, "save")).not_to_have_class(re.compile("faded"))
    done(collector, "x", "surprise")
    await expect(place(page, "surprise")).to_have_class(re.compile("extra"))


async def test_a_place_shows_its_code_steps_tries_and_error(
    open_page: OpenPage, collector: FakeCollector
) -> None:
    run(collector)
    error = failure("ValueError", "no rows today", "Traceback")
    tries = [attempt(1, "failed", 1.0, 2.0, error), attempt(2, "failed", 3.0, 4.0, error)]
    done(collector, "1", "extract", status="failed", attempt=2, attempts=tries, error=error)
    collector.put_run("r", status="failed", error=error, ended_ms=now_ms())
    page = await open_page("#/runs/r/diagram")
    await expect(place(page, "extract")).to_contain_text("ValueError: no")
    await place(page, "extract").click()
    panel = page.get_by_role("complementary", name="Place in the code")
    await expect(panel.locator(".line.here")).to_have_text(re.compile(r"12\s*line 12"))
    await expect(panel).to_contain_text("no rows today")
    await expect(panel.locator("ol li")).to_have_count(2)
    await page.keyboard.press("Escape")
    await expect(panel).to_have_count(0)
    assert page.url.endswith("#/runs/r/diagram")
    await place(page, "extract").click()
    await panel.get_by_role("link", name="extract").click()
    await expect(page.get_by_role("complementary", name="Step")).to_be_visible()


async def test_it_is_used_by_keys_alone(open_page: OpenPage, collector: FakeCollector) -> None:
    run(collector)
    done(collector, "1", "extract")
    page = await open_page("#/runs/r")
    await page.keyboard.press("2")
    tree = page.get_by_role("tree", name="Diagram of etl")
    await expect(place(page, "extract")).to_be_visible()
    await tree.focus()
    await page.keyboard.press("Home")
    await expect(place(page, "extract")).to_have_class(re.compile("active"))
    await page.keyboard.press("ArrowDown")
    loop = page.get_by_role("treeitem", name="loop for each of pages")
    await expect(loop).to_have_class(re.compile("active"))
    await page.keyboard.press("ArrowLeft")
    await expect(loop).to_have_attribute("aria-expanded", "false")
    await expect(place(page, "load …")).to_have_count(0)
    await page.keyboard.press("ArrowRight")
    await expect(place(page, "load …")).to_have_count(1)
    await page.keyboard.press("Home")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("complementary", name="Place in the code")).to_contain_text("extract")


async def test_a_run_that_is_over_is_played_again(open_page: OpenPage, collector: FakeCollector) -> None:
    began = now_ms() - 700_000
    run(collector, started_ms=began)
    done(collector, "1", "extract", started_ms=began, ended_ms=began + 60_000)
    done(collector, "2", "load 1", started_ms=began + 60_000, ended_ms=began + 600_000)
    collector.put_run("r", status="completed", started_ms=began, ended_ms=began + 600_000)
    page = await open_page("#/runs/r/diagram")
    await expect(place(page, "load …")).to_have_attribute("data-status", "completed")
    slider = page.get_by_role("slider", name="Moment of the run")
    await slider.fill("90")  # a moment stands still until it is played on
    await expect(place(page, "extract")).to_have_attribute("data-status", "running")
    await expect(place(page, "load …")).to_have_attribute("data-status", "idle")
    await page.get_by_role("button", name="10\u00d7").click()
    await page.get_by_role("button", name="Play the run again").click()
    await expect(place(page, "load …")).to_have_attribute("data-status", "running")
    await expect(place(page, "extract")).to_have_attribute("data-status", "completed")
    await page.get_by_role("button", name="Pause").click()
    await slider.fill("1000")
    await expect(place(page, "load …")).to_have_attribute("data-status", "completed")


async def test_no_diagram_says_how_to_get_one_and_comes_by_itself(
    open_page: OpenPage, collector: FakeCollector
) -> None:
    collector.put_run("r")
    page = await open_page("#/runs/r/diagram")
    await expect(page.get_by_text("stagelight diagram push app.py")).to_be_visible()
    collector.diagrams["etl"] = diagram("etl", None, state="waiting")
    await expect(page.get_by_role("heading", name="The code is being read")).to_be_visible()
    collector.diagrams["etl"] = diagram("etl", NODES)
    await expect(place(page, "extract")).to_be_visible()
    collector.put_run("s", workflow="odd")
    collector.diagrams["odd"] = diagram(
        "odd", None, state="failed", error="too complex: nested deeper than 100"
    )
    await page.goto(collector.url + "#/runs/s/diagram")
    await expect(page.get_by_text("too complex: nested deeper than 100")).to_be_visible()


async def test_another_version_than_the_run_s_is_named(open_page: OpenPage, collector: FakeCollector) -> None:
    run(collector)
    collector.diagrams["etl"] = diagram("etl", NODES, exact=False, run_version="v0")
    collector.put_run("r", status="completed", ended_ms=now_ms())
    page = await open_page("#/runs/r/diagram")
    await expect(page.get_by_text("The code of this run's version, v0, is not here")).to_be_visible()


async def test_whatever_the_code_says_is_text(open_page: OpenPage, collector: FakeCollector) -> None:
    nodes: list[dict[str, Any]] = [
        *(step(payload) | {"id": f"p{at}", "line": 1} for at, payload in enumerate(PAYLOADS)),
        *({"type": "if", "branches": [{"condition": each, "nodes": [step("a")]}]} for each in PAYLOADS),
        *({"type": "loop", "loop": {"over": each}, "nodes": [step("b")]} for each in PAYLOADS),
        *({"type": "switch", "discriminant": each, "branches": []} for each in PAYLOADS),
        *({"type": each, "name": each, "nodes": []} for each in PAYLOADS),
    ]
    collector.diagrams["etl"] = diagram("etl", nodes)
    text = "\n".join(PAYLOADS)
    collector.sources["etl"] = {"version": "v1", "main": "app.py", "files": {"app.py": text}}
    collector.put_run("r")
    for at, payload in enumerate(PAYLOADS):
        done(collector, f"s{at}", payload, status="failed", error=failure(payload, payload))
        done(collector, f"x{at}", f"extra {payload}")
    page = await open_page("#/runs/r/diagram")
    await page.locator("g.card").first.wait_for()
    await page.locator("g.card").first.dispatch_event("click")
    await expect(page.locator(".line.here")).to_contain_text("<script>")
    assert await page.evaluate("window.hacked") is None
    assert await page.locator("script:not([src])").count() == 0


async def test_a_phone_shows_it_and_two_fingers_are_not_needed(
    open_page: OpenPage, collector: FakeCollector
) -> None:
    run(collector)
    done(collector, "1", "extract")
    page = await open_page("#/runs/r/diagram", width=360)
    await expect(place(page, "extract")).to_be_in_viewport()
    for name in ("Zoom in", "Zoom out", "Fit all", "Fold all"):
        await expect(page.get_by_role("button", name=name)).to_be_in_viewport(ratio=1)
    await place(page, "extract").click()
    await expect(page.get_by_role("complementary", name="Place in the code")).to_be_in_viewport()
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360


async def test_five_hundred_steps_are_drawn_and_moved(open_page: OpenPage, collector: FakeCollector) -> None:
    nodes: list[dict[str, Any]] = [
        {"type": "parallel", "kind": "all", "nodes": [step(f"step {row} {column}") for column in range(10)]}
        for row in range(50)
    ]
    collector.diagrams["etl"] = diagram("etl", nodes)
    collector.put_run("r")
    for number in range(500):
        done(collector, f"s{number}", f"step {number // 10} {number % 10}")
    page = await open_page("#/runs/r/diagram")
    await expect(place(page, "step 49 9")).to_have_attribute("data-status", "completed")  # where the run is
    assert await page.locator("g.card").count() < 400
    drawn = await page.evaluate(MOVES)
    assert drawn["moved"]
    assert drawn["nodes"] < 6_000
    await page.get_by_role("tree", name="Diagram of etl").focus()
    await page.keyboard.press("Home")
    await expect(place(page, "step 0 0")).to_be_focused()
    assert await page.get_by_role("treeitem", name="not in the code").count() == 0
    await page.keyboard.press("0")
    await expect(page.locator("g.card.tone-good")).to_have_count(500)


MOVES: Final = """async () => {
  const svg = document.querySelector('svg[role=tree]');
  const before = svg.querySelector('.camera').style.transform;
  for (let at = 0; at < 30; at++) {
    svg.dispatchEvent(new WheelEvent('wheel', { deltaY: 40, bubbles: true, cancelable: true }));
    await new Promise(requestAnimationFrame);
  }
  return { moved: before !== svg.querySelector('.camera').style.transform, nodes: svg.querySelectorAll('*').length };
}"""
