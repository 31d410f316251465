"""What each kind of rule waits for: when it fires, what it says, and when it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stagelight.conventions import EventType

from .conftest import START, World, world

if TYPE_CHECKING:
    from collections.abc import Callable

BUILT_IN = ["run-failed", "slow-step", "stuck-run", "missed-run"]


def only(**rule: Any) -> World:
    """Return a world with one rule."""
    return world({"off": BUILT_IN, "group_interval": "1s", "rules": {"r": rule}})


def begin(here: World) -> None:
    here.tell(EventType.RUN_STARTED, "one")
    here.tell(EventType.STEP_STARTED, "one", step_id="s", step_name="load")


def complete(here: World) -> None:
    here.tell(EventType.STEP_COMPLETED, "one", step_id="s", step_name="load")
    here.tell(EventType.RUN_COMPLETED, "one")


def ask(here: World) -> None:
    begin(here)
    here.tell(EventType.WAIT_STARTED, "one", step_id="w", step_name="approve")


def answer(here: World) -> None:
    here.tell(EventType.WAIT_COMPLETED, "one", step_id="w", step_name="approve")


def nothing(_here: World) -> None:
    pass


CASES: dict[str, tuple[dict[str, Any], Callable[[World], None], float, Callable[[World], None], str]] = {
    "run_too_long": (
        {"when": "run_too_long", "longer_than": "10m"}, begin, 600, complete,
        "etl has been running for 10 min 1 s, more than 10 min",
    ),
    "step_too_long": (
        {"when": "step_too_long", "longer_than": "10m", "match": {"step": "lo*"}}, begin, 600, complete,
        "Step load of etl has been running for 10 min 1 s, more than 10 min",
    ),
    "stuck": (
        {"when": "stuck", "silent_for": "10m"}, begin, 600, complete,
        "etl has been silent for 10 min 1 s, more than 10 min",
    ),
    "waiting": (
        {"when": "waiting", "longer_than": "10m"}, ask, 599, answer,
        "etl has been waiting for an answer for 10 min 1 s",
    ),
    "heartbeat": (
        {"when": "heartbeat", "within": "10m"}, begin, 600,
        lambda here: here.tell(EventType.HEARTBEAT, "one"), "etl has not been heard of for 10 min 1 s",
    ),
    "heartbeat of what was never heard of": (
        {"when": "heartbeat", "within": "10m", "match": {"workflow": "never"}}, nothing, 601,
        lambda here: here.succeed("never"), "never has not been heard of for 10 min 2 s",
    ),
    "missed, by its schedule": (
        # It is 17:00 in Berlin when the test begins.
        {"when": "missed", "cron": "30 17 * * *", "timezone": "Europe/Berlin", "grace": "5m", "match": {"workflow": "etl"}},
        nothing, 2_100, begin, "etl did not start: its schedule is 30 17 * * *",
    ),
    "missed, every so often": (
        {"when": "missed", "every": "30m", "grace": "5m"}, begin, 2_100, lambda here: here.succeed(),
        "etl did not start: it should every 30 min",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", CASES)
def test_a_rule_fires_when_it_is_so_and_not_before_and_is_over_when_it_is_not(kind: str) -> None:
    rule, so, after, over, said = CASES[kind]
    here = only(**rule)
    here.pass_(0.01)
    so(here)
    here.pass_(START + after - here.now)
    assert here.titles == [], "not before"
    here.pass_(3)
    assert here.titles == [said]
    over(here)
    here.pass_(5)
    assert here.titles[1:] == [f"Resolved: {said}"]
    assert here.firing == set()


def test_too_many_failures_within_a_window_are_told_and_over_when_it_gets_better() -> None:
    here = only(when="error_rate", above=0.5, at_least=4, window="1h")
    for _ in range(2):
        here.fail()
        here.pass_(2)
    here.succeed()
    here.pass_(2)
    assert here.titles == [], "three runs say nothing of a rate"
    here.fail()
    here.pass_(2)
    assert here.titles == ["75% (3 of 4) of the runs of etl failed"]
    for _ in range(3):
        here.succeed()
    here.pass_(3)
    assert here.titles[1:] == ["Resolved: 75% (3 of 4) of the runs of etl failed"]
    here.pass_(3_720, step=10)  # a window is counted in thirty parts
    here.fail()
    here.pass_(2)
    assert here.firing == set(), "what is older than the window does not count"


def test_a_step_that_fails_is_told_when_it_is_not_tried_again() -> None:
    here = only(when="step_failed")
    here.tell(EventType.RUN_STARTED, "one")
    step: dict[str, Any] = {"step_id": "s", "step_name": "load"}
    here.tell(EventType.STEP_STARTED, "one", **step)
    here.tell(EventType.STEP_FAILED, "one", **step)
    here.pass_(30)
    here.tell(EventType.ATTEMPT_STARTED, "one", **step, attempt=2)
    here.pass_(60)
    assert here.titles == [], "it was tried again"
    here.tell(EventType.STEP_FAILED, "one", **step, attempt=2)
    here.pass_(58)
    assert here.titles == []
    here.pass_(4)
    assert here.titles == ["Step load of etl failed"]
