"""The detectors that need no rule: what they find, what they leave alone, and nothing in the warm-up.

Series are made from a seed, and recorded ones are of the demo's job. Precision and recall are printed (`pytest -s`).
"""

from __future__ import annotations

import json
import math
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stagelight.conventions import EventType
from stagelight_plugins.alerting.rules.baselines import WARM_UP, Baseline, Cadence

from .conftest import START, World, world

if TYPE_CHECKING:
    from collections.abc import Callable

RECORDED = json.loads((Path(__file__).parent / "recorded_steps.json").read_text())
SEED = 20_261_125


@dataclass
class Score:
    """How often a detector was right."""

    found: int = 0
    false: int = 0
    missed: int = 0

    def count(self, *, strange: bool, said: bool) -> None:
        self.found += strange and said
        self.false += said and not strange
        self.missed += strange and not said

    @property
    def precision(self) -> float:
        return self.found / max(1, self.found + self.false)

    @property
    def recall(self) -> float:
        return self.found / max(1, self.found + self.missed)

    def __str__(self) -> str:
        return f"precision {self.precision:.3f} recall {self.recall:.3f} ({self.found} found, {self.false} false, {self.missed} missed)"


def lognormal(middle: float, spread: float) -> Callable[[random.Random], float]:
    return lambda chance: middle * math.exp(chance.gauss(0, spread))


SHAPES: dict[str, Callable[[random.Random], float]] = {
    "steady": lognormal(40, 0.05),
    "usual": lognormal(40, 0.3),
    "wild": lognormal(40, 0.6),
    "short": lognormal(0.2, 0.5),
    "two ways": lambda chance: (
        lognormal(20, 0.2)(chance) if chance.random() < 0.7 else lognormal(90, 0.2)(chance)
    ),
    "with a tail": lambda chance: 30 / max(0.05, chance.random()) ** 0.3,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_steps_that_run_far_longer_are_found_and_others_are_not(shape: str) -> None:
    chance, score = random.Random(SEED), Score()
    for _ in range(20):
        usual = Baseline()
        for number in range(300):
            strange = number > 60 and chance.random() < 0.02
            lasts = SHAPES[shape](chance)
            lasts = lasts * chance.uniform(12, 30) + 60 if strange else lasts
            score.count(strange=strange, said=lasts > usual.limit)
            usual.add(lasts)
    print(f"\nslow step, {shape}: {score}")

    assert score.precision >= 0.95
    assert score.recall >= 0.7


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_steps_are_never_called_unusual_and_a_hang_always_is(name: str) -> None:
    usual, score = Baseline(), Score()
    for lasts in RECORDED[name]:
        score.count(strange=False, said=lasts > usual.limit)
        if len(usual) >= WARM_UP:
            hang = max(60.0, 20 * usual.usual)
            score.count(strange=True, said=hang > usual.limit)
        usual.add(lasts)
    print(f"\nrecorded, {name}: {score}")

    assert (score.precision, score.recall) == (1.0, 1.0)


def test_nothing_is_unusual_in_the_warm_up() -> None:
    chance = random.Random(SEED)
    for _ in range(200):
        usual = Baseline()
        for _ in range(WARM_UP - 1):
            usual.add(lognormal(1, 2)(chance))
            assert usual.limit == math.inf


def test_a_thousand_normal_runs_raise_at_most_one_false_alert() -> None:
    here, chance = world(), random.Random(SEED)
    for number in range(1_000):
        run = f"run-{number}"
        here.tell(EventType.RUN_STARTED, run)
        for name, middle in (("extract", 20.0), ("transform", 60.0), ("load", 5.0)):
            step = {"step_id": f"{run}-{name}", "step_name": name}
            here.tell(EventType.STEP_STARTED, run, **step)
            here.pass_(middle * math.exp(chance.gauss(0, 0.4)), step=5)
            here.tell(EventType.STEP_COMPLETED, run, **step)
        here.tell(EventType.RUN_COMPLETED, run)
        here.pass_(max(1.0, START + (number + 1) * 600 + chance.gauss(0, 20) - here.now), step=30)
    print(f"\n1,000 normal runs: {len(here.sent)} false alerts: {here.titles}")

    assert len(here.sent) <= 1


def grown(runs: int = 30, lasts: float = 40.0) -> World:
    """Return a world that knows what is usual: a run every hour, of one step."""
    here, chance = world(), random.Random(SEED)
    for number in range(runs):
        here.tell(EventType.RUN_STARTED, f"run-{number}")
        here.tell(EventType.STEP_STARTED, f"run-{number}", step_id=f"s{number}", step_name="load")
        here.pass_(lasts * math.exp(chance.gauss(0, 0.1)), step=10)
        here.tell(EventType.STEP_COMPLETED, f"run-{number}", step_id=f"s{number}", step_name="load")
        here.tell(EventType.RUN_COMPLETED, f"run-{number}")
        here.pass_(START + (number + 1) * 3600 - here.now, step=60)
    assert here.sent == []
    return here


def test_a_slow_step_is_told_while_it_runs_with_what_is_usual_and_is_over_when_it_ends() -> None:
    here = grown()
    here.tell(EventType.RUN_STARTED, "slow")
    here.tell(EventType.STEP_STARTED, "slow", step_id="slow", step_name="load")
    here.pass_(320)
    told = [title for title in here.titles if title.startswith("Step load")]
    assert len(told) == 1
    assert "of etl has been running for " in told[0]
    assert re.search(r" \d+\u00d7 its usual \d\d s \(median of its last 30\)$", told[0])
    assert len(here.titles) == 1, "that the run is silent is the same problem"
    here.tell(EventType.STEP_COMPLETED, "slow", step_id="slow", step_name="load")
    here.tell(EventType.RUN_COMPLETED, "slow")
    here.pass_(120)
    assert "slow-step" not in here.firing
    assert any(title.startswith("Resolved: Step load") for title in here.titles)


def test_a_run_whose_agent_died_is_told_as_stuck() -> None:
    here = grown()
    here.tell(EventType.RUN_STARTED, "dead")
    here.pass_(400)
    assert "stuck-run" in here.firing
    assert any(title.startswith("etl has been silent for ") for title in here.titles)


def test_a_run_that_waits_on_purpose_is_not_stuck() -> None:
    here = grown()
    here.tell(EventType.RUN_STARTED, "sleeper")
    here.tell(EventType.SLEEP_STARTED, "sleeper", step_id="z", step_name="sleep")
    here.pass_(3_000)
    assert "stuck-run" not in here.firing


def test_a_start_that_does_not_come_is_told_and_is_over_when_it_comes() -> None:
    here = grown()
    here.pass_(3600 * 0.2, step=10)
    assert here.sent == []
    here.pass_(3600 * 0.2, step=10)
    assert here.titles == ["etl did not start: it usually does every 1 h, and last did 1 h 15 min ago"]
    here.succeed()
    here.pass_(120)
    assert here.titles[-1].startswith("Resolved: etl did not start")


@pytest.mark.parametrize("name", ["people", "bursts", "weekdays", "drifting"])
def test_what_has_no_schedule_misses_none(name: str) -> None:
    chance, cadence, false, at = random.Random(SEED), Cadence(), 0, START
    for number in range(2_000):
        gap = {
            "people": chance.expovariate(1 / 600),
            "bursts": 1.0 if number % 5 else chance.uniform(1_000, 9_000),
            "weekdays": 86_400.0 * (3 if number % 5 == 4 else 1) + chance.gauss(0, 60),
            "drifting": 3_600 * (1 + 0.3 * math.sin(number / 40)) + chance.gauss(0, 60),
        }[name]
        due = cadence.due
        at += max(0.5, gap)
        false += due is not None and at > due
        cadence.add(at)
    print(f"\nmissed run, {name}: {false} false of 2,000")

    assert false <= 2


@pytest.mark.parametrize("jitter", [1, 30, 200])
def test_missed_starts_of_a_schedule_are_found(jitter: int) -> None:
    chance, cadence, score, at = random.Random(SEED), Cadence(), Score(), START
    for number in range(1_000):
        missed = number > 20 and chance.random() < 0.03
        due = cadence.due
        at += 3_600 * (2 if missed else 1)
        started = at + chance.gauss(0, jitter)
        score.count(strange=missed, said=due is not None and started > due)
        cadence.add(started)
    print(f"\nmissed run, hourly ± {jitter} s: {score}")

    assert score.precision >= 0.95
    assert score.recall >= 0.8
