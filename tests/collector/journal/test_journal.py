"""What the journal promises while the disk behaves."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from stagelight_collector.journal import (
    Journal,
    JournalClosed,
    JournalFull,
    JournalLocked,
    JournalUnavailable,
    Plan,
    Signal,
)
from stagelight_collector.journal.file import (
    ENTRY_OVERHEAD,
    PORTION_BYTES,
    SEEN_LIMIT,
    SEEN_NS,
    Arrival,
    JournalFile,
)
from stagelight_collector.journal.reader import Reader
from stagelight_collector.journal.schema import CHECKPOINT_BYTES, PAGE_BYTES, connect_writer

if TYPE_CHECKING:
    from pathlib import Path

    Opened = Any  # the fixtures' types live in conftest, which tests cannot import in importlib mode
    Everything = Any


async def _fill(journal: Journal, count: int, prefix: str = "body") -> list[int]:
    entries = await asyncio.gather(
        *(journal.append(Signal.LOGS, f"{prefix}-{number}".encode(), number) for number in range(count))
    )
    return [entry.seq for entry in entries if entry is not None]


async def test_entries_come_back_whole_and_in_order(opened: Opened, everything: Everything) -> None:
    async with opened() as journal:
        first = await journal.append(Signal.TRACES, b"\x00\xff" * 5000, 17)
        second = await journal.append(Signal.LOGS, b"", 18)
        assert await everything(journal) == [first, second]
        assert (first.signal, first.received, first.body) == (Signal.TRACES, 17, b"\x00\xff" * 5000)
        assert second.seq == first.seq + 1 == journal.tail
        assert (journal.entries, journal.bytes) == (2, 10_000 + 2 * ENTRY_OVERHEAD)


async def test_what_was_appended_together_shares_one_transaction(opened: Opened) -> None:
    async with opened() as journal:
        seqs = await _fill(journal, 200)
        assert seqs == list(range(seqs[0], seqs[0] + 200))
        assert journal.counters.appended == 200
        # The first may go alone; the others wait for it and then go together.
        assert journal.counters.groups <= 2


async def test_reading_stops_past_the_limit_but_gives_at_least_one(opened: Opened) -> None:
    async with opened() as journal:
        for letter in b"abc":
            await journal.append(Signal.LOGS, bytes([letter]) * 100, 0)
        start = journal.committed
        assert [entry.body[:1] for entry in await journal.read(start, limit_bytes=200)] == [b"a", b"b"]
        assert [entry.body[:1] for entry in await journal.read(start, limit_bytes=1)] == [b"a"]
        assert await journal.read(journal.tail) == []


async def test_numbers_are_never_used_twice(opened: Opened) -> None:
    async with opened() as journal:
        seqs = await _fill(journal, 3)
        await journal.commit(seqs[-1])
        assert (journal.entries, journal.bytes) == (0, 0)
    async with opened() as journal:
        assert journal.committed == journal.tail == seqs[-1]
        assert await _fill(journal, 1, "again") == [seqs[-1] + 1]


async def test_numbers_rise_even_when_the_file_is_lost(opened: Opened, path: Path, clock: Any) -> None:
    async with opened() as journal:
        (before,) = await _fill(journal, 1)
    path.unlink()  # noqa: ASYNC240 # this loop is the test's own
    clock.now += 10**9
    async with opened() as journal:
        (after,) = await _fill(journal, 1)
    assert after > before


async def test_a_repetition_is_recognised_also_after_its_entry_went_to_history(opened: Opened) -> None:
    async with opened() as journal:
        entry = await journal.append(Signal.TRACES, b"same", 1)
        assert await journal.append(Signal.TRACES, b"same", 2) is None
        assert await journal.append(Signal.LOGS, b"same", 2) is not None
        await journal.commit(entry.seq)
    async with opened() as journal:
        assert await journal.append(Signal.TRACES, b"same", 3) is None
        assert journal.counters.duplicates == 1


async def test_of_the_same_bytes_at_once_one_is_stored_and_all_wait_for_it(opened: Opened) -> None:
    async with opened() as journal:
        stored = await asyncio.gather(*(journal.append(Signal.LOGS, b"same", i) for i in range(50)))
        assert sum(entry is not None for entry in stored) == 1
        assert journal.entries == 1


async def test_digests_are_forgotten_after_ten_minutes(opened: Opened, clock: Any) -> None:
    async with opened() as journal:
        await journal.append(Signal.LOGS, b"same", 0)
        clock.now += SEEN_NS
        assert await journal.append(Signal.LOGS, b"same", 0) is None
        clock.now += 1
        assert await journal.append(Signal.LOGS, b"same", 0) is not None


def test_all_digests_of_a_second_are_forgotten_together(path: Path, clock: Any) -> None:
    file = JournalFile(path, Reader(path), clock=clock)
    file.open()

    def append(*numbers: int) -> int:
        file.append([Arrival(Signal.LOGS, number.to_bytes(4), 0) for number in numbers])
        with closing(sqlite3.connect(path)) as db:
            return int(db.execute("SELECT count(*) FROM seen").fetchone()[0])

    try:
        append(0)
        assert append(*range(1, 500)) == 500
        clock.now += SEEN_NS + 1
        assert append(500) == 1
        clock.now -= SEEN_NS  # the clock is set back: what is remembered stays bounded all the same
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("stagelight_collector.journal.file.SEEN_LIMIT", 20)
            for number in range(501, 600):
                append(number)
                clock.now += 10**8
            clock.now += 10**9
            assert append(600) <= 21
    finally:
        file.close()


def test_digests_are_bounded_in_number(path: Path, clock: Any) -> None:
    file = JournalFile(path, Reader(path), clock=clock)
    file.open()
    try:
        arrivals = [Arrival(Signal.LOGS, number.to_bytes(4), 0) for number in range(SEEN_LIMIT + 500)]
        file.append(arrivals)
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("SELECT count(*) FROM seen").fetchone() == (SEEN_LIMIT,)
        assert file.append(arrivals[-1:]) == [None]
        assert file.append(arrivals[:1]) != [None]
    finally:
        file.close()


async def test_full_refuses_until_history_takes_some(opened: Opened) -> None:
    async with opened(capacity_bytes=10 * (ENTRY_OVERHEAD + 10)) as journal:
        results = await asyncio.gather(
            *(journal.append(Signal.LOGS, f"{n:010}".encode(), 0) for n in range(14)), return_exceptions=True
        )
        assert [isinstance(result, JournalFull) for result in results] == [False] * 10 + [True] * 4
        assert isinstance(results[-1], JournalFull)
        assert results[-1].retry_after == 1
        assert journal.counters.refused_full == 4
        await journal.commit(journal.committed + 3)
        await _fill(journal, 3, "x")


async def test_a_plan_has_the_same_borders_until_it_is_committed(opened: Opened) -> None:
    async with opened() as journal:
        seqs = await _fill(journal, 5)
        assert await journal.unfinished() is None
        plan = await journal.plan(seqs[2])
        assert plan == Plan(seqs[0], seqs[2])
        assert await journal.plan(seqs[4]) == plan
    async with opened() as journal:
        assert await journal.unfinished() == plan
        assert await journal.plan(seqs[4]) == plan
        await journal.commit(plan.last)
        assert await journal.unfinished() is None
        assert journal.committed == seqs[2]
        assert await journal.plan(seqs[4]) == Plan(seqs[3], seqs[4])


async def test_a_plan_outside_of_the_entries_is_refused(opened: Opened) -> None:
    async with opened() as journal:
        (seq,) = await _fill(journal, 1)
        for last in (seq - 1, seq + 1):
            with pytest.raises(ValueError, match="cannot plan"):
                await journal.plan(last)


async def test_waiting_ends_with_the_next_entry_or_with_the_journal(opened: Opened) -> None:
    async with opened() as journal:
        waiting = asyncio.create_task(journal.wait(journal.tail))
        await _fill(journal, 1)
        await asyncio.wait_for(waiting, 10)
        await journal.wait(journal.tail - 1)
        waiting = asyncio.create_task(journal.wait(journal.tail))
        await asyncio.sleep(0)
    with pytest.raises(JournalClosed):
        await asyncio.wait_for(waiting, 10)


async def test_close_keeps_what_was_appended(opened: Opened, everything: Everything) -> None:
    async with opened() as journal:
        appends = [asyncio.create_task(journal.append(Signal.LOGS, bytes([n]), n)) for n in range(50)]
        await asyncio.sleep(0)
    stored = await asyncio.gather(*appends)
    async with opened() as journal:
        assert await everything(journal) == stored


async def test_a_sender_that_left_harms_nobody(opened: Opened, everything: Everything) -> None:
    async with opened() as journal:
        gone = asyncio.create_task(journal.append(Signal.LOGS, b"gone", 0))
        await asyncio.sleep(0)
        gone.cancel()
        await journal.append(Signal.LOGS, b"stays", 0)
        assert b"stays" in [entry.body for entry in await everything(journal)]


async def test_open_and_close_in_any_order_any_number_of_times(path: Path) -> None:
    journal = Journal(path)
    await journal.close()
    with pytest.raises(JournalClosed):
        await journal.append(Signal.LOGS, b"x", 0)
    for _ in range(2):
        await asyncio.gather(journal.open(), journal.open())
        await journal.append(Signal.LOGS, b"x", 0)
        await asyncio.gather(journal.close(), journal.close())
    for refused in (
        journal.read(0),
        journal.wait(0),
        journal.plan(1),
        journal.unfinished(),
        journal.commit(1),
    ):
        with pytest.raises(JournalClosed):
            await refused


async def test_a_second_journal_on_the_same_file_is_refused_with_one_line(opened: Opened, path: Path) -> None:
    async with opened() as journal:
        with pytest.raises(JournalLocked, match=r"in use by process \d+: stop that collector, or choose"):
            await Journal(path).open()
        await _fill(journal, 1)
    async with opened():
        pass


async def test_a_directory_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(JournalUnavailable, match="cannot be used"):
        await Journal(tmp_path / "file" / "journal.sqlite3").open()


async def test_the_files_are_for_their_owner_only(opened: Opened, path: Path) -> None:
    async with opened() as journal:
        await _fill(journal, 1)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


async def test_the_space_of_what_left_is_used_again(opened: Opened, path: Path) -> None:
    async with opened() as journal:
        for turn in range(12):
            await asyncio.gather(
                *(journal.append(Signal.LOGS, bytes([turn, n]) * 50_000, 0) for n in range(20))
            )
            await journal.commit(journal.tail)
    sizes = {file.name: file.stat().st_size for file in path.parent.iterdir()}
    assert set(sizes) == {path.name, f"{path.name}.lock"}
    assert sizes[path.name] < 3 * 20 * 100_000


def _file_bytes(path: Path) -> int:
    return path.stat().st_size


def _replace(path: Path, old: bytes, new: bytes) -> None:
    path.write_bytes(path.read_bytes().replace(old, new))


def _log_bytes(path: Path) -> int:
    """The part of the write-ahead log that is in use."""
    with closing(sqlite3.connect(path)) as db:
        _, pages, _ = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return int(pages) * PAGE_BYTES


def _filled(path: Path, clock: Any, entries: int, size: int) -> JournalFile:
    file = JournalFile(path, Reader(path), clock=clock)
    file.open()
    for number in range(entries):
        file.append([Arrival(Signal.LOGS, number.to_bytes(2) * (size // 2), 0)])
    return file


def test_the_log_is_copied_in_small_parts_while_it_grows(path: Path, clock: Any) -> None:
    file = _filled(path, clock, 0, 0)
    try:
        for number in range(40):
            file.append([Arrival(Signal.LOGS, number.to_bytes(2) * 200_000, 0)])
            assert _file_bytes(path.with_name(f"{path.name}-wal")) < 1.3 * CHECKPOINT_BYTES
        assert _file_bytes(path) > 16_000_000 - CHECKPOINT_BYTES
    finally:
        file.close()


async def test_appends_take_turns_with_the_deletion_of_what_left(opened: Opened) -> None:
    async with opened() as journal:
        for number in range(12):
            await journal.append(Signal.LOGS, number.to_bytes(2) * (1 << 19), 0)
        last = journal.tail
        leaving = asyncio.create_task(journal.commit(last))
        while journal.entries == 12:  # noqa: ASYNC110 - another thread's
            await asyncio.sleep(0)
        stored = await journal.append(Signal.LOGS, b"meanwhile", 0)
        assert stored is not None
        assert journal.committed < last < stored.seq
        await leaving
        assert (journal.committed, journal.entries) == (last, 1)
        assert journal.bytes == len(b"meanwhile") + ENTRY_OVERHEAD


async def test_a_plan_that_was_deleted_in_part_goes_on_with_the_rest(
    opened: Opened, path: Path, clock: Any
) -> None:
    file = _filled(path, clock, 8, PORTION_BYTES // 3)
    last = file.extent.tail - 1
    file.plan(last)
    assert not file.commit(last)
    file.close()
    async with opened() as journal:
        left = await journal.unfinished()
        assert left == Plan(journal.committed + 1, last)
        assert [entry.seq for entry in await journal.read(journal.committed, 1 << 30)] == [
            *range(left.first, last + 2)
        ]
        assert journal.bytes == journal.entries * (PORTION_BYTES // 6 * 2 + ENTRY_OVERHEAD)
        await journal.commit(last)
        assert await journal.unfinished() is None
        assert (journal.committed, journal.entries) == (last, 1)
    assert {file.name for file in path.parent.iterdir()} == {
        path.name,
        f"{path.name}.lock",
    }  # none is damaged


async def test_closing_while_entries_leave_is_no_error_of_the_disk(opened: Opened) -> None:
    async with opened() as journal:
        for number in range(12):
            await journal.append(Signal.LOGS, number.to_bytes(2) * (1 << 19), 0)
        await journal.plan(last := journal.tail)
        leaving = asyncio.create_task(journal.commit(last))
        while journal.entries == 12:  # noqa: ASYNC110 - another thread's
            await asyncio.sleep(0)
        await journal.close()
        with pytest.raises(JournalClosed):
            await leaving
    async with opened() as journal:
        assert await journal.unfinished() == Plan(journal.committed + 1, last)


async def test_a_body_whose_length_the_disk_changed_leaves_no_wrong_sum(opened: Opened, path: Path) -> None:
    async with opened() as journal:
        seqs = await _fill(journal, 3)
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("UPDATE entries SET body = zeroblob(9000) WHERE seq = ?", (seqs[1],))
        await journal.commit(seqs[1])
        assert (journal.entries, journal.bytes) == (1, len("body-2") + ENTRY_OVERHEAD)


async def test_entries_out_of_order_are_damage_and_no_endless_loop(opened: Opened, path: Path) -> None:
    async with opened() as journal:
        for number in range(12):
            await journal.append(Signal.LOGS, number.to_bytes(2) * 450_000, 0)
        first, last = journal.committed + 1, journal.tail
    async with opened() as journal:
        _replace(path, _varint(first + 1), _varint(first + 1 - (1 << 40)))
        for number in range(4):  # more than SQLite keeps of the file in memory
            await journal.append(Signal.LOGS, number.to_bytes(2) * (1 << 19), 0)
        await journal.commit(last)
        assert (journal.committed, journal.entries) == (last, 4)
    assert [*path.parent.glob("*.damaged-*0")]


def _varint(number: int) -> bytes:
    """As SQLite writes a row number."""
    low, *high = [number >> shift & 0x7F for shift in range(0, number.bit_length(), 7)]
    return bytes([*(0x80 | part for part in reversed(high)), low])


def test_what_leaves_is_not_written_once_more(path: Path, clock: Any) -> None:
    file = _filled(path, clock, 40, 200_000)
    try:
        _log_bytes(path)  # copies it
        file.append([Arrival(Signal.LOGS, b"starts the log anew", 0)])
        while not file.commit(file.extent.tail):
            pass
        assert _log_bytes(path) < 2_000_000  # of eight
        assert file.extent.entries == file.extent.bytes == 0
    finally:
        file.close()


def test_a_commit_waits_for_the_disk(tmp_path: Path) -> None:
    """A kill cannot show it, since the page cache survives: so the setting itself is held."""
    db = connect_writer(tmp_path / "journal.sqlite3", first_seq=1)
    with closing(db):
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
