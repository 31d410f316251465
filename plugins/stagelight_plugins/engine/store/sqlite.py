"""SQLite as the store: one file, WAL, every commit synced, one writer thread.

The writer also copies the log into the file, little by little. A thread with a connection of its own must not: up to SQLite 3.51.2
its checkpoint may lose what is committed meanwhile (https://sqlite.org/wal.html#walresetbug); nor is it faster.
"""

from __future__ import annotations

import fcntl
import sqlite3
import threading
from contextlib import ExitStack, closing
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import orjson

from stagelight_plugins.engine.errors import StoreDamaged, StoreInUse, StoreUnavailable
from stagelight_plugins.engine.store import COLUMNS, Batch, Entry, Row, Slice, VersionRow, WorkflowRow

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

CACHE_KIB: Final = 65_536
CHECKPOINT_PAGES: Final = 1_000
"""Of 4 KiB, in the log: a commit that passes them copies them into the file, which takes some milliseconds."""

_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

_ALL: Final = ", ".join(COLUMNS)
_SHORT: Final = ", ".join("NULL" if name in {"params", "output"} else name for name in COLUMNS)
_VALUES: Final = ", ".join(f"value ->> {place}" for place in range(len(COLUMNS)))
_INSERT: Final = f"INSERT OR IGNORE INTO instances ({_ALL}) SELECT {_VALUES} FROM json_each(?)"  # noqa: S608 - names of ours


class SqliteStore:
    """The engine's truth in one file. `StoreInUse` where another process has it, `StoreDamaged` where it cannot be read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as opened:
            lock = opened.enter_context(path.with_name(f"{path.name}.lock").open("a"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise StoreInUse(str(path)) from None
            try:
                self._writer = self._connect(opened)
                self._prepare()
                self._reader = self._connect(opened)
                self._reader.execute("PRAGMA query_only = 1")
            except sqlite3.DatabaseError as error:
                raise StoreDamaged(str(path), str(error)) from error
            self._opened = opened.pop_all()
        self._reading = threading.RLock()

    def _connect(self, opened: ExitStack) -> sqlite3.Connection:
        connection = opened.enter_context(
            closing(sqlite3.connect(self._path, isolation_level=None, check_same_thread=False))
        )
        connection.execute("PRAGMA busy_timeout = 5000")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        return connection

    def _prepare(self) -> None:
        self._writer.execute("PRAGMA journal_mode = WAL")
        self._writer.execute("PRAGMA synchronous = FULL")
        self._writer.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        self._writer.executescript(
            files("stagelight_plugins.engine.store").joinpath("schema.sql").read_text()
        )

    # --- write ----------------------------------------------------------------------------------------------------

    def write(self, batch: Batch) -> list[int]:
        """Make a batch durable in one transaction."""
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                refused = self._write(batch)
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise StoreUnavailable(str(error)) from error
        return refused

    def _write(self, batch: Batch) -> list[int]:
        """Run few statements, each over all rows: SQLite takes them apart itself, and the loop has the interpreter meanwhile."""
        db = self._writer
        self._write_registry(batch)
        refused = self._insert(batch.creates)
        for columns, rows in _by_columns(batch.changes).items():
            values = ", ".join(f"{name} = value ->> {place}" for place, name in enumerate(columns))
            sql = f"UPDATE instances SET {values} FROM json_each(?) WHERE seq = CAST(key AS INTEGER)"  # noqa: S608 - names of ours
            db.execute(sql, (_json(rows),))
        for seq in refused:
            batch.journal.pop(seq, None)
        if batch.journal:
            journal = b",".join(b'"%d":[%s]' % (seq, b",".join(body)) for seq, body in batch.journal.items())
            db.execute(
                "INSERT INTO journal (instance, body) SELECT CAST(key AS INTEGER), value FROM json_each(?)",
                (f"{{{journal.decode()}}}",),
            )
        if batch.removals:
            gone = [(seq,) for seq in batch.removals]
            db.executemany("DELETE FROM journal WHERE instance = ?", gone)
            db.executemany("DELETE FROM instances WHERE seq = ?", gone)
        db.executemany(
            "INSERT INTO journal (instance, body) VALUES (?, ?)",
            [(seq, f"[{body.decode()}]") for seq, body in batch.farewells.items()],
        )
        return refused

    def _insert(self, rows: Sequence[Row]) -> list[int]:
        """Insert rows; return the seqs of those whose id was in use."""
        if not rows:
            return []
        values = {str(row.seq): [_text(getattr(row, name)) for name in COLUMNS] for row in rows}
        if self._writer.execute(_INSERT, (_json(values),)).rowcount == len(rows):
            return []
        there = self._writer.execute(
            "SELECT seq FROM instances WHERE seq >= ?", (min(row.seq for row in rows),)
        )
        present = {seq for (seq,) in there}
        return [row.seq for row in rows if row.seq not in present]

    def _write_registry(self, batch: Batch) -> None:
        db = self._writer
        db.executemany(
            "INSERT INTO workflows (key, id, name, created, plane) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (key) DO UPDATE SET plane = excluded.plane",
            batch.workflows,
        )
        db.executemany("INSERT OR REPLACE INTO versions VALUES (?, ?, ?, ?, ?, ?, ?)", batch.versions)
        db.executemany("INSERT OR REPLACE INTO facts (key, value) VALUES (?, ?)", list(batch.facts.items()))
        for key in batch.dropped_workflows:
            db.execute(
                "DELETE FROM journal WHERE instance IN (SELECT seq FROM instances WHERE workflow = ?)", (key,)
            )
            for statement in ("instances WHERE workflow", "versions WHERE workflow", "workflows WHERE key"):
                db.execute(f"DELETE FROM {statement} = ?", (key,))  # noqa: S608 - names of ours

    # --- read -----------------------------------------------------------------------------------------------------

    def _all(self, sql: str, *values: Any) -> list[Any]:
        with self._reading:
            try:
                return self._reader.execute(sql, values).fetchall()
            except sqlite3.DatabaseError as error:
                # What is no UTF-8 any more has no code: it is found after SQLite has read it.
                if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF in _DAMAGED:
                    raise StoreDamaged(str(self._path), str(error)) from error
                raise StoreUnavailable(str(error)) from error

    def _row(self, sql: str, *values: Any) -> Row | None:
        found = self._all(f"SELECT {_ALL} FROM instances {sql} LIMIT 1", *values)  # noqa: S608 - text of ours
        return _made(found[0]) if found else None

    def row(self, workflow: int, instance_id: str) -> Row | None:
        """Return an instance."""
        return self._row("WHERE workflow = ? AND id = ?", workflow, instance_id)

    def row_at(self, seq: int) -> Row | None:
        """Return an instance by its place."""
        return self._row("WHERE seq = ?", seq)

    def latest(self, workflow: int) -> Row | None:
        """Return the instance that was created last."""
        found = self.page(Slice(workflow, STATUSES, 0, 0, 0, 0, descending=True, limit=1))
        return self.row_at(found[0].seq) if found else None

    def journal(self, instance: int, after: int = 0) -> list[Entry]:
        """Return what an instance did, in order."""
        sql = "SELECT seq, instance, body FROM journal WHERE instance = ? AND seq > ? ORDER BY seq"
        return [Entry(*row) for row in self._all(sql, instance, after)]

    def outbox(self, after: int, limit: int) -> list[Entry]:
        """Return what all instances did, in order."""
        sql = "SELECT seq, instance, body FROM journal WHERE seq > ? ORDER BY seq LIMIT ?"
        return [Entry(*row) for row in self._all(sql, after, limit)]

    def rows(self, seqs: Collection[int]) -> list[Row]:
        """Return several instances, without params and output."""
        holes = ", ".join("?" * len(seqs))
        found = self._all(f"SELECT {_SHORT} FROM instances WHERE seq IN ({holes})", *seqs)  # noqa: S608 - holes
        return [_made(row) for row in found]

    def queue(self, workflow: int, chef: int, limit: int) -> list[Row]:
        """Return the head of a SousChef's queue, in order of rank."""
        sql = "WHERE workflow = ? AND chef = ? AND rank IS NOT NULL ORDER BY rank LIMIT ?"
        found = self._all(f"SELECT {_ALL} FROM instances {sql}", workflow, chef, limit)  # noqa: S608 - text of ours
        return [_made(row) for row in found]

    def due(self, until: int, limit: int) -> list[Row]:
        """Return instances whose alarm has come, the earliest first."""
        sql = "WHERE alarm IS NOT NULL AND alarm <= ? ORDER BY alarm LIMIT ?"
        return [_made(row) for row in self._all(f"SELECT {_ALL} FROM instances {sql}", until, limit)]  # noqa: S608

    def next_alarm(self) -> int | None:
        """Return the time of the earliest alarm."""
        found: int | None = self._all("SELECT min(alarm) FROM instances WHERE alarm IS NOT NULL")[0][0]
        return found

    def interrupted(self, after: int, limit: int) -> list[Row]:
        """Return instances that held a slot when the process ended, by seq."""
        found: list[Any] = []
        for (key,) in self._all("SELECT key FROM workflows"):
            for status in ("running", "waitingForPause", "rollingBack"):
                sql = "WHERE workflow = ? AND status = ? AND seq > ? ORDER BY seq LIMIT ?"
                found += self._all(f"SELECT {_ALL} FROM instances {sql}", key, status, after, limit)  # noqa: S608
        return sorted((_made(row) for row in found), key=lambda row: row.seq)[:limit]

    def page(self, part: Slice) -> list[Row]:
        """Return instances for a list, without params and output; all of them as they were at one moment."""
        with self._reading:
            self._all("BEGIN")
            try:
                found = [row for status in part.statuses for row in self._of_status(part, status)]
            finally:
                self._all("COMMIT")
        found.sort(key=lambda row: row.seq, reverse=part.descending)
        return found[: part.limit]

    def _of_status(self, part: Slice, status: str) -> list[Row]:
        conditions, values = ["workflow = ?", "status = ?"], [part.workflow, status]
        bounds = (
            ("seq > ?", part.after),
            ("seq < ?", part.before),
            ("created >= ?", part.created_from),
            ("created < ?", part.created_to),
        )
        for condition, value in bounds:
            if value:
                conditions.append(condition)
                values.append(value)
        order = "DESC" if part.descending else "ASC"
        sql = f"WHERE {' AND '.join(conditions)} ORDER BY seq {order} LIMIT ?"
        found = self._all(f"SELECT {_SHORT} FROM instances {sql}", *values, part.limit)  # noqa: S608 - text of ours
        return [_made(row) for row in found]

    def counts(self) -> dict[tuple[int, str], int]:
        """Return how many instances there are by workflow and status."""
        rows = self._all("SELECT workflow, status, count(*) FROM instances GROUP BY workflow, status")
        return {(workflow, status): count for workflow, status, count in rows}

    def queues(self) -> dict[tuple[int, int], tuple[int, int]]:
        """Return by workflow and SousChef how many instances queue, and how many of them were woken."""
        sql = (
            "SELECT workflow, chef, count(*), sum(rank < 0) FROM instances INDEXED BY instances_queue "
            "WHERE rank IS NOT NULL GROUP BY workflow, chef"
        )
        return {(workflow, chef): (count, woken) for workflow, chef, count, woken in self._all(sql)}

    def workflows(self) -> list[WorkflowRow]:
        """Return all workflows."""
        return [WorkflowRow(*row) for row in self._all("SELECT key, id, name, created, plane FROM workflows")]

    def versions(self) -> list[VersionRow]:
        """Return all versions, the oldest first."""
        return [VersionRow(*row) for row in self._all("SELECT * FROM versions ORDER BY key")]

    def facts(self) -> dict[str, Any]:
        """Return all facts."""
        return dict(self._all("SELECT key, value FROM facts"))

    def last(self) -> tuple[int, int]:
        """Return the highest seq of an instance and of the journal that was ever used."""
        found = dict(self._all("SELECT name, seq FROM sqlite_sequence"))
        return found.get("instances", 0), found.get("journal", 0)

    def close(self) -> None:
        """Let go of the file; other processes may have it then."""
        self._opened.close()


STATUSES: Final = (
    "queued", "running", "paused", "errored", "terminated", "complete", "waiting", "waitingForPause", "rollingBack",
)  # fmt: skip


def _made(values: Sequence[Any]) -> Row:
    return Row(**dict(zip(COLUMNS, values, strict=True)))


def _by_columns(changes: Mapping[int, Mapping[str, Any]]) -> dict[tuple[str, ...], dict[str, list[Any]]]:
    """Return rows of new values, together where the same columns change."""
    found: dict[tuple[str, ...], dict[str, list[Any]]] = {}
    for seq, columns in changes.items():
        found.setdefault(tuple(columns), {})[str(seq)] = [_text(value) for value in columns.values()]
    return found


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _json(rows: Mapping[str, Sequence[Any]]) -> str:
    return orjson.dumps(rows).decode()
