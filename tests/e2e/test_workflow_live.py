"""A page of another origin that speaks only Workflow Live's protocol, against a running collector, in a real browser."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import pytest
from aiohttp import web
from playwright.async_api import expect

from .processes import CollectorProcess

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from playwright.async_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

PATIENCE_MS: Final = 30_000

PAGE: Final = """<!doctype html>
<title>Monitor</title>
<p id="badge">Connecting...</p>
<button id="create">Create</button><button id="start">Start</button>
<div id="cards"></div>
<div id="error"></div>
<script type="module">
const host = "HOST";
const known = new Map();
const call = async (method, path, body) => {
  const headers = {"Content-Type": "application/json"};
  const answer = await fetch(`http://${host}${path}`, {method, headers, body: body && JSON.stringify(body)});
  if (!answer.ok) { document.querySelector("#error").textContent += await answer.text(); throw Error(answer.status); }
  return answer.json();
};
const show = (workflow) => {
  known.set(workflow.id, workflow);
  document.querySelector("#cards").replaceChildren(...[...known.values()].map((each) => {
    const card = document.createElement("section");
    card.textContent = `${each.name} ${each.status.toUpperCase()} ` +
      each.stages.map((stage) => `${stage.name}=${stage.status}${stage.error ? " - " + stage.error : ""}`).join(" ");
    return card;
  }));
};
const socket = new WebSocket(`ws://${host}/room/${crypto.randomUUID()}/websocket`);
socket.onopen = () => { document.querySelector("#badge").textContent = "Connected"; };
socket.onclose = () => { document.querySelector("#badge").textContent = "Disconnected"; };
socket.onmessage = ({data}) => {
  const told = JSON.parse(data);
  if (told.type === "workflow_update") show(told.workflow);  // only what was pushed is shown
};
document.querySelector("#create").onclick = async () => {
  const stages = ["Initialize", "Process Data", "Cleanup"].map((name) => ({name}));
  const made = await call("POST", "/workflow/create", {name: "<i>sample</i>", stages});
  await call("POST", `/room/${made.id}/join`, {workflowId: made.id});
};
document.querySelector("#start").onclick = async () => {
  for (const {id, stages} of [...known.values()]) {
    await call("POST", `/workflow/${id}/start`);
    for (const stage of stages.slice(0, 2)) {
      await call("PUT", `/workflow/${id}/stage`, {stageId: stage.id, updates: {status: "running"}});
      const failed = stage === stages[1];
      const updates = failed ? {status: "failed", error: "Simulated failure"} : {status: "completed"};
      await call("PUT", `/workflow/${id}/stage`, {stageId: stage.id, updates});
    }
    await call("PUT", `/workflow/${id}/complete`, {error: "Stage failed"});
  }
};
</script>
"""


@asynccontextmanager
async def serving(text: list[str]) -> AsyncGenerator[str]:
    """Serve a page on an origin of its own; return the origin."""

    async def show(_request: web.Request) -> web.Response:
        return web.Response(text=text[0], content_type="text/html")

    app = web.Application()
    app.add_routes([web.get("/", show)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_a_page_that_knows_only_the_protocol_works_unchanged(browser: Browser, tmp_path: Path) -> None:
    expect.set_options(timeout=PATIENCE_MS)
    text = [""]
    async with serving(text) as origin:
        (tmp_path / "stagelight.toml").write_text(f'allowed_origins = ["{origin}"]\n')
        collector = CollectorProcess(tmp_path)
        await collector.start()
        text[0] = PAGE.replace("HOST", collector.url.removeprefix("http://"))
        try:
            page = await browser.new_page()
            await page.goto(origin)
            await expect(page.locator("#badge")).to_have_text("Connected")
            await page.click("#create")
            await expect(page.locator("section")).to_have_text(
                re.compile(r"^<i>sample</i> PENDING Initialize=pending")
            )
            await page.click("#start")
            await expect(page.locator("section")).to_have_text(
                "<i>sample</i> FAILED Initialize=completed Process Data=failed - Simulated failure Cleanup=pending"
            )
            await expect(page.locator("#error")).to_be_empty()

            ours = await browser.new_page()
            await ours.goto(collector.url)
            await ours.get_by_text("<i>sample</i>").click()
            await expect(ours.get_by_text("Stage failed").first).to_be_visible()
            await expect(ours.get_by_text("Process Data").first).to_be_visible()
            await ours.close()

            assert await collector.stop() == 0
            await expect(page.locator("#badge")).to_have_text("Disconnected")
            await page.close()
        finally:
            await collector.kill()


async def test_a_page_of_an_origin_that_was_not_allowed_gets_nothing(
    browser: Browser, collector: CollectorProcess
) -> None:
    expect.set_options(timeout=PATIENCE_MS)
    async with serving([PAGE.replace("HOST", collector.url.removeprefix("http://"))]) as origin:
        page = await browser.new_page()
        await page.goto(origin)
        await expect(page.locator("#badge")).to_have_text("Disconnected")
        await page.click("#create")
        await expect(page.locator("section")).to_have_count(0)
        await page.close()
