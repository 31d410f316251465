"""The kit that users test their own workflows with."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import stagelight
from stagelight import runtime
from stagelight.conventions import EventType
from stagelight.instrumentation import logs, threads
from stagelight.recorder import recording
from stagelight.worker import THREAD_NAME

if TYPE_CHECKING:
    from stagelight.recorder import Recorder


def test_runs_steps_and_events_are_there_at_once(stagelight_recorder: Recorder) -> None:
    with stagelight.workflow("w"), stagelight.step("s", kind="io"):
        stagelight.set(rows=3)
    (run,), (step,) = stagelight_recorder.runs, stagelight_recorder.steps
    assert (run.name, run.status, run.error) == ("w", "completed", None)
    assert (step.name, step.kind, step.run_id, step.attributes) == ("s", "io", run.id, {"rows": 3})
    assert [event.type for event in stagelight_recorder.events] == [
        EventType.RUN_STARTED,
        EventType.STEP_STARTED,
        EventType.PROGRESS,
        EventType.STEP_COMPLETED,
        EventType.RUN_COMPLETED,
    ]


def test_recordings_nest_and_put_back_what_was_there() -> None:
    before = runtime.active
    with recording() as outer:
        with recording() as inner, stagelight.workflow("inner"):
            pass
        with stagelight.workflow("outer"):
            pass
        assert [run.name for run in inner.runs] == ["inner"]
        assert [run.name for run in outer.runs] == ["outer"]
    assert runtime.active is before
    assert THREAD_NAME not in [thread.name for thread in threading.enumerate()]


def test_patches_are_taken_back() -> None:
    start, call = threading.Thread.start, logging.Logger.callHandlers
    threads.instrument()
    threads.instrument()
    logs.instrument("INFO")
    assert threading.Thread.start is not start
    logs.uninstrument()
    threads.uninstrument()
    threads.uninstrument()
    assert threading.Thread.start is start
    assert logging.Logger.callHandlers is call
