"""Workflow Live's routes and rooms, on a running collector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from stagelight_collector.app import Collector
from stagelight_plugins.errors import BrokenPlugin

from .conftest import Client, settings

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_workflow_is_driven_from_creation_to_its_end(client: Client) -> None:
    workflow = await client.create("load", "save")
    base = f"/workflow/{workflow['id']}"
    first = workflow["stages"][0]["id"]
    _, started = await client.ask("POST", f"{base}/start")
    _, running = await client.ask(
        "PUT", f"{base}/stage", {"stageId": first, "updates": {"status": "running"}}
    )
    _, failed = await client.ask(
        "PUT", f"{base}/stage", {"stageId": first, "updates": {"status": "failed", "error": "no disk"}}
    )
    _, ended = await client.ask("PUT", f"{base}/complete", {"error": "Stage failed"})

    assert [step["status"] for step in (workflow, started, running, failed, ended)] == [
        "pending", "running", "running", "failed", "failed",
    ]  # fmt: skip
    assert failed["stages"][0]["error"] == "no disk"
    assert ended["error"] == "Stage failed"
    assert ended["duration"] == ended["endTime"] - ended["startTime"]
    assert await client.ask("GET", f"{base}/status") == (200, ended)
    assert await client.ask("GET", "/workflow/") == (200, [ended])


async def test_its_workflows_are_ordinary_runs(client: Client) -> None:
    workflow = await client.create("load")
    await client.ask("POST", f"/workflow/{workflow['id']}/start")
    await client.collector.settle()

    (run,) = client.collector.runs()
    assert (run["id"], run["workflow"], run["status"]) == (workflow["id"], "etl", "running")
    assert run["steps"]["pending"] == 1


async def test_its_stages_stand_in_their_order_before_they_start(client: Client) -> None:
    names = [f"stage {number}" for number in range(12)]
    workflow = await client.create(*names)
    await client.collector.settle()

    async with aiohttp.request("GET", f"{client.collector.url}/api/v1/runs/{workflow['id']}") as response:
        assert [step["name"] for step in (await response.json())["steps"]] == names


async def test_a_damaged_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    file = tmp_path / "plugins" / "workflow_live" / "workflows.sqlite"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"this is no database" * 100)
    with pytest.raises(BrokenPlugin) as raised:
        await Collector(settings(tmp_path)).start()

    assert f"the file {file} cannot be used (file is not a database); move it away" in str(raised.value)


async def test_workflows_are_still_known_after_a_restart(tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as session:
        async with Collector(settings(tmp_path)) as collector:
            workflow = await Client(collector, session).create("load")
        async with Collector(settings(tmp_path)) as collector:
            client = Client(collector, session)
            assert await client.ask("GET", f"/workflow/{workflow['id']}/status") == (200, workflow)
            assert [run["id"] for run in collector.runs()] == [workflow["id"]]


ANSWERS: tuple[tuple[str, str, Any, tuple[int, Any]], ...] = (
    ("GET", "/workflow/nobody/status", None, (404, "Workflow not found")),
    ("POST", "/workflow/nobody/start", None, (404, "Workflow nobody not found")),
    ("PUT", "/workflow/nobody/complete", {}, (404, "Workflow nobody not found")),
    ("DELETE", "/workflow/nobody", None, (405, "Method not allowed")),
    ("PUT", "/workflow/create", {}, (405, "Method not allowed")),
    ("POST", "/workflow/x/dance", None, (405, "Method not allowed")),
    ("POST", "/room/", None, (400, "Missing workflow ID")),
    ("POST", "/room/x/join", {}, (400, "Missing workflowId")),
    ("PATCH", "/workflow/x/stage", {}, (405, "Method not allowed")),
    ("GET", "/workflow//status", None, (404, "Workflow not found")),
    ("GET", "/workflow/nobody/", None, (404, "Workflow not found")),
    ("GET", "/workflow/nobody/status/of/all", None, (404, "Workflow not found")),
    ("POST", "/workflow/nobody/start/", None, (404, "Workflow nobody not found")),
    ("PATCH", "/room/x/dance", None, (404, "Not found")),
    ("GET", "/room//join", None, (400, "Missing workflow ID")),
    ("POST", "/room/x/join/me", {"workflowId": "x"}, (200, {"success": True})),
    ("GET", "/room/x/websocket", None, (426, "Upgrade required")),
    ("POST", "/room/x/dance", None, (404, "Not found")),
    ("GET", "/room/x", None, (404, "Not found")),
    ("OPTIONS", "/workflow/create", None, (200, "")),
    ("OPTIONS", "/room/x/join", None, (200, "")),
    ("POST", "/room/x/join", {"workflowId": "x"}, (200, {"success": True})),
    ("POST", "/room/x/broadcast", {"any": "thing"}, (200, {"success": True})),
)
"""Method, path, body; status and answer."""


async def test_answers_are_the_articles(client: Client) -> None:
    for method, path, body, answer in ANSWERS:
        assert (method, path, await client.ask(method, path, body)) == (method, path, answer)


BAD: tuple[tuple[str, Any, str], ...] = (
    ("/workflow/create", None, "Invalid JSON"),
    ("/workflow/any/create", None, "Invalid JSON"),
    ("/room/x/broadcast", {"rows": float("nan")}, "a number is NaN or infinite"),
    (
        "/workflow/create",
        {"name": "x", "stages": [{"name": "y", "data": [float("inf")]}]},
        "a number is NaN or infinite",
    ),
    ("/workflow/create", {"name": "x"}, "stages: Field required"),
    ("/workflow/create", {"name": 3, "stages": []}, "name: Input should be a valid string"),
    ("/workflow/create", {"name": "x" * 1_025, "stages": []}, "at most 1024 characters"),
    ("/workflow/create", {"name": "x", "stages": [{"name": "y"}] * 1_001}, "at most 1000 items"),
)
"""Path, body, and what is said of it."""


async def test_a_bad_body_is_told_where_it_is_bad(client: Client) -> None:
    for path, body, place in BAD:
        status, text = await client.ask("POST", path, body)
        assert (status, text.startswith("Invalid body: "), place in text) == (400, True, True), text


async def test_a_stage_that_is_a_message_is_refused_and_changes_nothing(client: Client) -> None:
    workflow = await client.create("load")
    path = f"/workflow/{workflow['id']}/stage"
    status, text = await client.ask("PUT", path, {"stageId": {"id": "x"}})
    assert (status, text) == (400, "Invalid body: stageId: Input should be a valid string")
    status, text = await client.ask("PUT", path, {"stageId": "none", "updates": {}})
    assert (status, text) == (404, f"Stage none not found in workflow {workflow['id']}")

    assert await client.ask("GET", f"/workflow/{workflow['id']}/status") == (200, workflow)


async def test_a_whole_stage_may_be_sent_back_but_not_as_another(client: Client) -> None:
    workflow = await client.create("load", "save")
    path, (first, second) = f"/workflow/{workflow['id']}/stage", workflow["stages"]
    updates = {**first, "status": "running"}
    status, found = await client.ask("PUT", path, {"stageId": first["id"], "updates": updates})
    assert (status, found["stages"][0]["status"]) == (200, "running")

    status, text = await client.ask("PUT", path, {"stageId": second["id"], "updates": updates})
    assert (status, text) == (400, "Invalid body: updates.id: a stage keeps its id")
    assert await client.ask("GET", f"/workflow/{workflow['id']}/") == (200, found)


async def test_what_goes_wrong_here_is_told_in_the_articles_words_and_logged(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def no_disk(*_: object) -> None:
        raise OSError("the disk is gone")

    workflow = await client.create("load")
    with monkeypatch.context() as broken:
        broken.setattr("stagelight_plugins.workflow_live.store.Store.save", no_disk)
        for method, path in (
            ("POST", f"/workflow/{workflow['id']}/start"),
            ("PUT", f"/workflow/{workflow['id']}/complete"),
        ):
            assert await client.ask(method, path, {}) == (500, "Internal server error")
            assert f"{method} {path} failed" in caplog.text
    assert "the disk is gone" in caplog.text

    status, _ = await client.ask("POST", f"/workflow/{workflow['id']}/start")
    assert status == 200, "the next request is answered"


USES = {
    "AI agent": ("plan", "call tools", "answer"),
    "ETL": ("extract", "transform", "load"),
    "onboarding": ("create account", "send mail", "first login"),
    "background job": ("pick up", "work", "clean up"),
    "integration": ("fetch", "map", "push"),
    "deployment": ("build", "test", "roll out"),
    "approval": ("ask", "wait for the manager", "carry out"),
}
"""What the article names workflows for."""


async def test_every_use_that_the_article_names_runs_as_an_ordinary_run(client: Client) -> None:
    for use, stages in USES.items():
        _, workflow = await client.ask(
            "POST", "/workflow/create", {"name": use, "stages": [{"name": stage} for stage in stages]}
        )
        base = f"/workflow/{workflow['id']}"
        await client.ask("POST", f"{base}/start")
        for stage in workflow["stages"]:
            for status in ("running", "completed"):
                await client.ask(
                    "PUT", f"{base}/stage", {"stageId": stage["id"], "updates": {"status": status}}
                )
        await client.ask("PUT", f"{base}/complete", {"error": None})
    await client.collector.settle()

    found = {run["workflow"]: (run["status"], run["steps"]["completed"]) for run in client.collector.runs()}
    assert found == dict.fromkeys(USES, ("completed", 3))


async def test_a_room_hears_of_its_workflow_and_of_no_other(client: Client) -> None:
    mine, other = await client.create("load"), await client.create("load")
    async with client.listen(mine["id"]) as room:
        connected = await room.receive_json()
        await client.ask("POST", f"/workflow/{other['id']}/start")
        await client.ask("POST", f"/room/{mine['id']}/join", {"workflowId": mine["id"]})
        joined = await room.receive_json()
        stage = mine["stages"][0]["id"]
        await client.ask(
            "PUT", f"/workflow/{mine['id']}/stage", {"stageId": stage, "updates": {"status": "running"}}
        )
        updated = await room.receive_json()
        _, ended = await client.ask("PUT", f"/workflow/{mine['id']}/complete", {"error": None})
        last = await room.receive_json()

    assert (connected["type"], connected["workflowId"]) == ("connected", mine["id"])
    assert (joined["type"], joined["workflowId"]) == ("workflow_joined", mine["id"])
    assert (updated["type"], updated["workflowId"]) == ("stage_update", mine["id"])
    assert (updated["stage"]["id"], updated["stage"]["status"]) == (stage, "running")
    assert (last["type"], last["workflow"]) == ("workflow_update", ended)
    assert all(isinstance(told["timestamp"], int) for told in (connected, joined, updated, last))


async def test_a_room_hears_what_went_wrong(client: Client) -> None:
    mine = await client.create("load")
    async with client.listen(mine["id"]) as room, client.listen("made-up-by-the-page") as page:
        for socket in (room, page):
            assert (await socket.receive_json())["type"] == "connected"
        await client.ask("PUT", f"/workflow/{mine['id']}/complete", {"error": "Stage failed"})
        for socket in (room, page):
            assert (await socket.receive_json())["workflow"]["status"] == "failed"
            told = await socket.receive_json()
            assert isinstance(told.pop("timestamp"), int)
            assert told == {
                "type": "workflow_error",
                "workflowId": mine["id"],
                "error": {"message": "Stage failed"},
            }


async def test_a_room_of_no_workflow_hears_of_all(client: Client) -> None:
    async with client.listen("made-up-by-the-page") as room:
        await room.receive_json()
        workflow = await client.create("load")
        told = await room.receive_json()

    assert (told["type"], told["workflow"]) == ("workflow_update", workflow)


async def test_what_a_client_says_is_answered(client: Client) -> None:
    async with client.listen("x") as room:
        await room.receive_json()
        answers: list[Any] = []
        for text in ('{"type":"ping"}', '{"type":"dance"}', "[]", "{", "[" * 9_999):
            await room.send_str(text)
            answers.append(await room.receive_json())
        await room.send_bytes(b"\x00")
        answers.append(await room.receive_json())

    assert answers[0]["type"] == "pong"
    assert [answer.get("error") for answer in answers[1:]] == [
        "Unknown message type",
        "Unknown message type",
        "Invalid message format",
        "Invalid message format",
        "Invalid message format",
    ]


async def test_a_subscription_chooses_types(client: Client) -> None:
    async with client.listen("x") as room:
        await room.receive_json()
        await room.send_json({"type": "subscribe", "events": ["workflow_joined"]})
        await room.send_json({"type": "ping"})
        await room.receive_json()
        await client.ask("POST", "/room/x/broadcast", {})
        await client.ask("POST", "/room/x/join", {"workflowId": "x"})
        told = await room.receive_json()

    assert told["type"] == "workflow_joined"
