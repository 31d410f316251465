"""The official client of the public Workflows API, against a running collector: nothing but its base URL is changed."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import cloudflare
import pytest

from .conftest import ACCOUNT, Driver

if TYPE_CHECKING:
    from stagelight_collector.app import Collector


def of(step: Any) -> tuple[str, str]:
    """Return the type and the name of a step."""
    return step.type, step.name


async def test_workflows_are_listed_and_described(driver: Driver) -> None:
    listed = [found async for found in driver.workflows.list(account_id=ACCOUNT, per_page=3)]
    greet = await driver.workflows.get("Greet", account_id=ACCOUNT)

    assert [found.name for found in listed] == ["Approve", "Ask", "Doze", "Fail", "Greet", "Undo"]
    assert greet.class_name == "Greet"
    assert set(greet.instances) >= {"queued", "running", "complete", "waiting", "errored"}
    assert greet.schedules is not None
    assert greet.schedules[0].cron == "0 9 * * 1-5"
    assert datetime.fromisoformat(greet.schedules[0].next_instance) > datetime.now(UTC)


async def test_an_instance_runs_to_its_end_with_its_steps(driver: Driver) -> None:
    made = await driver.instances.create(
        "Greet", account_id=ACCOUNT, instance_id="ada", params=json.dumps({"name": "Ada"})
    )
    ended = await driver.until("Greet", "ada", "complete")

    assert (made.id, made.trigger_source) == ("ada", "api")
    assert ended.success is True
    assert ended.output == "Hello Ada"
    assert ended.params == {"name": "Ada"}
    assert ended.version_id == made.version_id
    assert [of(step) for step in ended.steps] == [("step", "read name-1"), ("step", "greet-1")]
    assert [step.output for step in ended.steps] == ["[REDACTED]", "Hello Ada"]  # type: ignore[union-attr]  # all are of the type step
    assert ended.start is not None
    assert ended.end is not None
    assert ended.queued <= ended.start <= ended.end


async def test_an_event_feeds_the_step_that_waits(driver: Driver) -> None:
    instance = await driver.create("Approve")
    waiting = await driver.until("Approve", instance, "waiting")
    sent = await driver.instances.events.create(
        "approved", account_id=ACCOUNT, workflow_name="Approve", instance_id=instance, body={"by": "Ada"}
    )
    ended = await driver.until("Approve", instance, "complete")
    wait: Any = ended.steps[1]
    whole = await driver.instances.step(
        instance, account_id=ACCOUNT, workflow_name="Approve", name="approval-1", type="waitForEvent"
    )

    assert waiting.step_count == 2
    assert sent.instance_id == instance
    assert ended.output == {"rows": 3, "by": "Ada"}  # type: ignore[comparison-overlap]  # more than the client's types say
    assert (wait.type, wait.finished, wait.event_type) == ("waitForEvent", True, "approved")
    assert (whole.status, whole.event_type) == ("complete", "approved")
    assert whole.output["payload"] == {"by": "Ada"}  # type: ignore[index]  # an object of JSON


async def test_the_status_is_changed(driver: Driver) -> None:
    instance = await driver.create("Doze")
    await driver.until("Doze", instance, "waiting")
    change = driver.instances.status.edit
    where: dict[str, Any] = {"account_id": ACCOUNT, "workflow_name": "Doze"}

    assert (await change(instance, status="pause", **where)).status == "paused"
    assert (await change(instance, status="resume", **where)).status in {"queued", "running", "waiting"}
    await driver.until("Doze", instance, "waiting")
    assert (await change(instance, status="terminate", **where)).status == "terminated"
    assert (await driver.get("Doze", instance)).steps[-1].type == "termination"
    await change(instance, status="restart", **where)
    await driver.until("Doze", instance, "waiting")


async def test_a_restart_from_a_step_reuses_what_was_before_it(driver: Driver) -> None:
    instance = await driver.create("Approve")
    events = driver.instances.events
    where: dict[str, Any] = {"account_id": ACCOUNT, "workflow_name": "Approve"}
    await events.create("approved", instance_id=instance, body={"by": "Ada"}, **where)
    first = await driver.until("Approve", instance, "complete")
    await driver.instances.status.edit(
        instance, status="restart", from_={"name": "approval", "type": "waitForEvent"}, **where
    )
    await events.create("approved", instance_id=instance, body={"by": "Bob"}, **where)
    again = await driver.until("Approve", instance, "complete")

    assert again.output == {"rows": 3, "by": "Bob"}  # type: ignore[comparison-overlap]  # more than the client's types say
    assert again.steps[0].start == first.steps[0].start  # type: ignore[union-attr]  # the step `fetch`, not done again


async def test_a_failure_is_told_with_its_attempt(driver: Driver) -> None:
    instance = await driver.create("Fail")
    failed = await driver.until("Fail", instance, "errored")
    step: Any = failed.steps[0]
    whole = await driver.instances.step(
        instance, account_id=ACCOUNT, workflow_name="Fail", name="charge-1", type="step", attempt=1
    )

    assert failed.success is False
    assert failed.error is not None
    assert "no card" in failed.error.message
    assert step.success is False
    assert [(one.success, one.error.message) for one in step.attempts] == [(False, "no card")]
    assert whole.status == "errored"
    assert whole.error is not None
    assert whole.error.message == "no card"


async def test_a_batch_creates_what_it_can_and_says_what_it_cannot(
    driver: Driver, collector: Collector
) -> None:
    await driver.create("Doze", instance_id="taken")
    made = [one async for one in driver.instances.bulk(
        "Doze", account_id=ACCOUNT, body=[{"instance_id": "a"}, {"instance_id": "b", "params": "1"}]
    )]  # fmt: skip
    url = f"{collector.url}/client/v4/accounts/x/workflows/Doze/instances/batch"
    bodies = [{"instance_id": "taken"}, {"instance_id": "c"}, {"instance_id": "c"}]
    async with aiohttp.ClientSession() as session, session.post(url, json=bodies) as response:
        answer = await response.json()

    assert [one.id for one in made] == ["a", "b"]
    assert [one["id"] for one in answer["result"]] == ["c"]
    assert [(fault["code"], fault["index"]) for fault in answer["errors"]] == [(10405, 0), (10415, 2)]


async def test_pages_have_every_instance_once_while_others_come(driver: Driver) -> None:
    names = [f"n{number}" for number in range(7)]
    for name in names:
        await driver.create("Doze", instance_id=name)
    seen: list[str] = []
    async for found in driver.instances.list("Doze", account_id=ACCOUNT, per_page=2):
        seen.append(found.id)
        assert len(seen) <= len(names)
        await driver.create("Doze")

    assert seen == names[::-1]


async def test_a_list_is_filtered_by_status_and_date(driver: Driver) -> None:
    await driver.create("Fail", instance_id="f")
    await driver.until("Fail", "f", "errored")
    ask = driver.instances.list
    errored = [one.id async for one in ask("Fail", account_id=ACCOUNT, status="errored")]
    running = [one.id async for one in ask("Fail", account_id=ACCOUNT, status="running")]
    later = datetime.now(UTC) + timedelta(days=1)
    past = [one.id async for one in ask("Fail", account_id=ACCOUNT, date_start=later)]

    assert (errored, running, past) == (["f"], [], [])


async def test_versions_and_the_diagram_of_one(driver: Driver) -> None:
    (version,) = [one async for one in driver.workflows.versions.list("Approve", account_id=ACCOUNT)]
    same = await driver.workflows.versions.get(version.id, account_id=ACCOUNT, workflow_name="Approve")
    graph = await driver.workflows.versions.graph(version.id, account_id=ACCOUNT, workflow_name="Approve")

    assert (same.id, same.language, same.has_dag) == (version.id, "python", True)
    assert graph.class_name == "Approve"
    assert [node.type for node in graph.graph.workflow.nodes] == ["step_do", "step_wait_for_event"]  # type: ignore[union-attr]  # there is one


@pytest.mark.parametrize(("workflow", "instance", "code"), [("Nope", "x", 10200), ("Greet", "nope", 10400)])
async def test_what_is_not_there_is_not_found(
    driver: Driver, workflow: str, instance: str, code: int
) -> None:
    with pytest.raises(cloudflare.NotFoundError) as error:
        await driver.get(workflow, instance)

    assert [one.code for one in error.value.errors] == [code]


async def test_an_id_is_used_once(driver: Driver) -> None:
    await driver.create("Doze", instance_id="one")
    with pytest.raises(cloudflare.BadRequestError) as error:
        await driver.create("Doze", instance_id="one")

    assert [one.code for one in error.value.errors] == [10405]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"params": "{nope"}, "params is text, but not JSON"),
        ({"instance_id": "-x"}, "instance id '-x' is not allowed"),
        ({"instance_retention": {"success_retention": "soon"}}, "'soon' is no duration"),
    ],
)
async def test_a_wrong_argument_is_named(driver: Driver, options: dict[str, Any], said: str) -> None:
    with pytest.raises(cloudflare.BadRequestError, match=said):
        await driver.create("Doze", **options)
    assert [one async for one in driver.instances.list("Doze", account_id=ACCOUNT)] == []


async def test_a_wrong_state_is_refused_with_a_remedy(driver: Driver) -> None:
    instance = await driver.create("Fail")
    await driver.until("Fail", instance, "errored")
    with pytest.raises(cloudflare.BadRequestError, match="while it is errored") as error:
        await driver.instances.status.edit(
            instance, account_id=ACCOUNT, workflow_name="Fail", status="terminate"
        )

    assert [one.code for one in error.value.errors] == [10406]


async def test_a_workflow_is_forgotten_but_not_made(driver: Driver) -> None:
    gone = await driver.workflows.delete("Doze", account_id=ACCOUNT)
    with pytest.raises(cloudflare.BadRequestError, match="stagelight up --workflows"):
        await driver.workflows.update("New", account_id=ACCOUNT, class_name="New", script_name="x")

    assert gone.status == "ok"
    with pytest.raises(cloudflare.NotFoundError):
        await driver.workflows.get("Doze", account_id=ACCOUNT)


async def test_a_run_of_the_engine_is_an_ordinary_run(driver: Driver, collector: Collector) -> None:
    instance = await driver.create("Approve")
    async with aiohttp.ClientSession(collector.url) as session:
        await answered(session, "GET", f"/api/v1/runs/{instance}")
        async with session.get(f"/api/v1/runs/{instance}/feed") as feed:
            await driver.instances.events.create(
                "approved",
                account_id=ACCOUNT,
                workflow_name="Approve",
                instance_id=instance,
                body={"by": "A"},
            )
            kinds = [line[7:].decode().strip() async for line in feed.content if line.startswith(b"event: ")]
        listed = await answered(session, "GET", "/api/v1/runs?workflow=Approve&status=completed", "runs")
        question = {
            "sql": "SELECT Workflow, Status FROM stagelight_runs WHERE RunId = {id:String} AND Status = 'completed'",
            "parameters": {"id": instance},
        }
        rows = await answered(session, "POST", "/api/v1/sql", "rows", json=question)

    assert kinds[0] == "snapshot"
    assert "wait_completed" in kinds
    assert "run_completed" in kinds
    assert instance in [run["id"] for run in listed]
    assert rows == [["Approve", "completed"]]


async def answered(
    session: aiohttp.ClientSession, method: str, path: str, key: str = "run", **body: Any
) -> Any:
    """Ask until there is something in the answer: what happened a moment ago is on its way."""
    async with asyncio.timeout(20):
        while True:
            async with session.request(method, path, **body) as response:
                found = (await response.json()).get(key)
            if found:
                return found
            await asyncio.sleep(0.02)


async def test_a_batch_may_be_a_count_or_instances_as_bindings_have_it(driver: Driver) -> None:
    path = "/accounts/any/workflows/Doze/instances/batch"
    counted: Any = await driver.client.post(path, body={"count": 3}, cast_to=object)
    named: Any = await driver.client.post(
        path, body={"instances": [{"instance_id": "a"}, {"instance_id": "b"}]}, cast_to=object
    )

    assert len({one["id"] for one in counted["result"]}) == 3
    assert [one["id"] for one in named["result"]] == ["a", "b"]
    bodies: list[dict[str, Any]] = [{"count": 0}, {"count": 101}, {"count": 10**9}, {"instances": []}]
    for body in bodies:
        with pytest.raises(cloudflare.APIStatusError, match="send 1 to 100 at once"):
            await driver.client.post(path, body=body, cast_to=object)
