"""Action links: signed, expiring, used once, and never by whoever only looks."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from stagelight_collector.app import Collector
from stagelight_plugins import hookimpl
from stagelight_plugins.alerting.actions import link_key
from stagelight_plugins.alerting.state.store import LONGEST_LINK, Store
from stagelight_plugins.engine import NonRetryableError, WorkflowEntrypoint
from stagelight_plugins.engine.plugin import plugin as engine_plugin
from stagelight_plugins.manager import Plugins

from .test_alerting import failing, settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from .conftest import Receiver


class Engine:
    """A plugin in the engine's place."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str, str]] = []
        self.can = ["approve", "reject"]

    @hookimpl
    def register_actions(self, collector: Any) -> Sequence[Any]:
        del collector
        return [self]

    async def offered(self, workflow: str, run_id: str) -> Sequence[str]:
        return self.can if (workflow, run_id) == ("etl", "one") else []

    async def act(self, action: str, workflow: str, run_id: str, *, step: str = "", reason: str = "") -> str:
        if not self.can:
            raise ValueError("the run has ended")
        self.done.append((action, run_id, step))
        del workflow, reason
        return f"Run {run_id} goes on."


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Have every collector load it."""
    engine, original = Engine(), Plugins.__init__

    def load(self: Plugins, core: Any = (), **options: Any) -> None:
        original(self, [*core, ("actor", engine)], **options)

    monkeypatch.setattr(Plugins, "__init__", load)
    return engine


@asynccontextmanager
async def links(
    folder: Path, receiver: Receiver, **actions: Any
) -> AsyncGenerator[tuple[dict[str, str], Collector, aiohttp.ClientSession]]:
    """Yield the links of a message about a failed run, by their words."""
    table = {"slack": receiver.url, "actions": {"enabled": True, **actions}}
    async with Collector(settings(folder, table)) as collector, aiohttp.ClientSession() as session:
        await collector.accept(failing("one"))
        (heard,) = await receiver.until(1)
        buttons = [block["elements"] for block in heard.json["blocks"] if block["type"] == "actions"]
        yield {button["text"]["text"]: button["url"] for button in buttons[0]}, collector, session


async def test_a_link_asks_first_and_acts_once(tmp_path: Path, receiver: Receiver, engine: Engine) -> None:
    async with links(tmp_path, receiver) as (found, collector, session):
        assert set(found) == {"Approve", "Reject"}
        for _ in range(3):  # a preview, a scanner, a person
            async with session.get(found["Approve"]) as page:
                assert page.status == 200
                assert '<form method="post">' in await page.text()
        assert engine.done == []
        async with session.post(found["Approve"]) as answer:
            assert (answer.status, "Run one goes on." in await answer.text()) == (200, True)
        for again in found.values():
            async with session.post(again) as answer:
                assert answer.status == 409
                assert "answered already" in await answer.text()
        assert engine.done == [("approve", "one", "")]
        await collector.settle()
        async with session.get(f"{collector.url}/api/v1/runs/one") as run:
            logs = [line["message"] for line in (await run.json())["logs"]]
    assert logs == ["Approve: done by a link in an alert"]


async def test_a_link_that_was_changed_or_is_old_does_nothing(
    tmp_path: Path, receiver: Receiver, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with links(tmp_path, receiver) as (found, collector, session):
        url = found["Approve"]
        payload = url.rpartition("/")[2].partition(".")[0]
        for at in range(0, len(payload), 7):
            changed = url.replace(
                payload, f"{payload[:at]}{'A' if payload[at] != 'A' else 'B'}{payload[at + 1 :]}"
            )
            async with session.post(changed) as answer:
                assert answer.status == 403
        (service,) = [runner.sink for runner in collector.pipeline.sinks if runner.sink.name == "alerting"]
        monkeypatch.setattr(service.links, "now", lambda: time.time() + 90_000)  # type: ignore[attr-defined]
        async with session.post(url) as answer:
            assert answer.status == 403
            assert "This link has expired." in await answer.text()
    assert engine.done == []


async def test_another_site_cannot_press_the_button(
    tmp_path: Path, receiver: Receiver, engine: Engine
) -> None:
    async with links(tmp_path, receiver) as (found, _, session):
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            async with session.post(found["Approve"], headers=headers) as answer:
                assert answer.status == 403
    assert engine.done == []


async def test_a_link_says_so_when_it_comes_too_late(
    tmp_path: Path, receiver: Receiver, engine: Engine
) -> None:
    async with links(tmp_path, receiver) as (found, _, session):
        engine.can = []
        async with session.post(found["Reject"]) as answer:
            assert (answer.status, engine.done) == (409, [])


async def test_links_are_off_unless_switched_on(tmp_path: Path, receiver: Receiver, engine: Engine) -> None:
    del engine
    table = {"slack": receiver.url}
    async with Collector(settings(tmp_path, table)) as collector, aiohttp.ClientSession() as session:
        await collector.accept(failing("one"))
        (heard,) = await receiver.until(1)
        assert "actions" not in {block["type"] for block in heard.json["blocks"]}
        async with session.post(f"{collector.url}/-/alerting/actions/x.y") as answer:
            assert answer.status == 404


class Greeting(WorkflowEntrypoint):
    """Waits for somebody's word, then fails where it is told to."""

    async def run(self, event: Any, step: Any) -> str:
        await step.wait_for_approval("let in", timeout="1 day")
        return str(await step.do("welcome", lambda: event.payload["name"]))


async def buttons(receiver: Receiver) -> dict[str, str]:
    """Return the links of the first message, by their words."""
    (heard, *_) = await receiver.until(1)
    (found,) = [block["elements"] for block in heard.json["blocks"] if block["type"] == "actions"]
    return {button["text"]["text"]: button["url"] for button in found}


@pytest.mark.parametrize(
    ("action", "end"), [("Approve", "workflow_completed"), ("Reject", "workflow_errored")]
)
async def test_an_instance_that_asks_is_answered_by_a_link(
    tmp_path: Path, receiver: Receiver, action: str, end: str
) -> None:
    rules = {"asks": {"when": "waiting", "for": "0s"}}
    table = {"slack": receiver.url, "actions": {"enabled": True}, "rules": rules}
    async with Collector(settings(tmp_path, table)) as collector, aiohttp.ClientSession() as session:
        plane = engine_plugin.control_plane(collector)
        assert plane is not None
        (sink,) = [runner.sink for runner in collector.pipeline.sinks if runner.sink.name == "alerting"]
        desk: Any = sink
        desk.desk._settle = 0  # noqa: SLF001 - half a minute is long
        (workflow,) = await plane.register(Greeting)
        made = await plane.create(workflow.name, {"name": "Ann"})
        found = await buttons(receiver)
        assert "has been waiting for an answer" in receiver.heard[0].json["text"]
        assert set(found) == {"Approve", "Reject"}
        async with session.post(found[action]) as answer:
            assert answer.status == 200, await answer.text()
        told = [event.type async for event in plane.subscribe(workflow.name, made.id)]
        assert told[-1] == end


@pytest.mark.parametrize("action", ["Retry", "Skip the step"])
async def test_an_instance_that_failed_can_be_tried_again_or_go_on_without_the_step(
    tmp_path: Path, receiver: Receiver, action: str
) -> None:
    table = {"slack": receiver.url, "actions": {"enabled": True}}
    async with Collector(settings(tmp_path, table)) as collector, aiohttp.ClientSession() as session:
        plane = engine_plugin.control_plane(collector)
        assert plane is not None
        (workflow,) = await plane.register(Broken)
        made = await plane.create(workflow.name, {"key": str(tmp_path / "key")})
        found = await buttons(receiver)
        assert set(found) == {"Retry", "Skip the step"}
        if action == "Retry":
            (tmp_path / "key").touch()
        async with session.post(found[action]) as answer:
            assert answer.status == 200, await answer.text()
        told = [event.type async for event in plane.subscribe(workflow.name, made.id)]
        assert told[-1] == "workflow_completed"


class Broken(WorkflowEntrypoint):
    """Has a step that fails until there is a key."""

    async def run(self, event: Any, step: Any) -> str:
        def open_door() -> None:
            if not Path(event.payload["key"]).exists():
                raise NonRetryableError("no such door")

        await step.do("open door", open_door)
        return "in"


def test_a_key_that_a_crash_left_empty_is_made_anew(tmp_path: Path) -> None:
    first = link_key(tmp_path / "links.key")
    assert link_key(tmp_path / "links.key") == first
    (tmp_path / "links.key").write_bytes(b"")
    (tmp_path / "links.new").write_bytes(b"half")
    again = link_key(tmp_path / "links.key")
    assert (len(again), again != first) == (32, True)
    assert (tmp_path / "links.key").stat().st_mode & 0o777 == 0o600


async def test_used_links_are_forgotten_when_none_of_them_could_live_any_more(tmp_path: Path) -> None:
    store = Store(tmp_path / "alerts.sqlite")
    assert await store.use_link("one", 0.0)
    assert not await store.use_link("one", LONGEST_LINK)
    assert await store.use_link("two", LONGEST_LINK + 1)
    assert await store.use_link("one", LONGEST_LINK + 1)
    store.close()
