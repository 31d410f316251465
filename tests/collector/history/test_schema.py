"""The schema: created, opened again, half made, too new."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from stagelight.conventions import EventType
from stagelight.events import Event
from stagelight_collector.history import HistoryError, open_history, schema
from stagelight_collector.history.engine import engine_of
from stagelight_plugins.hookspecs import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from stagelight_collector.history.engine import Handle

EVENT = Event(type=EventType.RUN_STARTED, run_id="r", time=1_764_000_000_000_000_000)


class Killed(BaseException):
    """Stands for the end of the process."""


class Mortal:
    """A handle that dies after some statements."""

    def __init__(self, handle: Handle, lives: int, death: BaseException) -> None:
        self._handle = handle
        self._lives = lives
        self._death = death
        self.query, self.raw_query = handle.query, handle.raw_query
        self.insert = handle.insert
        self.close = handle.close

    def command(
        self,
        cmd: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        settings: Mapping[str, Any] | None = None,
    ) -> object:
        """Act, or die."""
        if self._lives == 0:
            raise self._death
        self._lives -= 1
        return self._handle.command(cmd, parameters, settings=settings)


def tables(ask: Callable[[str], Sequence[Sequence[Any]]], database: str) -> list[tuple[str, str]]:
    rows = ask(
        "SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase() AND name NOT LIKE '.inner%'"
    )
    return sorted((str(name), str(create).replace(database, "")) for name, create in rows)


def migrated(
    engine_path: Path, database: str, lives: Sequence[int], death: BaseException | None = None
) -> list[tuple[str, str]]:
    """Migrate a new database, dying after so many statements each time, then to the end; return what there is."""
    engine = engine_of(f"chdb://{engine_path}", data_dir=engine_path)
    with ThreadPoolExecutor(1) as thread:

        def work() -> list[tuple[str, str]]:
            with closing(engine.connect(database=None, settings={})) as handle:
                schema.create_database(handle, database)
            with closing(engine.connect(database=database, settings={})) as handle:
                for count in lives:
                    with pytest.raises(Killed):
                        schema.migrate(Mortal(handle, count, death or Killed()))
                schema.migrate(handle)
                return tables(lambda sql: handle.query(sql).result_rows, database)

        return thread.submit(work).result()


def test_a_start_killed_at_any_statement_is_finished_by_the_next(engine_path: Path) -> None:
    whole = migrated(engine_path, "whole", [])
    first, *later = [len(migration()) + 2 for migration in schema.MIGRATIONS]
    lives = [*range(first), *(count for whole_one in later for count in range(1, whole_one))]
    assert migrated(engine_path, "staggering", lives) == whole
    statements = first + sum(later) - len(later)
    for count in (1, statements // 2, statements - 1):
        assert migrated(engine_path, f"killed_{count}", [count]) == whole


async def test_an_existing_directory_opens_again_with_what_is_in_it(dsn: str, engine_path: Path) -> None:
    for number in range(3):
        history = await open_history(dsn, data_dir=engine_path)
        await history.insert(Batch(seq=1, events=[EVENT]), "token")
        assert len((await history.run_events("r")).items) == 1, number
        await history.close()


async def test_a_newer_schema_is_refused_in_one_line(
    dsn: str, engine_path: Path, ask: Callable[..., Sequence[Sequence[Any]]]
) -> None:
    history = await open_history(dsn, data_dir=engine_path)
    await history.insert(Batch(seq=1, events=[EVENT]), "token")
    await history.close()
    ask("INSERT INTO stagelight_schema (Version) SELECT 99")
    with pytest.raises(
        HistoryError,
        match=rf"^history has schema 99 and this collector knows {schema.VERSION}; upgrade stagelight .*$",
    ):
        await open_history(dsn, data_dir=engine_path)
    assert ask("SELECT count() FROM stagelight_events") == [(1,)]


async def test_an_engine_that_refuses_a_migration_is_told_with_the_remedy(
    dsn: str, engine_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await open_history(dsn, data_dir=engine_path)).close()
    unknown = "ALTER TABLE otel_traces MODIFY SETTING nobody_knows_this = 1"
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, lambda: [unknown]))
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    with pytest.raises(
        HistoryError,
        match=rf"^history cannot be brought to schema {schema.VERSION}: .*nobody_knows_this.*; it needs ClickHouse 24",
    ):
        await open_history(dsn, data_dir=engine_path)


def test_a_link_that_breaks_during_a_migration_is_not_called_an_old_server(engine_path: Path) -> None:
    reset = ConnectionResetError(104, "Connection reset by peer")
    with pytest.raises(
        HistoryError, match=r": connection reset by peer; start again when the server"
    ) as found:
        migrated(engine_path, "cut_off", [3], reset)
    assert found.value.retryable


async def test_a_migration_runs_once_and_in_order(
    dsn: str, engine_path: Path, ask: Callable[..., Sequence[Sequence[Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await open_history(dsn, data_dir=engine_path)).close()
    later = (
        *schema.MIGRATIONS,
        lambda: ["CREATE TABLE later (a UInt8) ENGINE = MergeTree ORDER BY a"],
        lambda: ["ALTER TABLE later ADD COLUMN b UInt8"],
    )
    monkeypatch.setattr(schema, "MIGRATIONS", later)
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 2)
    for _ in range(2):
        await (await open_history(dsn, data_dir=engine_path)).close()
    assert ask("SELECT a, b FROM later") == []
    assert ask("SELECT Version FROM stagelight_schema ORDER BY Version") == [
        (n + 1,) for n in range(schema.VERSION)
    ]
