"""The monitor keeps Workflow Live's rules, line by line."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from stagelight.conventions import RunStatus, StepStatus
from stagelight_collector.rooms.state import Run
from stagelight_plugins.workflow_live.monitor import Changes, Monitor, NewStage, NotFound, Workflow

MS = 1_000_000


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.ms = 1_000

    def __call__(self) -> int:
        return self.ms * MS


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def monitor(clock: Clock) -> Monitor:
    ids = map(str, itertools.count())
    return Monitor(now=clock, new_id=lambda: f"id{next(ids)}")


def kept(monitor: Monitor, workflow: Workflow, size: int = 100) -> Workflow:
    monitor.keep(workflow, workflow.id.ljust(size))
    return workflow


def known(monitor: Monitor) -> list[str]:
    return [text.strip() for text in monitor.texts()]


def made(monitor: Monitor, *names: str) -> Workflow:
    return kept(monitor, monitor.create("etl", [NewStage(name=name) for name in names])[0])


def changed(monitor: Monitor, workflow: Workflow, stage: int, **changes: Any) -> Workflow:
    found, _, _ = monitor.update_stage(workflow.id, workflow.stages[stage].id, Changes(**changes))
    return kept(monitor, found)


def test_a_workflow_is_created_pending_with_ids_of_its_own(monitor: Monitor) -> None:
    workflow = made(monitor, "load", "save")

    assert workflow.to_json() == {
        "id": "id2",
        "name": "etl",
        "status": "pending",
        "startTime": 1_000,
        "stages": [
            {"id": "id0", "name": "load", "status": "pending"},
            {"id": "id1", "name": "save", "status": "pending"},
        ],
    }
    assert monitor.get(workflow.id) is workflow
    assert known(monitor) == [workflow.id]


def test_a_started_workflow_runs(monitor: Monitor) -> None:
    assert monitor.start(made(monitor, "load").id)[0].status == "running"


def test_a_running_stage_gets_its_start_once(monitor: Monitor, clock: Clock) -> None:
    workflow = made(monitor, "load")
    changed(monitor, workflow, 0, status="running")
    clock.ms += 5
    workflow = changed(monitor, workflow, 0, status="running")

    assert workflow.stages[0].startTime == 1_000


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_an_ended_stage_gets_its_end_and_duration(monitor: Monitor, clock: Clock, status: str) -> None:
    workflow = made(monitor, "load")
    changed(monitor, workflow, 0, status="running")
    clock.ms += 7
    workflow = changed(monitor, workflow, 0, status=status)

    assert (workflow.stages[0].endTime, workflow.stages[0].duration) == (1_007, 7)


def test_a_stage_that_never_ran_lasted_no_time(monitor: Monitor) -> None:
    workflow = changed(monitor, made(monitor, "load"), 0, status="completed")

    assert workflow.stages[0].duration == 0


def test_changes_leave_alone_what_they_do_not_name(monitor: Monitor) -> None:
    workflow = made(monitor, "load")
    changed(monitor, workflow, 0, error="slow", data={"rows": 3})
    workflow = changed(monitor, workflow, 0, status="running")

    assert workflow.to_json()["stages"][0] == {
        "id": "id0", "name": "load", "status": "running", "startTime": 1_000, "error": "slow", "data": {"rows": 3},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        (["completed", "completed"], "completed"),
        (["completed", "failed", "running"], "failed"),
        (["completed", "running", "pending"], "running"),
        (["completed", "pending"], "pending"),
        ([], "completed"),
    ],
)
def test_the_first_rule_that_holds_gives_the_status(
    monitor: Monitor, statuses: list[str], status: str
) -> None:
    workflow = made(monitor, *map(str, range(len(statuses))))
    for number, found in enumerate(statuses):
        if found != "pending":
            workflow = changed(monitor, workflow, number, status=found)

    assert workflow.status_of_stages() == status


@pytest.mark.parametrize(("error", "status"), [(None, "completed"), ("", "completed"), ("bad", "failed")])
def test_a_completed_workflow_has_an_end(
    monitor: Monitor, clock: Clock, error: str | None, status: str
) -> None:
    workflow = made(monitor, "load")
    clock.ms += 9
    workflow, _ = monitor.complete(workflow.id, error)

    assert (workflow.status, workflow.endTime, workflow.duration) == (status, 1_009, 9)
    assert workflow.error == (error or None)


def test_what_is_not_there_is_told_in_the_articles_words(monitor: Monitor) -> None:
    workflow = made(monitor, "load")
    with pytest.raises(NotFound, match=r"^Workflow nobody not found$"):
        monitor.start("nobody")
    with pytest.raises(NotFound, match=r"^Workflow nobody not found$"):
        monitor.complete("nobody", None)
    with pytest.raises(NotFound, match=rf"^Stage none not found in workflow {workflow.id}$"):
        monitor.update_stage(workflow.id, "none", Changes())


def test_the_oldest_workflows_make_place(monitor: Monitor) -> None:
    monitor.capacity = 2
    workflows = [made(monitor, "load") for _ in range(3)]

    assert known(monitor) == [workflow.id for workflow in workflows[1:]]
    assert monitor.forgotten == 1
    assert monitor.take_gone() == [workflows[0].id]
    assert monitor.take_gone() == []


def test_bytes_are_bounded_too_and_counted_once_for_each_workflow(monitor: Monitor) -> None:
    monitor.capacity_bytes = 1_000
    first, second = made(monitor, "load"), made(monitor, "load")
    for _ in range(20):
        kept(monitor, second, 900)
    assert known(monitor) == [first.id, second.id]

    kept(monitor, second, 901)
    assert known(monitor) == [second.id]


def test_a_change_that_is_not_kept_changes_nothing(monitor: Monitor) -> None:
    workflow = made(monitor, "load", "save")
    before = workflow.to_json()
    monitor.start(workflow.id)
    monitor.update_stage(workflow.id, workflow.stages[0].id, Changes(status="failed", error="no disk"))
    monitor.complete(workflow.id, "no disk")

    found = monitor.get(workflow.id)
    assert found is not None
    assert found.to_json() == before


def test_a_stage_is_created_with_all_that_is_said_of_it(monitor: Monitor) -> None:
    said = {"name": "load", "startTime": 5, "endTime": 7.5, "duration": 2.5, "error": "late", "data": [1]}
    workflow, _ = monitor.create("etl", [NewStage.model_validate(said)])

    assert workflow.to_json()["stages"] == [{"id": "id0", "status": "pending", **said}]


def test_a_run_is_created_before_its_stages_are_named(monitor: Monitor) -> None:
    _, events = monitor.create("etl", [NewStage(name="load"), NewStage(name="save")])

    assert [event.time for event in events] == [1_000 * MS, 1_000 * MS + 1_000, 1_000 * MS + 2_000]


def test_its_events_make_a_run_like_any_other(monitor: Monitor, clock: Clock) -> None:
    created = monitor.create("etl", [NewStage(name="load"), NewStage(name="save")])
    workflow = created[0]
    run = Run(workflow.id)

    def tell(change: tuple[Any, ...]) -> None:
        kept(monitor, change[0])
        for event in change[-1]:
            run.apply(event)
        clock.ms += 10

    tell(created)
    assert (run.status, [step.name.value for step in run.steps.values()]) == (
        RunStatus.PENDING,
        ["load", "save"],
    )
    tell(monitor.start(workflow.id))
    assert run.status is RunStatus.RUNNING
    first, second = (stage.id for stage in workflow.stages)
    tell(monitor.update_stage(workflow.id, first, Changes(status="running")))
    tell(monitor.update_stage(workflow.id, first, Changes(status="failed", error="no disk")))
    assert (run.status, run.steps[first].status) == (RunStatus.FAILED, StepStatus.FAILED)
    assert run.final is not None
    assert run.final.error is not None
    assert run.final.error.message == "no disk"
    tell(monitor.update_stage(workflow.id, first, Changes(status="running")))
    assert (run.status, run.steps[first].attempt) == (RunStatus.RUNNING, 2)
    tell(monitor.update_stage(workflow.id, first, Changes(status="completed")))
    tell(monitor.update_stage(workflow.id, second, Changes(status="completed")))
    tell(monitor.complete(workflow.id, None))
    assert (run.status, run.steps[second].status) == (RunStatus.COMPLETED, StepStatus.COMPLETED)
