"""A page of another origin that speaks only Workflow Live's protocol, against a running collector, in a real browser."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest
from aiohttp import WSCloseCode, web
from playwright.async_api import expect
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from .processes import CollectorProcess

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from playwright.async_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

PATIENCE_MS: Final = 30_000

PAGE: Final = """<!doctype html>
<title>Monitor</title>
<p id="badge">Connecting...</p>
<button id="create">Create</button><button id="start">Start</button><button id="clear">Clear</button>
<div id="cards"></div>
<div id="error"></div>
<script type="module">
const host = "HOST";
const known = new Map();
const find = (id) => document.querySelector(id);
const call = async (method, path, body) => {
  const headers = body ? {"Content-Type": "application/json"} : {};
  const answer = await fetch(`http://${host}${path}`, {method, headers, body: body && JSON.stringify(body)});
  if (!answer.ok) { find("#error").textContent += await answer.text(); throw Error(answer.status); }
  return answer.json();
};
const show = () => find("#cards").replaceChildren(...[...known.values()].map((each) => {
  const card = document.createElement("section");
  card.textContent = `${each.name} ${each.status.toUpperCase()} ` +
    each.stages.map((stage) => `${stage.name}=${stage.status}${stage.error ? " - " + stage.error : ""}`).join(" ");
  return card;
}));
const learn = (workflow) => { known.set(workflow.id, workflow); show(); return workflow; };
const update = async (id, stageId, updates) => learn(await call("PUT", `/workflow/${id}/stage`, {stageId, updates}));
const connect = () => {
  const socket = new WebSocket(`ws://${host}/room/${crypto.randomUUID()}/websocket`);
  socket.onopen = () => { find("#badge").textContent = "Connected"; };
  socket.onclose = () => { find("#badge").textContent = "Disconnected"; setTimeout(connect, 3000); };
  socket.onmessage = ({data}) => {
    const told = JSON.parse(data);
    if (told.type === "workflow_update") learn(told.workflow);
    if (told.type === "stage_update") update(told.workflowId, told.stage);  // what the published page does
    if (told.type === "workflow_error") find("#error").textContent += told.error.message;
  };
};
connect();
const names = ["Initialize", "Process Data", "Validate Results", "Send Notifications", "Cleanup"];
find("#create").onclick = async () => {
  const name = `<i>sample</i> ${known.size + 1}`;
  const {id} = learn(await call("POST", "/workflow/create", {name, stages: names.map((each) => ({name: each}))}));
  await call("POST", `/room/${id}/join`, {workflowId: id});
};
const play = async ({id, stages, name}) => {
  for (const stage of stages) {
    await update(id, stage.id, {status: "running"});
    if (name.endsWith("1") && stage === stages[2]) {
      await update(id, stage.id, {status: "failed", error: "Simulated failure"});
      return "Stage failed";
    }
    await update(id, stage.id, {status: "completed"});
  }
  return null;
};
find("#start").onclick = async () => {
  for (const {id, status} of [...known.values()]) {
    if (status !== "pending") continue;
    const error = await play(learn(await call("POST", `/workflow/${id}/start`)));
    learn(await call("PUT", `/workflow/${id}/complete`, {error}));
  }
};
find("#clear").onclick = () => { known.clear(); show(); };
</script>
"""
STAGES: Final = ["Initialize", "Process Data", "Validate Results", "Send Notifications", "Cleanup"]
FAILED: Final = (
    "<i>sample</i> 1 FAILED Initialize=completed Process Data=completed Validate Results=failed - Simulated failure "
    "Send Notifications=pending Cleanup=pending"
)
COMPLETED: Final = (
    "<i>sample</i> 2 COMPLETED Initialize=completed Process Data=completed Validate Results=completed "
    "Send Notifications=completed Cleanup=completed"
)


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
        page, watcher = await browser.new_page(), await browser.new_page()
        try:
            for each in (page, watcher):
                await each.goto(origin)
                await expect(each.locator("#badge")).to_have_text("Connected")
            for number in (1, 2):
                await page.click("#create")
                await expect(watcher.locator("section")).to_have_count(number)
            await expect(watcher.locator("section").first).to_have_text(
                re.compile(r"^<i>sample</i> 1 PENDING Initialize=pending")
            )
            await page.click("#start")
            for each in (page, watcher):  # the second is only told
                await expect(each.locator("section")).to_have_text([FAILED, COMPLETED])
                await expect(each.locator("#error")).to_have_text(
                    "Stage failed"
                )  # told once, and nothing else
            await page.click("#clear")
            await expect(page.locator("section")).to_have_count(0)

            ours = await browser.new_page()
            await ours.goto(collector.url)
            await ours.get_by_text("<i>sample</i> 1").click()
            await expect(ours.get_by_text("Stage failed").first).to_be_visible()
            await expect(ours.get_by_text("Process Data").first).to_be_visible()
            await ours.close()

            assert await collector.stop() == 0
            await expect(page.locator("#badge")).to_have_text("Disconnected")
            await collector.start()
            await expect(page.locator("#badge")).to_have_text("Connected")
            await page.click("#create")
            await expect(watcher.locator("section")).to_have_count(3)
        finally:
            await page.close()
            await watcher.close()
            await collector.kill()


async def test_a_plain_websocket_client_hears_of_a_workflow(collector: CollectorProcess) -> None:
    """Nothing but sockets and RFC 6455: what any language has."""
    host, _, port = collector.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(
            f"GET /room/{uuid.uuid4()}/websocket HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head  # the answer that RFC 6455, section 1.3, works out
        assert (await heard(reader))["type"] == "connected"

        writer.write(said({"type": "ping"}))
        assert (await heard(reader))["type"] == "pong"
        writer.write(said({"type": "dance"}))
        assert await heard(reader) == {"error": "Unknown message type"}

        body = {"name": "etl", "stages": [{"name": "load"}]}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{collector.url}/workflow/create", json=body) as response,
        ):
            made = await response.json()
        told = await heard(reader)
        assert (told["type"], told["workflow"]) == ("workflow_update", made)
    finally:
        writer.close()
        await writer.wait_closed()


async def heard(reader: asyncio.StreamReader) -> dict[str, Any]:
    """Read one text of a server: final, not masked."""
    async with asyncio.timeout(PATIENCE_MS / 1_000):
        first, size = await reader.readexactly(2)
        assert first == 0x81
        if size == 126:
            size = int.from_bytes(await reader.readexactly(2))
        return json.loads(await reader.readexactly(size))  # type: ignore[no-any-return]  # what JSON holds


def said(message: dict[str, Any]) -> bytes:
    """Return one text of a client, masked with zeros."""
    text = json.dumps(message).encode()
    assert len(text) < 126
    return bytes((0x81, 0x80 | len(text), 0, 0, 0, 0)) + text


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


ARTICLE: Final = Path(__file__).with_name("workflow_live.html")
"""The page as the article prints it."""

CHANCE: Final = """
let calls = 0;
Math.random = () => calls++ % 2 ? (window.unlucky ? 0.05 : 0.5) : -0.49;
"""
"""Which stage takes 20 ms, and which fails, is chance in the article's page; not so in a test."""


async def test_the_articles_own_page_works_with_nothing_but_the_host_changed(
    browser: Browser, tmp_path: Path
) -> None:
    expect.set_options(timeout=PATIENCE_MS)
    text = [""]
    async with serving(text) as origin:
        (tmp_path / "stagelight.toml").write_text(f'allowed_origins = ["{origin}"]\n')
        collector = CollectorProcess(tmp_path)
        await collector.start()
        host = collector.url.removeprefix("http://")
        text[0] = re.sub(
            r"fetch\((['`])/", rf"fetch(\1http://{host}/", ARTICLE.read_text(encoding="utf-8")
        ).replace("${window.location.host}", host)
        page, watcher = await browser.new_page(), await browser.new_page()
        try:
            for each in (page, watcher):
                await each.add_init_script(CHANCE)
                await each.goto(origin)
                await expect(each.locator("#connectionStatus")).to_have_text("Connected")
            create, start = (
                page.get_by_text("Create Sample Workflow"),
                page.get_by_text("Start All Workflows"),
            )
            await create.click()
            await expect(watcher.locator(".workflow-status")).to_have_text(["PENDING"])
            await start.click()
            for each in (page, watcher):  # the second is only told
                await expect(each.locator(".workflow-status")).to_have_text(["COMPLETED"])
                await expect(each.locator(".stage.completed .stage-name")).to_have_text(STAGES)
            await page.evaluate("window.unlucky = true")
            await create.click()
            await expect(watcher.locator(".workflow-card")).to_have_count(2)
            await start.click()
            for each in (page, watcher):
                await expect(each.locator(".workflow-status.failed")).to_have_text(["FAILED"])
                await expect(each.locator(".stage.failed .stage-duration")).to_contain_text(
                    "Simulated failure"
                )
            await expect(watcher.locator(".error")).to_contain_text("error: Stage failed")
            await page.get_by_text("Clear All").click()
            await expect(page.locator(".workflow-card")).to_have_count(0)
        finally:
            await page.close()
            await watcher.close()
            await collector.kill()


async def test_a_client_of_the_websockets_library_is_a_client(collector: CollectorProcess) -> None:
    """The plain client that people have, with nothing set."""
    base = collector.url.replace("http://", "ws://")
    body = {"name": "etl", "stages": [{"name": "load"}]}
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{collector.url}/workflow/create", json=body) as response:
            made = await response.json()
        async with (
            connect(f"{base}/room/{made['id']}/websocket") as room,
            asyncio.timeout(PATIENCE_MS / 1_000),
        ):
            told = json.loads(await room.recv())
            assert (told["type"], told["workflowId"]) == ("connected", made["id"])
            await room.send('{"type": "ping"}')
            assert json.loads(await room.recv())["type"] == "pong"
            await room.send("{")
            assert json.loads(await room.recv()) == {"error": "Invalid message format"}
            stage = {"stageId": made["stages"][0]["id"], "updates": {"status": "running"}}
            async with session.put(f"{collector.url}/workflow/{made['id']}/stage", json=stage):
                told = json.loads(await room.recv())
            assert (told["type"], told["stage"]["status"]) == ("stage_update", "running")
            assert await collector.stop() == 0
            with pytest.raises(ConnectionClosed) as caught:
                await room.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == WSCloseCode.SERVICE_RESTART
