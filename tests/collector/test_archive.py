"""What was acknowledged ends in history exactly once, whatever happens on the way."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from stagelight.conventions import EventType
from stagelight.events import Event
from stagelight_collector import archive as archive_module
from stagelight_collector.archive import ArchiveStopped
from stagelight_collector.attribution import PATIENCE_NS
from stagelight_collector.decode.spans import Spans
from stagelight_collector.history import HistoryError, open_history
from stagelight_collector.journal import Entry, JournalUnavailable, Signal
from stagelight_collector.journal.file import JournalFile
from stagelight_collector.pipeline import decode
from stagelight_collector.refusals import BLOCK, Refusals
from stagelight_collector.shelf import DAY_NS, Shelf, days, share
from stagelight_plugins.hookspecs import Batch

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    from stagelight_collector.decode import Decoded

PUBLISHED = Event(type=EventType.RUN_STARTED, run_id="mine", time=1)
TRACE = f"{1:032x}"


def poison(batch: Batch) -> HistoryError | None:
    """Refuse batches that hold a certain row or event."""
    rows = "poison" in batch.logs.get("Body", ())
    if rows or any(event.run_id == "poison" for event in batch.events):
        return HistoryError("that does not go in")
    return None


# --- what waits for its run ---------------------------------------------------------------------------------------


async def test_history_goes_on_when_the_last_that_waited_were_log_lines(house: Any) -> None:
    looked: list[object] = []
    unfinished = house.journal.unfinished

    async def looking() -> object:
        looked.append(found := await unfinished())
        return found

    house.journal.unfinished = looking
    await house.send(house.line("hello"))
    async with house.running("archive"):
        await house.until(lambda: looked)
        assert house.journal.entries == 1
        house.now += PATIENCE_NS
        await house.pipeline.expire()
        await house.until_archived()

    assert house.memory.bodies == ["hello"]


async def test_an_expired_step_goes_in_with_its_own_entry(house: Any) -> None:
    await house.send(house.step("load"), house.line("later", trace=2))
    house.now += PATIENCE_NS
    await house.pipeline.expire()
    house.journal.commit = fails_once(house.journal.commit)
    with pytest.raises(JournalUnavailable):
        await house.archive.drain()

    assert house.memory.events == [(TRACE, "step_started")]


async def test_an_event_that_found_its_run_later_goes_in_with_its_own_entry(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "MAX_ROWS", 1)
    await house.send(house.step("load"), house.started("r"))
    await house.archive.drain()

    assert [[(e.run_id, e.type) for e in batch.events] for batch in house.memory.batches] == [
        [("r", EventType.STEP_STARTED)],
        [("r", EventType.RUN_STARTED)],
    ]


async def test_an_entry_of_which_an_event_waits_does_not_go_in(house: Any) -> None:
    await house.send(house.line("before", trace=0), house.step("load"), house.line("after", trace=0))
    await house.archive.drain()

    assert house.memory.bodies == ["before"]
    assert house.journal.entries == 2


async def test_what_is_not_kept_in_memory_is_decoded_again_with_its_run(house: Any) -> None:
    house.archive.shelf = Shelf(max_bytes=0)
    await house.send(
        house.step("load"), house.line("hello"), house.started("r"), house.step("alone", trace=2)
    )
    house.now += PATIENCE_NS
    await house.pipeline.expire()
    await house.archive.drain()

    assert house.memory.events == [
        ("r", "step_started"),
        ("r", "log"),
        ("r", "run_started"),
        (f"{2:032x}", "step_started"),
    ]


# --- errors of the journal and of history -------------------------------------------------------------------------


def fails_once(method: Any) -> Any:
    """Return the method, which fails the first time."""
    errors = [JournalUnavailable("journal", "disk I/O error")]  # type: ignore[arg-type]

    async def call(*arguments: Any) -> Any:
        if errors:
            raise errors.pop()
        return await method(*arguments)

    return call


@pytest.mark.parametrize("operation", ["unfinished", "read", "plan", "commit"])
async def test_an_error_of_the_journal_loses_nothing(house: Any, operation: str) -> None:
    await house.send(house.line("hello", trace=0))
    setattr(house.journal, operation, fails_once(getattr(house.journal, operation)))
    async with house.running("archive"):
        published = asyncio.ensure_future(house.archive.store([PUBLISHED]))
        await house.until_archived()
        async with asyncio.timeout(10):
            await published
        await house.until(lambda: not house.archive.problem)

    assert ("mine", "run_started") in house.memory.events
    assert "hello" in house.memory.bodies


async def test_any_exception_is_a_problem_that_passes(house: Any) -> None:
    house.memory.faults = [RuntimeError("out of luck"), HistoryError("down", retryable=True)]
    problems: list[str] = []

    def watch(_batch: Batch) -> None:
        problems.append(house.archive.problem)

    house.memory.watch = watch
    await house.send(house.line("hello", trace=0))
    async with house.running("archive"):
        await house.until_archived()
        await house.until(lambda: not house.archive.problem)

    assert house.memory.bodies == ["hello"]
    assert "out of luck" in problems[1]
    assert "down" in problems[2]


async def test_one_refused_request_does_not_take_the_others_down(house: Any) -> None:
    house.memory.refuses = poison
    await house.send(*(house.line(body, trace=0) for body in ("a", "poison", "b")))
    (_, bad, _) = await house.journal.read(house.journal.committed)
    await house.archive.drain()

    assert house.memory.bodies == ["a", "b"]
    assert house.set_aside == [f"{bad.seq}-logs.pb"]
    assert (house.archive.refused, house.journal.entries) == (1, 0)


async def test_an_undecodable_request_is_set_aside_when_its_turn_comes(house: Any) -> None:
    entry = await house.journal.append(Signal.LOGS, b"\xff\xff", house.now)
    await house.pipeline.replay()
    await house.archive.drain()

    assert house.set_aside == [f"{entry.seq}-logs.pb"]
    assert (house.pipeline.undecodable, house.journal.entries) == (1, 0)


async def test_what_cannot_be_set_aside_stays_in_the_journal(house: Any) -> None:
    (house.path / "refused").write_text("in the way")
    house.memory.refuses = poison
    await house.send(house.line("poison", trace=0))
    async with house.running("archive"):
        await house.until(lambda: house.archive.problem)
        assert (house.journal.entries, house.archive.refused) == (1, 0)
        (house.path / "refused").unlink()
        await house.until_archived()
        await house.until(lambda: not house.archive.problem)

    assert house.archive.refused == 1


def test_what_is_set_aside_is_bounded_and_room_that_is_made_is_used(tmp_path: Path) -> None:
    refusals = Refusals(tmp_path / "refused", max_bytes=2 * BLOCK)
    entries = [Entry(seq, Signal.LOGS, 0, b"x") for seq in range(4)]
    for entry in entries[:3]:
        refusals.keep(entry)
    assert (refusals.kept, refusals.dropped) == (2, 1)

    (tmp_path / "refused" / "0-logs.pb").unlink()
    refusals.keep(entries[3])
    assert sorted(file.name for file in (tmp_path / "refused").iterdir()) == ["1-logs.pb", "3-logs.pb"]


# --- events outside the journal -----------------------------------------------------------------------------------


async def test_a_refusal_for_good_reaches_only_whoever_published_it(house: Any) -> None:
    house.memory.refuses = poison
    bad = Event(type=EventType.RUN_STARTED, run_id="poison", time=1)
    async with house.running("archive"):
        good = asyncio.ensure_future(house.pipeline.publish([PUBLISHED]))
        with pytest.raises(HistoryError):
            await house.pipeline.publish([bad])
        await good

    assert (house.archive.turned_away, house.memory.events) == (1, [("mine", "run_started")])


async def test_who_waits_when_the_archive_stops_is_told(house: Any) -> None:
    house.memory.faults = [HistoryError("down", retryable=True)] * 1_000_000
    async with house.running("archive"):
        waiting = asyncio.ensure_future(house.archive.store([PUBLISHED]))
        await house.until(lambda: house.archive.retries)

    with pytest.raises(ArchiveStopped):
        await waiting
    with pytest.raises(ArchiveStopped):
        await house.archive.store([PUBLISHED])


# --- how long a batch gathers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("took", "gathered"), [(0.01, 1.0), (0.15, 3.0), (20.0, 5.0)])
async def test_a_batch_gathers_twenty_times_as_long_as_the_last_one_took(
    house: Any, took: float, gathered: float
) -> None:
    def insert(_batch: Batch) -> None:
        house.elapsed += took

    house.memory.watch = insert
    async with house.running():
        for number in range(2):
            house.slept.clear()
            await house.pipeline.ingest(Signal.LOGS, *_sent(house.line(f"line {number}", trace=0)))
            await house.until_archived()

    assert sum(house.slept) == pytest.approx(gathered)
    assert max(house.slept) <= 1
    assert house.memory.bodies == ["line 0", "line 1"]


@pytest.mark.parametrize("made", ["nothing", "events", "logs", "rest", "columns"])
async def test_twice_as_much_goes_in_at_once_of_what_is_left_to_the_engine(
    house: Any, monkeypatch: pytest.MonkeyPatch, made: str
) -> None:
    row = {"Timestamp": [1]}
    one = Batch(
        seq=0,
        events=[PUBLISHED] if made == "events" else [],
        traces=Spans([b""], 10, row if made == "rest" else {}),
        logs=row if made == "logs" else {},
    )
    assert share(one, 10) == (5 if made in {"nothing", "columns"} else 10)

    def got(_shelf: Shelf, _seq: int) -> tuple[Batch, int]:
        return one, 1

    assert share(Batch(seq=0, events=[], traces=Spans([b""], 1, {})), 1) == 1
    house.memory.decodes_spans = made != "columns"

    monkeypatch.setattr(archive_module, "MAX_ROWS", 10)
    monkeypatch.setattr(Shelf, "get", got)
    await house.send(*[house.line(str(number), trace=0) for number in range(5)])
    await house.archive.drain()

    assert len(house.memory.batches) == (3 if made == "nothing" else 5)


@pytest.mark.parametrize(("decodes", "size"), [(False, 500), (True, 1_000)])
async def test_a_batch_that_is_full_gathers_no_longer(
    house: Any, monkeypatch: pytest.MonkeyPatch, decodes: bool, size: int
) -> None:
    def insert(_batch: Batch) -> None:
        house.elapsed += 20

    house.memory.watch, house.memory.decodes_spans = insert, decodes
    monkeypatch.setattr(archive_module, "MAX_BYTES", 500)
    async with house.running():
        for number in range(2):
            house.slept.clear()
            await house.pipeline.ingest(Signal.LOGS, *_sent(house.line("x" * size + str(number), trace=0)))
            await house.until_archived()

    assert house.slept == [1.0]


def _sent(request: ExportLogsServiceRequest) -> tuple[bytes, ExportLogsServiceRequest]:
    return request.SerializeToString(), request


@pytest.mark.parametrize("reason", ["rows", "overflowed", "waited for"])
async def test_a_batch_gathers_no_longer_when(
    house: Any, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    def insert(_batch: Batch) -> None:
        house.elapsed += 20

    house.memory.watch = insert
    async with house.running():
        for number in range(2):
            house.slept.clear()
            if number and reason == "rows":
                monkeypatch.setattr(archive_module, "MAX_ROWS", 1)
            elif number and reason == "overflowed":
                house.archive.shelf.max_rows = 0
            elif number:
                await house.archive.store([PUBLISHED])
                break
            await house.pipeline.ingest(Signal.LOGS, *_sent(house.line(str(number), trace=0)))
            await house.until_archived()

    assert house.slept == [1.0]


async def test_what_a_failure_cost_does_not_make_the_next_batch_gather_longer(house: Any) -> None:
    house.memory.faults = [HistoryError("away", retryable=True)] * 3
    async with house.running():
        for number in range(2):
            house.slept.clear()
            await house.pipeline.ingest(Signal.LOGS, *_sent(house.line(str(number), trace=0)))
            await house.until_archived()

    assert house.slept == [1.0]


# --- a damaged journal --------------------------------------------------------------------------------------------


def _lose(house: Any, seq: int) -> None:
    """Take an entry out of the journal, which finds itself damaged."""
    with closing(sqlite3.connect(house.path / "journal.sqlite")) as db, db:
        db.execute("DELETE FROM entries WHERE seq = ?", (seq,))
    house.journal._file.damaged = True  # noqa: SLF001 - as it says itself when a page is broken


async def test_history_gets_what_is_left_of_a_journal_that_lost_its_end(house: Any) -> None:
    await house.send(*(house.line(f"line {number}", trace=0) for number in range(3)))
    _lose(house, house.journal.tail)
    await house.archive.drain()
    assert house.memory.bodies == ["line 0", "line 1"]
    await house.send(house.line("later", trace=0))
    await house.archive.drain()
    assert house.memory.bodies == ["line 0", "line 1", "line 2", "later"]  # the third was still at hand


async def test_nothing_else_is_set_aside_for_what_the_journal_lost(
    house: Any, caplog: pytest.LogCaptureFixture
) -> None:
    await house.send(*(house.line(text, trace=0) for text in ("good", "poison", "fine")))
    _lose(house, house.journal.committed + 2)
    house.memory.refuses = poison
    await house.archive.drain()
    assert house.memory.bodies == ["good", "fine"]
    assert house.set_aside == []
    assert "no longer in the journal: it is lost" in caplog.text


# --- what only the engine's decoder does not take ----------------------------------------------------------------------


async def test_one_request_that_the_engine_cannot_decode_does_not_send_the_others_in_one_by_one(
    house: Any,
) -> None:
    def only_columns(batch: Batch) -> HistoryError | None:
        odd = isinstance(batch.traces, Spans) and bool(batch.traces.bodies)
        return HistoryError("that cannot be decoded") if odd else None

    house.memory.refuses = only_columns
    async with house.running("pipeline"):
        for number in range(5):
            request = ExportTraceServiceRequest()
            request.resource_spans.add().scope_spans.add().spans.add(
                name=f"span {number}", span_id=b"12345678"
            )
            await house.pipeline.ingest(Signal.TRACES, request.SerializeToString(), request)
        await house.pipeline.drain()
    await house.archive.drain()

    (batch,) = house.memory.batches
    assert list(batch.traces["SpanName"]) == [f"span {number}" for number in range(5)]
    assert house.archive.refused == 0


# --- gathered from where ----------------------------------------------------------------------------------------------


async def test_only_what_was_not_kept_is_read_from_the_journal(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    reading = house.journal.read

    async def noting(after: int, limit_bytes: int) -> list[Entry]:
        entries: list[Entry] = await reading(after, limit_bytes)
        read.extend(entry.seq for entry in entries)
        return entries

    monkeypatch.setattr(house.journal, "read", noting)
    await house.send(*(house.line(f"line {number}", trace=0) for number in range(3)))
    await house.archive.drain()
    assert read == []

    house.archive.shelf = Shelf(max_bytes=70)
    lines = ["a", "x" * 100, "b"]  # the second does not fit
    await house.send(*(house.line(text, trace=0) for text in lines))
    await house.archive.drain()
    assert len(read) == 2  # from the second on
    assert house.memory.bodies == ["line 0", "line 1", "line 2", *lines]


# --- bounds -------------------------------------------------------------------------------------------------------


def test_the_shelf_is_bounded_in_bytes_and_rows() -> None:
    shelf = Shelf(max_bytes=10, max_rows=3)
    shelf.put(Batch(seq=1, events=[PUBLISHED] * 2), 5)
    shelf.put(Batch(seq=2, events=[PUBLISHED] * 2), 1)
    shelf.put(Batch(seq=3, events=[PUBLISHED]), 6)
    shelf.put(Batch(seq=4, events=[PUBLISHED]), 5)
    assert [seq for seq in range(5) if shelf.get(seq)] == [1, 4]

    shelf.drop(1)
    shelf.put(Batch(seq=5, events=[PUBLISHED] * 2), 5)
    assert [seq for seq in range(6) if shelf.get(seq)] == [4, 5]


async def test_a_large_request_is_decoded_again_in_a_thread(house: Any) -> None:
    threads: list[bool] = []

    def noting(entry: Entry) -> Decoded:
        threads.append(threading.current_thread() is threading.main_thread())
        return decode(entry)

    house.archive.decode = noting
    house.archive.shelf = Shelf(max_bytes=0)
    await house.send(house.line("x" * 100_000, trace=0), house.line("small", trace=0))
    await house.archive.drain()

    assert threads == [False, True]


async def test_one_insert_has_rows_of_few_days(house: Any) -> None:
    await house.send(*(house.line("x", trace=0, time=day * DAY_NS) for day in range(1, 101)))
    await house.archive.drain()

    assert [len(days(batch)) for batch in house.memory.batches] == [90, 10]


async def test_requests_of_more_days_than_one_insert_may_have_all_go_in(
    make_house: Any, tmp_path: Path
) -> None:
    history = await open_history("chdb://", data_dir=tmp_path)
    try:
        async with make_house(history) as house:
            lines = [house.line("x", trace=0, time=(20_000 + day) * DAY_NS) for day in range(120)]
            whole = house.line("whole", trace=0, time=20_000 * DAY_NS)
            for day in range(120):
                whole.MergeFrom(house.line("y", trace=0, time=(20_000 + day) * DAY_NS))
            await house.send(*lines, whole)
            await house.archive.drain()
            status = await history.status()
            assert (house.set_aside, house.journal.entries) == ([], 0)
    finally:
        await history.close()

    assert next(table.rows for table in status.tables if table.name == "otel_logs") == 241


async def test_a_batch_that_left_the_journal_in_part_is_in_history_once(
    make_house: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stagelight_collector.journal.file.PORTION_BYTES", 1)
    delete, turns = JournalFile.commit, iter(range(1_000))

    def commit(file: JournalFile, last: int) -> bool:
        if next(turns) == 2:
            raise sqlite3.OperationalError("disk I/O error")
        return delete(file, last)

    monkeypatch.setattr(JournalFile, "commit", commit)
    history = await open_history("chdb://", data_dir=tmp_path)
    try:
        async with make_house(history) as house:
            await house.send(*(house.line(f"line {number}", trace=0) for number in range(6)))
            with pytest.raises(JournalUnavailable):
                await house.archive.drain()
            assert house.journal.entries == 4
            await house.archive.drain()
            assert house.journal.entries == 0
            status = await history.status()
    finally:
        await history.close()

    assert next(table.rows for table in status.tables if table.name == "otel_logs") == 6
