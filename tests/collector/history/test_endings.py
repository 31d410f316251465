"""Lists of runs that ended some way, or that have a text somewhere, look at few runs; they give the same as looking at all."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

import pytest

from stagelight.conventions import EventType, RunStatus
from stagelight.events import Event, Failure
from stagelight_collector.history import RunFilter, walks
from stagelight_plugins.hookspecs import Batch

if TYPE_CHECKING:
    from stagelight_collector.history import History

SECOND: Final = 1_000_000_000
NOW: Final = 1_764_000_000 * SECOND
PERIOD: Final = 10 * SECOND
ENDS: Final = (EventType.RUN_COMPLETED, EventType.RUN_FAILED, EventType.RUN_TERMINATED)
FILTERS: Final[tuple[dict[str, Any], ...]] = (
    {"status": RunStatus.FAILED}, {"status": RunStatus.COMPLETED}, {"status": RunStatus.TERMINATED}, {"error": "time"},
    {"min_duration": 300 * SECOND}, {"max_duration": 20 * SECOND}, {"status": RunStatus.FAILED, "workflow": "w1"},
    {"status": RunStatus.RUNNING}, {"status": RunStatus.RUNNING, "q": "w1"}, {"status": RunStatus.RUNNING, "until": NOW + 500 * PERIOD},
    {"q": "r04"}, {"q": "W1"}, {"q": "LOST"}, {"q": "lost", "workflow": "w2"}, {"q": "lost", "until": NOW + 500 * PERIOD},
    {"q": "lost", "status": RunStatus.FAILED}, {"q": "w2", "status": RunStatus.COMPLETED}, {"q": "r0", "min_duration": 300 * SECOND},
    {"status": RunStatus.FAILED, "until": NOW + 500 * PERIOD}, {"status": RunStatus.FAILED, "since": NOW + 300 * PERIOD, "error": "Key"},
)  # fmt: skip


def life(chance: random.Random, number: int) -> list[list[Event]]:
    """Return the inserts that tell of a run: all at once, or its end long after; some go on after an end."""
    named: dict[str, Any] = {"run_id": f"r{number:03}", "workflow": f"w{number % 3}"}
    start = NOW + chance.randrange(1000) * PERIOD + chance.randrange(SECOND)
    lasted = chance.choice([0, 5, 40, 400, 4000]) * SECOND
    kind = chance.choice(ENDS)
    error = (
        Failure(type=chance.choice(["TimeoutError", "KeyError"]), message=f"lost {number}")
        if kind is EventType.RUN_FAILED
        else None
    )
    began = Event(type=EventType.RUN_STARTED, time=start, **named)
    ended = Event(type=kind, time=start + lasted, error=error, **named)
    match chance.randrange(6):
        case 0:
            return [[began]]
        case 1:
            return [[began, ended]]
        case 2:  # a second start, with the end
            again = Event(
                type=EventType.RUN_STARTED,
                time=start + lasted // 2,
                step_id="s",
                step_name="s",
                attempt=2,
                **named,
            )
            return [
                [began],
                [again, Event(type=EventType.RUN_STARTED, time=start + lasted // 2, **named), ended],
            ]
        case 3:  # failed first, then resumed, and another end
            first = Event(
                type=EventType.RUN_FAILED,
                time=start + 1,
                error=Failure(type="KeyError", message="lost at first"),
                **named,
            )
            return [[began, first], [Event(type=EventType.RUN_RESUMED, time=start + 2, **named)], [ended]]
        case 4:  # resumed, and going on
            return [[began, ended], [Event(type=EventType.RUN_RESUMED, time=start + lasted + 1, **named)]]
        case _:
            return [[began], [ended]]


@pytest.fixture
async def many(history: History) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    inserts = [insert for number in range(100) for insert in life(chance, number)]
    first, second = (
        [events for n, events in enumerate(inserts) if n % 2],
        [events for n, events in enumerate(inserts) if not n % 2],
    )
    for number, part in enumerate((first, second)):
        for start in range(0, len(part), 40):
            events = [event for some in part[start : start + 40] for event in some]
            await history.insert(Batch(seq=0, events=events), f"{number}-{start}")


async def walked(history: History, wanted: RunFilter, limit: int) -> list[str]:
    """Return all pages' runs."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = await history.list_runs(wanted, cursor, limit)
        found += [run.id for run in page.items]
        cursor = page.cursor
        if cursor is None:
            return found


def _plainly(handle: Any, wanted: RunFilter, *, limit: int, **given: int) -> walks.Walk:
    """Walk through all runs, whatever is wanted."""
    return walks.Walk(handle, wanted, portion=limit, **given)


@pytest.mark.usefixtures("many")
async def test_the_short_ways_list_what_all_runs_list(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [RunFilter(**fields) for fields in FILTERS]
    with monkeypatch.context() as plain:
        plain.setattr(walks, "walk", _plainly)
        expected = [await walked(history, one, 1000) for one in wanted]
    assert all(expected), "a filter that finds nothing shows nothing"
    for portion, budget, scanned, limit in ((64, 100_000, 1_000, 1000), (4, 100_000, 50, 11), (2, 40, 20, 9)):
        monkeypatch.setattr(walks, "PORTION", portion)
        monkeypatch.setattr(walks, "BUDGET", budget)
        monkeypatch.setattr(walks, "SCANNED", scanned)
        monkeypatch.setattr(walks, "SIFTED", scanned)
        for one, runs in zip(wanted, expected, strict=True):
            assert await walked(history, one, limit) == runs, (portion, one)


async def test_runs_of_before_are_found_after_the_tables_came(history: History, ask: Any) -> None:
    ask("DROP VIEW stagelight_run_endings_mv")
    named: dict[str, Any] = {"run_id": "old", "workflow": "w"}
    ended = Event(type=EventType.RUN_FAILED, time=NOW + 5, error=Failure(type="E", message="m"), **named)
    await history.insert(
        Batch(seq=0, events=[Event(type=EventType.RUN_STARTED, time=NOW, **named), ended]), "t"
    )
    assert await walked(history, RunFilter(status=RunStatus.FAILED), 5) == []
    from stagelight_collector.history import schema  # noqa: PLC0415 - one test's

    for statement in schema.MIGRATIONS[1]()[-2:]:
        ask(statement)
    assert await walked(history, RunFilter(status=RunStatus.FAILED), 5) == ["old"]
