"""The guard: whatever breaks inside the agent, the host program's own outcome is what it would have been."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest

import stagelight
from stagelight import (
    attempts,
    attributes,
    backlog,
    processor,
    recording,
    records,
    runtime,
    scope,
    settings,
    worker,
)
from stagelight.guard import faults, faults_by_place, guard, guarded, report
from stagelight.recorder import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from stagelight.recorder import Recorder


@pytest.fixture(autouse=True)
def _no_faults_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stagelight.guard._faults", {})
    monkeypatch.setattr("stagelight.guard._said", set[str]())


class Broken(Exception):
    """What a collaborator raises."""


def broken(*_: object, **__: object) -> Any:
    raise Broken


def use_everything() -> list[object]:
    """Use all of the agent, and return what a program would see."""
    seen: list[object] = []

    @stagelight.step
    def fine(number: int) -> int:
        stagelight.progress(number, 10, "on")
        stagelight.log("line", a=object())
        stagelight.set(b={1: 2})
        return number

    @stagelight.step
    def generate() -> Generator[int, object]:
        seen.append((yield 1))

    error = LookupError("the user's own")

    @stagelight.step
    def fail(argument: object) -> None:
        del argument
        raise error

    with stagelight.workflow("w") as run:
        run.set(c=3)
        seen.append(fine(1))
        seen.extend(generate())
        for _ in range(2):
            try:
                fail(seen)
            except LookupError as caught:
                seen.append(caught is error)
        with stagelight.step("again", attempt=2) as step:
            step.log("x")
    stagelight.current_run_id()
    stagelight.flush(0.05)
    stagelight.stats()
    return seen


PLACES: list[tuple[Any, str]] = [
    (scope.Scope, "_say"),
    (scope.Scope, "enter"),
    (scope.Scope, "_fail"),
    (scope.Scope, "inherited"),
    (scope.Run, "_settle"),
    (scope.Step, "_settle"),
    (scope, "clean_attributes"),
    (scope, "bounded_text"),
    (scope, "_stacktrace"),
    (attributes, "redact"),
    (attempts.Attempts, "claim"),
    (attempts.Attempts, "failed"),
    (backlog.Backlog, "add"),
    (backlog.Backlog, "take"),
    (backlog.Backlog, "wait_until_settled"),
    (backlog.Backlog, "stats"),
    (records.Records, "start"),
    (records.Records, "line"),
    (worker.Worker, "wake"),
    (worker.Worker, "_deliver"),
    (worker.Worker, "_rest"),
    (processor.Processor, "started"),
    (processor.Processor, "said"),
    (processor.Processor, "on_end"),
    (recording, "_announce"),
    (recording, "set_span_in_context"),
]


@pytest.mark.parametrize(
    ("owner", "name"), PLACES, ids=[f"{getattr(o, '__name__', o)}.{n}" for o, n in PLACES]
)
def test_a_collaborator_that_raises_changes_nothing_for_the_program(
    owner: Any, name: str, stagelight_recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = use_everything()
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, broken)
        assert use_everything() == expected
    assert stagelight_recorder.runs


def test_a_tracer_that_raises_changes_nothing(
    stagelight_recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = use_everything()
    assert runtime.active is not None
    before = faults_by_place()
    with monkeypatch.context() as patch:
        patch.setattr(runtime.active.tracer, "start_span", broken)
        assert use_everything() == expected
    assert faults_by_place().get("step", 0) > before.get("step", 0)
    assert stagelight_recorder.runs


def test_a_queue_that_raises_changes_nothing(
    stagelight_recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    class BrokenQueue(deque[Any]):
        append = broken

    expected = use_everything()
    assert runtime.active is not None
    with monkeypatch.context() as patch:
        patch.setattr(backlog, "deque", BrokenQueue)
        patch.setattr(
            runtime.active.processor,
            "_backlog",
            backlog.Backlog(settings.SignalLimits(queue=9), settings.SignalLimits(queue=9)),
        )
        assert use_everything() == expected
    assert stagelight_recorder.runs


def test_a_channel_that_raises_is_a_refusal_and_counted(
    stagelight_recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Memory, "send", broken)
        with stagelight.workflow("w"):
            pass
        assert stagelight.flush()
    stats = stagelight.stats()
    assert stats.dropped_by_reason == {"rejected": 2}
    assert stats.produced == stats.delivered + stats.dropped + stats.queued
    assert stagelight_recorder.runs == []


def test_a_set_up_that_raises_records_nothing_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runtime, "channels", broken)
    with runtime.replaced(None):
        stagelight.configure()
        use_everything()
    assert "stagelight records nothing" in caplog.text


def test_a_run_id_function_that_raises_costs_only_its_id_and_is_said_once(
    stagelight_recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    @stagelight.workflow(name="etl", run_id=broken)
    def main() -> int:
        return 3

    assert (main(), main()) == (3, 3)
    assert [(run.name, run.status, len(run.id)) for run in stagelight_recorder.runs] == [
        ("etl", "completed", 32)
    ] * 2
    assert caplog.messages == ["stagelight: run_id= of workflow etl raised Broken; a random id is used"]


def test_a_run_id_that_cannot_be_looked_at_costs_only_itself(stagelight_recorder: Recorder) -> None:
    class Hostile(str):
        __slots__ = ()
        __bool__ = broken

    def chosen() -> str:
        return Hostile("x")

    @stagelight.workflow(run_id=chosen)
    def main() -> int:
        return 3

    assert main() == 3
    assert len(stagelight_recorder.runs[0].id) == 32


def test_a_fault_is_logged_once_and_counted_every_time(caplog: pytest.LogCaptureFixture) -> None:
    before = faults()
    with caplog.at_level(logging.WARNING, "stagelight"):
        for _ in range(5):
            with guard("a place of this test"):
                raise Broken
    assert faults() - before == 5
    assert len(caplog.records) == 1


def test_the_guard_lets_through_what_is_no_exception() -> None:
    with pytest.raises(KeyboardInterrupt), guard("test"):
        raise KeyboardInterrupt


def test_a_guarded_function_returns_its_default() -> None:
    fail: Callable[[], int] = guarded("test", 7)(broken)
    assert fail() == 7


def test_places_are_bounded() -> None:
    for number in range(1000):
        report(f"place {number}", Broken())
    assert len(faults_by_place()) <= 257
