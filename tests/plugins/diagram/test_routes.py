"""Diagrams over HTTP, on a running collector: pushed, or come by themselves with the telemetry."""

from __future__ import annotations

import asyncio
import io
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from click.testing import CliRunner
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from stagelight import conventions as c
from stagelight_collector.app import Collector
from stagelight_collector.config import Settings
from stagelight_plugins.diagram.limits import MOST_BODY
from stagelight_plugins.diagram.push import push

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

REVIEW = """
import { WorkflowEntrypoint } from "cloudflare:workers";
export class Review extends WorkflowEntrypoint {
  async run(event, step) {
    await step.do("load", async () => {});
    await step.sleep("rest", "1 minute");
  }
}
"""
ETL = "import stagelight\n@stagelight.workflow(name='etl')\ndef main():\n    with stagelight.step('load'): pass\n"


class Client:
    """Asks the API."""

    def __init__(self, collector: Collector, session: aiohttp.ClientSession) -> None:
        self.url = collector.url
        self._session = session

    async def get(self, path: str) -> tuple[int, Any]:
        async with self._session.get(f"{self.url}{path}") as response:
            return response.status, await response.json(content_type=None)

    async def push(self, body: Any) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self._session.post(f"{self.url}/api/v1/diagrams", data=io.BytesIO(data)) as response:
            return response.status, await response.json(content_type=None)

    async def tell(self, *records: tuple[str, str, dict[str, Any]]) -> None:
        """Send log records: event name, body, attributes."""
        request = ExportLogsServiceRequest()
        scope = request.resource_logs.add().scope_logs.add()
        for name, body, attributes in records:
            record = scope.log_records.add()
            record.event_name, record.body.string_value = name, body
            for key, value in attributes.items():
                record.attributes.add(key=key).value.string_value = str(value)
        headers = {"Content-Type": "application/x-protobuf"}
        async with self._session.post(
            f"{self.url}/v1/logs", data=request.SerializeToString(), headers=headers
        ) as response:
            assert response.status == 200

    async def until_drawn(self, path: str) -> dict[str, Any]:
        async with asyncio.timeout(60):
            while True:
                _, answer = await self.get(path)
                if answer["state"] in {"drawn", "failed"}:
                    return dict(answer)
                await asyncio.sleep(0.01)


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    settings = Settings.model_validate({"data_dir": tmp_path / "data", "port": 0})
    async with Collector(settings) as collector, aiohttp.ClientSession() as session:
        yield Client(collector, session)


def source(version: str, text: str, path: str = "app.py", count: int = 1) -> tuple[str, str, dict[str, Any]]:
    attributes = {c.WORKFLOW_NAME: "etl", c.WORKFLOW_VERSION: version, c.SOURCE_MAIN: "app.py"}
    return c.SOURCE_EVENT, text, {**attributes, c.SOURCE_PATH: path, c.SOURCE_COUNT: count}


def start(run_id: str, version: str) -> tuple[str, str, dict[str, Any]]:
    return "workflow.run_started", "", {c.WORKFLOW_NAME: "etl", c.RUN_ID: run_id, c.WORKFLOW_VERSION: version}


async def test_what_is_pushed_is_drawn_and_answered_in_both_shapes(client: Client) -> None:
    status, pushed = await client.push({"main": "w.ts", "files": {"w.ts": REVIEW}})
    assert (status, pushed["workflows"], pushed["error"]) == (201, ["Review"], None)
    version = pushed["version"]
    status, shown = await client.get("/api/v1/workflows/Review/diagram")
    assert (status, shown["version"], shown["state"], shown["exact"]) == (200, version, "drawn", True)
    assert [node["type"] for node in shown["graph"]["nodes"]] == ["step_do", "step_sleep"]
    assert (await client.get("/api/v1/workflows/Review/source"))[1]["files"] == {"w.ts": REVIEW}
    status, public = await client.get(f"/api/v1/workflows/Review/versions/{version}/graph")
    assert (status, public["success"], public["errors"]) == (200, True, [])
    result = public["result"]
    assert sorted(result) == ["class_name", "created_on", "graph", "id", "modified_on", "workflow_id"]
    assert result["graph"] == {"version": 1, "workflow": shown["graph"]}
    assert (await client.get("/api/v1/workflows/Review/versions/x/graph"))[0] == 404


async def test_code_comes_by_itself_and_a_run_is_shown_its_own_version(client: Client) -> None:
    newer = ETL.replace("'load'", "'load faster'")
    await client.tell(source("v1", ETL), start("old", "v1"))
    await client.tell(source("v2", newer), start("new", "v2"), start("lost", "v3"))
    old = await client.until_drawn("/api/v1/workflows/etl/diagram?run=old")
    new = await client.until_drawn("/api/v1/workflows/etl/diagram?run=new")
    assert (old["graph"]["nodes"][0]["name"], old["version"], old["exact"]) == ("load", "v1", True)
    assert (new["graph"]["nodes"][0]["name"], new["version"], new["exact"]) == ("load faster", "v2", True)
    _, lost = await client.get("/api/v1/workflows/etl/diagram?run=lost")
    assert (lost["version"], lost["exact"], lost["run_version"]) == ("v2", False, "v3")
    _, asked = await client.get("/api/v1/workflows/etl/diagram?version=v1")
    assert asked["graph"] == old["graph"]
    status, run = await client.get("/api/v1/runs/old")
    assert (status, run["run"]["workflow"], run["logs"]) == (200, "etl", [])


async def test_a_file_that_would_leave_the_directory_is_not_taken(client: Client, tmp_path: Path) -> None:
    await client.tell(source("v1", ETL, f"../../../../../..{tmp_path}/escaped.py"), start("r", "v1"))
    await client.tell(source("v2", ETL), start("s", "v2"))
    await client.until_drawn("/api/v1/workflows/etl/diagram?run=s")
    assert (await client.get("/api/v1/workflows/etl/diagram?version=v1"))[1]["state"] == "none"
    assert not (tmp_path / "escaped.py").exists()


async def test_nothing_known_is_no_error_and_says_what_to_do(client: Client) -> None:
    status, answer = await client.get("/api/v1/workflows/a%2Fb%3Cscript%3E/diagram?run=x")
    assert (status, answer["workflow"], answer["graph"]) == (200, "a/b<script>", None)
    assert "stagelight diagram push" in answer["error"]
    assert (await client.get("/api/v1/workflows/etl/source"))[0] == 404


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        (b"{", 400, "Invalid body"),
        ({"main": "a.py"}, 400, "files: Field required"),
        ({"main": "b.py", "files": {"a.py": ""}}, 400, "'b.py' is not among the files"),
        ({"main": "../a.py", "files": {"../a.py": ""}}, 400, "is no path below the project's directory"),
        (b"x" * (MOST_BODY + 1), 413, "larger than 8 MiB"),
    ],
)
async def test_a_push_that_cannot_be_taken_says_why(
    client: Client, body: Any, status: int, detail: str
) -> None:
    got, problem = await client.push(body)
    assert (got, problem["status"]) == (status, status)
    assert detail in problem["detail"]


async def test_code_that_cannot_be_read_is_an_answer(client: Client) -> None:
    status, answer = await client.push({"main": "a.py", "files": {"a.py": "def ("}, "version": "v"})
    assert (status, answer["state"]) == (422, "failed")
    assert "a.py" in answer["error"]


async def test_push_on_a_terminal(client: Client, tmp_path: Path) -> None:
    (tmp_path / "steps.py").write_text(
        "import stagelight\n@stagelight.step\ndef load(): ...\nTOKEN = 'hunter2-hunter2'\n"
    )
    (tmp_path / "etl.py").write_text(
        "import stagelight\nfrom steps import load\n@stagelight.workflow(name='etl')\ndef main(): load()\n"
    )
    (tmp_path / "empty.py").write_text("x = 1\n")

    async def run(*arguments: str) -> tuple[int, str]:
        done = await asyncio.to_thread(CliRunner().invoke, push, [*arguments, "--url", client.url])
        return done.exit_code, done.output

    code, said = await run(str(tmp_path / "etl.py"), "--with", str(tmp_path), "--version", "1.2")
    assert (code, said) == (0, "etl  1.2\n")
    _, kept = await client.get("/api/v1/workflows/etl/source")
    assert "steps.py" in kept["files"]
    assert "hunter2" not in json.dumps(kept)
    _, shown = await client.get("/api/v1/workflows/etl/diagram")
    assert shown["graph"]["nodes"][0]["name"] == "load"
    code, said = await run(str(tmp_path / "empty.py"))
    assert code == 1
    assert "there is no workflow in" in said
    done = await asyncio.to_thread(
        CliRunner().invoke, push, [str(tmp_path / "etl.py"), "--url", "http://127.0.0.1:9"]
    )
    assert "start one with `stagelight up`" in done.output
