"""The commands, against a running collector."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from stagelight_collector.cli import main

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .conftest import Driver

    Ask = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def ask(driver: Driver, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Run a command beside the collector; return its exit code, standard output and standard error."""

    async def run(*arguments: str) -> tuple[int, str, str]:
        code = await asyncio.to_thread(main, [*arguments, "--url", driver.url])
        found = capsys.readouterr()
        return code, found.out, found.err

    return run


async def test_an_instance_is_started_steered_and_deleted(ask: Ask, driver: Driver) -> None:
    started = await ask("workflows", "trigger", "Approve", '{"a": 1}', "--id", "one")
    await driver.until("Approve", "one", "waiting")
    paused = await ask("instances", "pause", "Approve", "latest")
    resumed = await ask("instances", "resume", "Approve", "one")
    sent = await ask("instances", "send-event", "Approve", "one", "approved", '{"by": "Ada"}')
    ended = await driver.until("Approve", "one", "complete")
    described = await ask("instances", "describe", "Approve", "one")
    listed = await ask("instances", "list", "Approve")
    deleted = await ask("instances", "delete", "Approve", "one")
    gone = await ask("instances", "describe", "Approve", "one")

    assert started[0] == 0
    assert started[1].startswith("Started one; it is ")
    assert paused[1] == "one is paused.\n"
    assert resumed[0] == 0
    assert sent[1] == "Sent approved to one.\n"
    assert ended.output == {"rows": 3, "by": "Ada"}  # type: ignore[comparison-overlap]  # more than the client's types say
    assert 'Output     {"rows":3,"by":"Ada"}' in described[1]
    assert "fetch-1" in described[1]
    assert listed[1].splitlines()[1].split()[:2] == ["complete", "one"]
    assert deleted[1] == "Deleted one.\n"
    assert gone[0] == 2
    assert gone[2].startswith("stagelight: workflow 'Approve' has no instance 'one'")


async def test_listings_are_json_for_programs(ask: Ask, driver: Driver) -> None:
    for number in range(3):
        await driver.create("Doze", instance_id=f"d{number}")
    workflows: Any = json.loads((await ask("workflows", "list", "--json"))[1])
    instances: Any = json.loads(
        (await ask("instances", "list", "Doze", "-n", "2", "--oldest-first", "--json"))[1]
    )

    assert [one["name"] for one in workflows] == ["Approve", "Ask", "Doze", "Fail", "Greet", "Undo"]
    assert [one["id"] for one in instances] == ["d0", "d1"]
    described = await ask("workflows", "describe", "Greet")
    assert "0 9 * * 1-5 (next " in described[1]


async def test_a_restart_from_a_step_a_skip_and_a_termination(ask: Ask, driver: Driver) -> None:
    await driver.create("Fail", instance_id="f")
    await driver.until("Fail", "f", "errored")
    described = await ask("instances", "describe", "Fail", "latest")
    restarted = await ask("instances", "restart", "Fail", "f", "--from", "charge")
    await driver.until("Fail", "f", "errored")
    skipped = await ask("instances", "skip", "Fail", "f", "charge", '{"paid": 0}')
    ended = await driver.until("Fail", "f", "complete")
    await driver.create("Doze", instance_id="d")
    terminated = await ask("instances", "terminate", "Doze", "d")

    assert "no card" in described[1]
    assert restarted[0] == 0
    assert skipped[1].startswith("Skipped charge of f; ")
    assert ended.output == {"paid": 0}  # type: ignore[comparison-overlap]  # more than the client's types say
    assert terminated[1] == "d is terminated.\n"


async def test_what_is_wrong_is_told_in_one_line(ask: Ask) -> None:
    code, _, wrong = await ask("workflows", "trigger", "Greet", "{nope")
    unknown = await ask("workflows", "describe", "Nope")

    assert code == 2
    assert wrong.startswith("stagelight: PARAMS is not JSON")
    assert len(wrong.splitlines()) == 1
    assert unknown[2].startswith("stagelight: no workflow is named 'Nope' (there are: Approve, Ask, Doze")


async def test_an_instance_is_approved_and_rejected_with_a_reason(ask: Ask, driver: Driver) -> None:
    for name in ("yes", "no"):
        await driver.create("Ask", instance_id=name)
        await driver.until("Ask", name, "waiting")
    metadata = '{"by": "Ada"}'
    approved = await ask("instances", "approve", "Ask", "yes", "--reason", "fine", "--metadata", metadata)
    rejected = await ask("instances", "reject", "Ask", "no", "--reason", "too late")
    ended = await driver.until("Ask", "yes", "complete")
    failed = await driver.until("Ask", "no", "errored")
    again = await ask("instances", "approve", "Ask", "yes")
    bad = await ask("instances", "approve", "Ask", "yes", "--metadata", "{")

    assert approved == (0, "Approved yes.\n", "")
    assert rejected == (0, "Rejected no.\n", "")
    assert ended.output == {"by": "Ada"}  # type: ignore[comparison-overlap]  # more than the client's types say
    assert failed.error is not None
    assert "too late" in failed.error.message
    assert again[0] == 2
    assert "cannot send an event to instance 'yes' while it is complete" in again[2]
    assert "--metadata is not JSON" in bad[2]


async def test_all_instances_of_a_workflow_are_ended_and_the_workflow_is_forgotten(
    ask: Ask, driver: Driver
) -> None:
    for name in ("one", "two"):
        await driver.create("Doze", instance_id=name)
        await driver.until("Doze", name, "waiting")
    ended = await ask("instances", "terminate-all", "Doze", "--yes")
    again = await ask("instances", "terminate-all", "Doze", "--yes", "--json")
    status = (await driver.get("Doze", "one")).status
    deleted = await ask("workflows", "delete", "Doze", "--yes")
    gone = await ask("workflows", "describe", "Doze")

    assert ended == (0, "Terminated 2 instances of Doze.\n", "")
    assert json.loads(again[1]) == {"terminated": 0}
    assert status == "terminated"
    assert deleted == (0, "Deleted Doze.\n", "")
    assert "no workflow is named 'Doze'" in gone[2]


async def test_what_is_said_of_a_change_that_takes_a_while_and_of_what_was_undone(
    ask: Ask, driver: Driver
) -> None:
    await driver.create("Undo", instance_id="u")
    await driver.until("Undo", "u", "waiting")
    ending = await ask("instances", "terminate", "Undo", "u", "--rollback")
    ended = await driver.until("Undo", "u", "terminated")
    described = await ask("instances", "describe", "Undo", "u")
    paused = await ask("instances", "pause", "Undo", "u")

    assert ending[1] in {"u undoes what it did, then it is terminated.\n", "u is terminated.\n"}
    assert ended.rollback is not None
    assert (ended.rollback.outcome, ended.rollback.error) == ("complete", None)
    assert "Rollback   complete" in described[1]
    assert (
        paused[2]
        == "stagelight: cannot pause instance 'u' while it is terminated; it has ended; restart it\n"
    )


async def test_what_is_skipped_is_called_so_and_a_wrong_name_is_noticed(ask: Ask, driver: Driver) -> None:
    await driver.create("Fail", instance_id="f")
    await driver.until("Fail", "f", "errored")
    wrong = await ask("instances", "skip", "Fail", "f", "chargge")
    await ask("instances", "skip", "Fail", "f", "charge", '"free"')
    await driver.until("Fail", "f", "complete")
    described = await ask("instances", "describe", "Fail", "f")
    await driver.create("Approve", instance_id="a")
    await driver.until("Approve", "a", "waiting")
    ahead = await ask("instances", "skip", "Approve", "a", "later", "1")

    assert wrong[0] == 2
    assert "has no such step as 'chargge' number 1; list its steps" in wrong[2]
    assert described[1].splitlines()[-1].split() == ["charge-1", "step", "skipped", "1", "free"]
    assert ahead[1] == "later of a has not begun; when it does, this is its output.\n"


async def test_a_restart_finds_the_type_of_its_step_by_itself(ask: Ask, driver: Driver) -> None:
    await driver.create("Approve", instance_id="a")
    await driver.until("Approve", "a", "waiting")
    found = await ask("instances", "restart", "Approve", "a", "--from", "approval")
    told = await ask("instances", "restart", "Approve", "a", "--from", "approval", "--type", "sleep")

    assert found[0] == 0, found
    assert told[0] == 2
    assert "the one of that name is of the type wait_for_event: name it with its type" in told[2]
