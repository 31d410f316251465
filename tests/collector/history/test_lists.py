"""The list of runs: filters, order, cursors, bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stagelight.conventions import EventType, RunStatus, StepStatus
from stagelight.events import Event, Failure
from stagelight_collector.history import BadCursor, RunFilter, bounded, reader, walks

if TYPE_CHECKING:
    from stagelight_collector.history import History

SECOND = 1_000_000_000
NOW = 1_764_000_000 * SECOND

Put = Any


def started(run_id: str, second: float = 0, **fields: Any) -> Event:
    """Make the start of a run."""
    time = NOW + int(second * SECOND)
    named: dict[str, Any] = {"workflow": "etl", **fields}
    return Event(type=EventType.RUN_STARTED, run_id=run_id, time=time, **named)


def ended(run_id: str, second: float, kind: EventType = EventType.RUN_COMPLETED, **fields: Any) -> Event:
    """Make the end of a run."""
    return Event(type=kind, run_id=run_id, time=NOW + int(second * SECOND), **fields)


async def listed(history: History, limit: int = 50, **wanted: Any) -> list[str]:
    """Return the ids of all pages."""
    ids: list[str] = []
    cursor = None
    for _ in range(1_000):
        page = await history.list_runs(RunFilter(**wanted), cursor, limit)
        assert len(page.items) <= limit
        ids += [run.id for run in page.items]
        cursor = page.cursor
        if cursor is None:
            return ids
    pytest.fail("the listing does not end")


async def test_runs_are_listed_newest_first_and_those_of_one_moment_by_id(history: History, put: Put) -> None:
    await put(started("a", 5), started("c", 5), started("b", 5), started("old", -3600), started("new", 7200))
    assert await listed(history) == ["new", "c", "b", "a", "old"]
    assert await listed(history, limit=1) == ["new", "c", "b", "a", "old"]


async def test_a_run_is_listed_once_at_its_start_however_long_it_is_heard_of(
    history: History, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walks, "PORTION", 2)
    await put(ended("long", 90), started("other", 50))
    await put(
        *[Event(type=EventType.PROGRESS, run_id="long", time=NOW + s * SECOND) for s in range(5, 80, 5)]
    )
    await put(started("long", 0))
    assert await listed(history, limit=1) == ["other", "long"]


@pytest.fixture
async def some(put: Put) -> None:
    """Runs of two workflows in different states."""
    await put(
        started("r1", 1, service="billing"),
        ended("r1", 2),
        started("r2", 3, workflow="import"),
        ended(
            "r2", 4, EventType.RUN_FAILED, error=Failure(type="ValueError", message="Äpfel are 100%_bad\\")
        ),
        started("r3", 5),
        Event(type=EventType.RUN_WAITING, run_id="r3", time=NOW + 6 * SECOND),
        Event(
            type=EventType.RUN_QUEUED,
            run_id="R4",
            time=NOW + 60 * SECOND,
            workflow="import",
            service="billing",
        ),
    )


@pytest.mark.usefixtures("some")
@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ({}, ["R4", "r3", "r2", "r1"]),
        ({"workflow": "import"}, ["R4", "r2"]),
        ({"workflow": "impor"}, []),
        ({"service": "billing"}, ["R4", "r1"]),
        ({"status": RunStatus.FAILED}, ["r2"]),
        ({"status": RunStatus.QUEUED}, ["R4"]),
        ({"status": RunStatus.WAITING, "workflow": "etl"}, ["r3"]),
        ({"since": NOW + 5 * SECOND}, ["R4", "r3"]),
        ({"until": NOW + 5 * SECOND}, ["r2", "r1"]),
        ({"since": NOW + 3 * SECOND, "until": NOW + 60 * SECOND}, ["r3", "r2"]),
        ({"since": NOW + 4 * SECOND, "until": NOW + SECOND}, []),
        ({"since": -5, "until": -1}, []),
        ({"q": "r4"}, ["R4"]),
        ({"q": "IMP"}, ["R4", "r2"]),
        ({"q": "äpfel"}, ["r2"]),
        ({"q": "100%_bad\\"}, ["r2"]),
        ({"q": "100_"}, []),
    ],
)
async def test_each_filter_lists_what_it_says(
    history: History, wanted: dict[str, Any], ids: list[str]
) -> None:
    assert await listed(history, **wanted) == ids
    assert await listed(history, limit=1, **wanted) == ids


HOSTILE = [
    "' OR 1=1 --", "'; DROP TABLE stagelight_events; --", "\\' OR '1'='1", "{q:String}", "{nope:Int64}", "%", "_", "\\",
    "\\\\", "\t", "\n", "\r\n", "\x00", '"', "`", "$$", "%s", "%(q)s", ")) UNION ALL SELECT", "/*", "*/", "--", "\\N", "\\x41",
    "😀", "\ud800", "a" * 10_000, "Ω≈ç", "0x41", "NULL", "[]", "') FORMAT JSON", "; SET readonly=0",
]  # fmt: skip


@pytest.mark.usefixtures("some")
@pytest.mark.parametrize("name", ["workflow", "service", "q"])
async def test_hostile_text_is_only_text(history: History, name: str) -> None:
    for text in HOSTILE:
        wanted: dict[str, Any] = {name: text}
        page = await history.list_runs(RunFilter(**wanted))
        matched = (
            [run for run in page.items if text in (run.error.message if run.error else "")]
            if name == "q"
            else []
        )
        assert list(page.items) == matched, text
        assert (await history.run(text), (await history.run_events(text)).items) == (None, [])
        assert await history.run_spans(text) == []
    assert len(await listed(history)) == 4


async def test_names_made_of_hostile_text_are_found_again(history: History, put: Put) -> None:
    names = [text for text in HOSTILE if text.isprintable() or text.isascii()]
    await put(*[started(f"r{n}", n, workflow=name) for n, name in enumerate(names)])
    for number, name in enumerate(names):
        assert await listed(history, workflow=name) == [f"r{number}"], name


async def test_runs_whose_ids_are_hostile_text_are_listed(history: History, put: Put) -> None:
    ids = [text for text in HOSTILE if text.isprintable() or text.isascii()]
    await put(*[started(run_id, n) for n, run_id in enumerate(ids)])
    await put(
        *[
            Event(type=EventType.STEP_STARTED, run_id=run_id, time=NOW, step_id="s", step_name="s")
            for run_id in ids
        ]
    )
    for limit in (50, 7):
        assert await listed(history, limit=limit) == ids[::-1]
    runs = (await history.list_runs(RunFilter())).items
    assert {run.id: run.steps for run in runs} == {run_id: {StepStatus.RUNNING: 1} for run_id in ids}


async def test_ids_that_are_too_long_for_one_parameter_are_asked_for_in_parts(
    history: History, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []

    def ask(handle: Any, query: str, **parameters: Any) -> Any:
        sent.extend(sum(map(len, parameters[name])) for name in ("ids", "run_ids") if name in parameters)
        return bounded.ask(handle, query, **parameters)

    monkeypatch.setattr(reader, "ask", ask)
    ids = [f"{number:02}" + "x" * 8_000 for number in range(12)]
    await put(*[started(run_id, n) for n, run_id in enumerate(ids)])
    for few in (ids[-4:], ids):
        page = await history.list_runs(RunFilter(), None, len(few))
        assert [run.id for run in page.items] == few[::-1]
    assert 0 < max(sent) <= bounded.PARAMETER_BYTES


async def test_a_cursor_stays_true_while_runs_arrive(history: History, put: Put) -> None:
    await put(*[started(f"a{n:02}", n * 7) for n in range(20)])
    seen: list[str] = []
    cursor = None
    for number in range(20):
        page = await history.list_runs(RunFilter(), cursor, 3)
        seen += [run.id for run in page.items]
        await put(
            started(f"new{number}", 1000 + number), started(f"old{number}", -1000 - number), ended("a03", 500)
        )
        cursor = page.cursor
        if cursor is None or len(seen) >= 20:
            break
    assert seen[:20] == [f"a{n:02}" for n in reversed(range(20))]


@pytest.mark.parametrize(
    "cursor", ["x", "é", "W10", "bnVsbA", "WyJhIiwxXQ", "WzEsMl0", "[" * 5000, "Wy0xLCIiXQ"]
)
async def test_a_made_up_cursor_is_refused(history: History, cursor: str) -> None:
    with pytest.raises(BadCursor):
        await history.list_runs(RunFilter(), cursor)
    with pytest.raises(BadCursor):
        await history.run_events("r", cursor=cursor)


async def test_a_filter_that_matches_little_searches_in_bounded_portions(
    history: History, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walks, "PORTION", 2)
    for bound in ("BUDGET", "SCANNED", "SIFTED"):
        monkeypatch.setattr(walks, bound, 50)
    await put(*[started(f"r{n:03}", n * 10) for n in range(100)], ended("r001", 11, EventType.RUN_FAILED))

    first = await history.list_runs(RunFilter(q="r001"), None, 5)

    assert (list(first.items), first.cursor is None) == ([], False)
    assert await listed(history, limit=5, q="r001") == ["r001"]
    assert len(await listed(history, limit=5, status=RunStatus.RUNNING)) == 99
    assert [
        run.id for run in (await history.list_runs(RunFilter(status=RunStatus.FAILED), None, 5)).items
    ] == ["r001"]
    assert await listed(history, limit=5, status=RunStatus.FAILED) == ["r001"]
    sevens = [f"r{n:03}" for n in reversed(range(100)) if "7" in str(n)]
    assert await listed(history, limit=5, q="7") == sevens
    assert await listed(history, limit=7) == [f"r{n:03}" for n in reversed(range(100))]


async def test_a_record_counts_the_steps_by_status(history: History, put: Put) -> None:
    await put(
        started("r"),
        Event(type=EventType.STEP_STARTED, run_id="r", time=NOW, step_id="a", attempt=1),
        Event(type=EventType.STEP_STARTED, run_id="r", time=NOW, step_id="b", attempt=1),
        Event(type=EventType.STEP_COMPLETED, run_id="r", time=NOW + 1, step_id="b", attempt=1),
    )
    (record,) = (await history.list_runs(RunFilter())).items
    assert record.steps == {StepStatus.RUNNING: 1, StepStatus.COMPLETED: 1}


# --- after a restart ----------------------------------------------------------------------------------------------


async def test_workflows_are_counted(history: History, put: Put) -> None:
    await put(
        started("a", 0),
        started("b", 1),
        ended("b", 2, EventType.RUN_FAILED),
        started("c", 3, workflow="import"),
    )
    rows = [(w.name, w.runs, w.running, w.failed, w.last_started) for w in await history.workflows()]
    assert rows == [("import", 1, 1, 0, NOW + 3 * SECOND), ("etl", 2, 1, 1, NOW + SECOND)]


async def test_a_trace_leads_to_its_run_and_not_to_a_child(history: History, put: Put) -> None:
    await put(
        started("parent", 0, trace_id="t1"),
        started("child", 1, trace_id="t1", parent_run_id="parent"),
        started("other", 30, trace_id="t2"),
    )
    assert await history.trace_runs(0, 10) == {"t1": "parent", "t2": "other"}
    assert list(await history.trace_runs(0, 10)) == ["t1", "t2"]
    assert await history.trace_runs(NOW + 29 * SECOND, 10) == {"t2": "other"}


async def test_questions_to_an_empty_history_have_empty_answers(history: History) -> None:
    assert await listed(history) == []
    assert (await history.workflows(), await history.trace_runs(0, 5)) == ([], {})
    status = await history.status()
    assert status.oldest is None


async def test_status_tells_size_and_age(history: History, put: Put) -> None:
    await put(started("a", 0), started("b", -5))
    status = await history.status()
    events = next(table for table in status.tables if table.name == "stagelight_events")
    assert (events.rows, events.parts, events.oldest) == (2, 1, NOW - 5 * SECOND)
    assert status.bytes > 0
    assert status.rows >= 2
    assert status.parts >= 1
    assert "chdb" in status.engine
