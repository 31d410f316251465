"""The store: alerts, groups, silences and the outbox in one SQLite file. What was saved survives `kill -9`."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from stagelight_plugins.alerting.delivery.delivery import Delivery
from stagelight_plugins.alerting.rules.rulebook import Kept
from stagelight_plugins.alerting.state.alert import Alert
from stagelight_plugins.alerting.state.groups import Group
from stagelight_plugins.alerting.state.silences import Silence
from stagelight_plugins.database import open_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from stagelight_plugins.alerting.state.book import Change

MOST_ROWS: Final = 10_000
"""Deliveries that are over, and changes: the oldest go."""
LONGEST_LINK: Final = 31 * 86_400.0
"""No action link lives longer, so the use of one need not be remembered for longer."""

_SCHEMA: Final = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS alerts (fingerprint TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS groups (key TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS silences (id TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rules (name TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS changes (seq INTEGER PRIMARY KEY, at REAL NOT NULL, what TEXT NOT NULL, alert TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (
    seq INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, receiver TEXT NOT NULL, "group" TEXT NOT NULL,
    state TEXT NOT NULL, tries INTEGER NOT NULL, due REAL NOT NULL, created REAL NOT NULL, ended REAL NOT NULL,
    status INTEGER NOT NULL, problem TEXT NOT NULL, notification TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS outbox_waiting ON outbox (receiver, seq) WHERE state = 'waiting';
CREATE TABLE IF NOT EXISTS used_links (id TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
"""
T = TypeVar("T")


@dataclass(slots=True)
class Save:
    """What is written in one transaction."""

    alerts: Mapping[str, Alert | None] = field(default_factory=dict[str, "Alert | None"])
    groups: Mapping[str, Group | None] = field(default_factory=dict[str, "Group | None"])
    silences: Mapping[str, Silence | None] = field(default_factory=dict[str, "Silence | None"])
    changes: Sequence[Change] = ()
    outbox: Sequence[Delivery] = ()
    meta: Mapping[str, str] = field(default_factory=dict[str, str])

    def __bool__(self) -> bool:
        return any((self.alerts, self.groups, self.silences, self.changes, self.outbox, self.meta))


@dataclass(slots=True)
class Saved:
    """What was found at a start."""

    alerts: list[Alert]
    groups: list[Group]
    silences: list[Silence]
    outbox: list[Delivery]
    meta: dict[str, str]
    rules: list[Kept] = field(default_factory=list[Kept])
    """Those that were written in the page."""


class Store:
    """One file, one writer. Every write is synced before it returns."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._database = open_database(path, _SCHEMA)
        self._database.row_factory = sqlite3.Row

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def load(self) -> Saved:
        """Return everything that matters for going on."""
        read = self._read
        return Saved(
            [Alert.from_dict(json.loads(row["data"])) for row in read("SELECT data FROM alerts")],
            [Group.from_dict(json.loads(row["data"])) for row in read("SELECT data FROM groups")],
            [Silence(**json.loads(row["data"])) for row in read("SELECT data FROM silences")],
            [_delivery(row) for row in read("SELECT * FROM outbox WHERE state = 'waiting' ORDER BY seq")],
            {row["name"]: row["value"] for row in read("SELECT name, value FROM meta")},
            [Kept(**json.loads(row["data"])) for row in read("SELECT data FROM rules ORDER BY name")],
        )

    async def save(self, save: Save) -> None:
        """Write everything, or nothing. The data is made text here, before anybody can change it."""
        alerts = _written(save.alerts)
        groups = _written(save.groups)
        silences = _written(save.silences)
        changes = [(each.at, each.what, json.dumps(each.alert.to_dict())) for each in save.changes]
        outbox = [_row(each) for each in save.outbox]

        def write(database: sqlite3.Connection) -> None:
            _put(database, "alerts", "fingerprint", alerts)
            _put(database, "groups", "key", groups)
            _put(database, "silences", "id", silences)
            database.executemany("INSERT INTO changes (at, what, alert) VALUES (?, ?, ?)", changes)
            database.executemany(_INSERT, outbox)
            database.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", [*save.meta.items()])
            if changes:
                _trim(database, "changes", "1")
            if outbox:
                _trim(database, "outbox", "state != 'waiting'")

        await self._write(write)

    async def update(self, *deliveries: Delivery) -> None:
        """Write how deliveries stand."""
        rows = [_row(delivery) for delivery in deliveries]

        def write(database: sqlite3.Connection) -> None:
            # No cursor leaves: the end of one resets its statement, which another thread may be running by then.
            database.executemany(_UPDATE, rows)

        await self._write(write)

    async def keep_rule(self, kept: Kept) -> None:
        """Write a rule of the page."""
        row = {kept.name: json.dumps(asdict(kept))}
        await self._write(lambda database: _put(database, "rules", "name", row))

    async def drop_rule(self, name: str) -> None:
        """Drop a rule of the page."""
        await self._write(lambda database: _put(database, "rules", "name", {name: None}))

    async def use_link(self, identity: str, now: float) -> bool:
        """Note that an action link was used; False where it was used before."""

        def write(database: sqlite3.Connection) -> bool:
            database.execute("DELETE FROM used_links WHERE at < ?", (now - LONGEST_LINK,))
            statement = "INSERT OR IGNORE INTO used_links VALUES (?, ?)"
            return database.execute(statement, (identity, now)).rowcount == 1

        return await self._write(write)

    # --- lists ----------------------------------------------------------------------------------------------------

    async def deliveries(self, states: Sequence[str], limit: int) -> list[Delivery]:
        """Return deliveries in these states, the newest first."""
        marks = ", ".join("?" * len(states))
        query = f"SELECT * FROM outbox WHERE state IN ({marks}) ORDER BY seq DESC LIMIT ?"  # noqa: S608 - only marks
        rows = await asyncio.to_thread(self._read, query, (*states, limit))
        return [_delivery(row) for row in rows]

    async def delivery(self, identity: str) -> Delivery | None:
        """Return one delivery."""
        rows = await asyncio.to_thread(self._read, "SELECT * FROM outbox WHERE id = ?", (identity,))
        return _delivery(rows[0]) if rows else None

    async def changes(self, limit: int) -> list[dict[str, Any]]:
        """Return what happened to alerts, the newest first."""
        query = "SELECT at, what, alert FROM changes ORDER BY seq DESC LIMIT ?"
        rows = await asyncio.to_thread(self._read, query, (limit,))
        return [{"at": row["at"], "what": row["what"], "alert": json.loads(row["alert"])} for row in rows]

    # --- the file -------------------------------------------------------------------------------------------------

    def _read(self, query: str, values: Iterable[Any] = ()) -> list[sqlite3.Row]:
        with self._lock:
            return self._database.execute(query, tuple(values)).fetchall()

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        # Shielded: a write that was begun is finished, and nobody closes the file under it.
        return await asyncio.shield(asyncio.to_thread(self._transaction, work))

    def _transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock, self._database:
            self._database.execute("BEGIN IMMEDIATE")
            return work(self._database)


_COLUMNS: Final = (
    "id", "receiver", "group", "state", "tries", "due", "created", "ended", "status", "problem", "notification",
)  # fmt: skip
_INSERT: Final = (
    'INSERT INTO outbox (id, receiver, "group", state, tries, due, created, ended, status, problem, notification)'
    " VALUES (:id, :receiver, :group, :state, :tries, :due, :created, :ended, :status, :problem, :notification)"
)
_UPDATE: Final = (
    "UPDATE outbox SET state = :state, tries = :tries, due = :due, ended = :ended, status = :status,"
    " problem = :problem WHERE id = :id"
)


def _written(items: Mapping[str, Alert | Group | Silence | None]) -> dict[str, str | None]:
    return {key: None if each is None else json.dumps(each.to_dict()) for key, each in items.items()}


def _put(database: sqlite3.Connection, table: str, key: str, rows: Mapping[str, str | None]) -> None:
    kept = [(name, data) for name, data in rows.items() if data is not None]
    gone = [(name,) for name, data in rows.items() if data is None]
    database.executemany(f"INSERT OR REPLACE INTO {table} ({key}, data) VALUES (?, ?)", kept)  # noqa: S608 - names of ours
    database.executemany(f"DELETE FROM {table} WHERE {key} = ?", gone)  # noqa: S608 - names of ours


def _trim(database: sqlite3.Connection, table: str, which: str) -> None:
    """Drop the oldest rows beyond the bound."""
    old = f"SELECT seq FROM {table} WHERE {which} ORDER BY seq DESC LIMIT -1 OFFSET {MOST_ROWS}"  # noqa: S608 - names of ours
    database.execute(f"DELETE FROM {table} WHERE seq IN ({old})")  # noqa: S608 - as above


def _row(delivery: Delivery) -> dict[str, Any]:
    data = asdict(delivery)
    return {**data, "notification": json.dumps(data["notification"])}


def _delivery(row: sqlite3.Row) -> Delivery:
    data = {name: row[name] for name in _COLUMNS}
    return Delivery.from_dict({**data, "notification": json.loads(data["notification"])})
