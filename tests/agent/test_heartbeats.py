"""An open run says that it is alive, for as long as it is open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import stagelight
from stagelight import heartbeats, runtime, settings
from stagelight.heartbeats import Heartbeats

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.agent.conftest import Sink

EVENT = "workflow.heartbeat"


class Open:
    """A run with a span that may end."""

    def __init__(self) -> None:
        self.span = self
        self.ended = False

    def is_recording(self) -> bool:
        """Whether it goes on."""
        return not self.ended


@pytest.fixture
def connected(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> Generator[Sink]:
    """The agent, sending to the sink, with a heartbeat every 50 ms."""
    monkeypatch.setattr(settings, "limits", lambda: settings.AgentLimits(heartbeat=0.05))
    monkeypatch.setenv(settings.SOURCE, "off")
    with runtime.replaced(None):
        stagelight.configure(endpoint=sink.url)
        yield sink
        stagelight.shutdown()


def beats(sink: Sink) -> list[str]:
    """Return whose heartbeats have come, in order."""
    return [
        next(pair.value.string_value for pair in record.attributes if pair.key == "workflow.run.id")
        for record in sink.logs
        if record.event_name == EVENT
    ]


def test_an_open_run_is_told_of_again_and_again_and_a_run_that_ended_is_not(connected: Sink) -> None:
    with stagelight.workflow("short", run_id="short"):
        pass
    with stagelight.workflow("long", run_id="long"), stagelight.step("an hour"):
        connected.wait_for(lambda: beats(connected).count("long") >= 3)

    assert "short" not in beats(connected)[2:]
    assert stagelight.stats().dropped == 0


def test_ended_runs_make_place_and_the_number_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeats, "MOST", 2)
    runs: list[Any] = [Open() for _ in range(4)]
    watched = Heartbeats(20.0)
    for run in runs[:3]:
        watched.watch(run, 0.0)
    assert (watched.due_in(5.0), watched.due(19.0), watched.due(20.0)) == (15.0, [], runs[:2])

    runs[0].ended = True
    watched.watch(runs[3], 21.0)
    assert watched.due(40.0) == [runs[1], runs[3]]

    runs[1].ended = runs[3].ended = True
    assert watched.due(60.0) == []
    assert watched.due_in(60.0) == float("inf")


def test_a_heartbeat_that_is_not_taken_is_no_loss(connected: Sink) -> None:
    with stagelight.workflow("long", run_id="long"):
        connected.wait_for(lambda: bool(beats(connected)))
        connected.answer = lambda _path: (503, {}, b"")
        refused = len(connected.requests)
        connected.wait_for(lambda: len(connected.requests) >= refused + 2)
        connected.answer = lambda _path: (200, {}, b"")
        told = len(beats(connected))
        connected.wait_for(lambda: len(beats(connected)) > told)
    stagelight.shutdown()

    assert stagelight.stats().dropped == 0
