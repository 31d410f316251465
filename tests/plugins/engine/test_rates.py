"""Creates a second: a mean, with bursts of one second; what comes too fast is told when to come again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stagelight_plugins.engine import WorkflowEntrypoint, WorkflowEvent
from stagelight_plugins.engine.errors import LimitReached
from stagelight_plugins.engine.facts import NewInstance
from stagelight_plugins.engine.limits import Limits
from stagelight_plugins.engine.rates import Rates
from stagelight_plugins.engine.testing import VirtualClock

if TYPE_CHECKING:
    from tests.plugins.engine.conftest import Bench

    from stagelight_plugins.engine.step import Step
else:
    Bench = Any


class Quick(WorkflowEntrypoint):
    """Ends at once."""

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        return None


def test_so_many_a_second_get_through_and_no_more() -> None:
    clock = VirtualClock()
    rates = Rates(Limits(creates_per_second=300, workflow_creates_per_second=200), clock)
    through: dict[str, int] = {"a": 0, "b": 0}
    for _ in range(10_000):
        clock.passed += 0.001
        for name in through:
            try:
                rates.take(name)
            except LimitReached:
                continue
            through[name] += 1

    # 10 s at 300, and the burst that the bucket held at first.
    assert sum(through.values()) == pytest.approx(3_300, abs=5)
    assert max(through.values()) <= 200 * 10 + 200 + 5


def test_the_refusal_says_when_to_come_again_and_takes_nothing() -> None:
    clock = VirtualClock()
    rates = Rates(Limits(creates_per_second=0, workflow_creates_per_second=100), clock)
    rates.take("a", 100)
    with pytest.raises(LimitReached, match=r"creates a second of 'a'.*try again in 0.5 s") as refused:
        rates.take("a", 50)
    clock.passed += refused.value.retry_after
    rates.take("a", 50)
    rates.take("b", 100)


async def test_the_engine_holds_to_it(bench: Bench) -> None:
    clock = VirtualClock()
    plane = await bench.open(Quick, limits=Limits(creates_per_second=100), clock=clock)
    await plane.create_batch("Quick", [NewInstance(id=f"i{number}") for number in range(99)])
    await plane.create("Quick", id="last")
    with pytest.raises(LimitReached):
        await plane.create("Quick", id="refused")
    with pytest.raises(LimitReached):
        await plane.create_batch("Quick", [NewInstance(id="refused")])
    clock.passed += 0.011
    await plane.create("Quick", id="later")
    page = await plane.list("Quick", limit=100)

    assert page.total == 101
    assert "refused" not in {instance.id for instance in page.instances}
