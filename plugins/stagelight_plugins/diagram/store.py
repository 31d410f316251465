"""The store: the code of each version of each workflow, its diagram, and which run was which version.

One SQLite file of the plugin's own. It is bounded: what was asked for longest ago makes place. All of it can be lost
without harm, because the next process of the app sends its code again.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from stagelight_plugins.database import open_database

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

P = ParamSpec("P")
R = TypeVar("R")

MOST_BYTES: Final = 64 * 1024 * 1024
"""Of all code, compressed, and all diagrams."""
MOST_VERSIONS: Final = 1_000
MOST_RUNS: Final = 100_000

_SCHEMA: Final = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA cache_size = -2000;
CREATE TABLE IF NOT EXISTS versions (
  version TEXT PRIMARY KEY, main TEXT NOT NULL, count INTEGER NOT NULL, state TEXT NOT NULL, error TEXT NOT NULL,
  created REAL NOT NULL, used INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS files (
  version TEXT NOT NULL, path TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (version, path));
CREATE TABLE IF NOT EXISTS diagrams (
  version TEXT NOT NULL, name TEXT NOT NULL, function TEXT NOT NULL, graph TEXT NOT NULL, PRIMARY KEY (version, name));
CREATE TABLE IF NOT EXISTS workflows (
  name TEXT NOT NULL, version TEXT NOT NULL, function TEXT NOT NULL, seen REAL NOT NULL, PRIMARY KEY (name, version));
CREATE TABLE IF NOT EXISTS runs (seq INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL);
"""

GATHERING: Final = "gathering"
WAITING: Final = "waiting"
DRAWN: Final = "drawn"
FAILED: Final = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file of a version."""

    version: str
    main: str
    count: int
    """How many files the version has."""
    path: str
    text: str
    omitted: str = ""
    """Why there are no files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A run and the version of the workflow that it is of."""

    run_id: str
    workflow: str
    version: str
    function: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """What came of reading a version: graphs as JSON, each with its workflow's name and function, or why there are none."""

    graphs: Sequence[tuple[str, str, str]] = ()
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What there is of one workflow."""

    workflow: str
    version: str
    state: str
    """`gathering`, `waiting` (to be read), `drawn` or `failed`."""
    exact: bool
    """Whether it is the version that was asked for, and not merely the newest."""
    main: str
    created: float
    """Unix seconds."""
    error: str = ""
    graph: str = ""
    """JSON; empty unless it is drawn."""
    run_version: str = ""
    """What the run that was asked for says of itself; empty where it says nothing."""
    versions: Sequence[str] = field(default_factory=list[str])
    """All that are known, the newest first."""


class Store:
    """Versions, files, diagrams and runs; the database works in a thread, one question at a time."""

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._lock = asyncio.Lock()
        self._database = open_database(path, _SCHEMA)

    async def take(self, files: Sequence[File], starts: Sequence[Start]) -> bool:
        """Keep what arrived; say whether a version is now complete and waits to be drawn."""
        return await self._in_thread(self._take, files, starts)

    async def waiting(self) -> str | None:
        """Return a version that waits to be drawn, the oldest first."""
        return await self._in_thread(self._waiting)

    async def files(self, version: str) -> dict[str, str]:
        """Return a version's files by path, the one that defines the workflow first."""
        return await self._in_thread(self._files, version)

    async def settle(self, version: str, drawing: Drawing) -> None:
        """Keep what came of reading a version."""
        await self._in_thread(self._settle, version, drawing)

    async def outcome(self, version: str) -> tuple[str, str, list[str]]:
        """Return a version's state, what is wrong with it, and the names of its workflows."""
        return await self._in_thread(self._outcome, version)

    async def find(self, workflow: str, version: str = "", run_id: str = "") -> Found | None:
        """Return the diagram of a version, of a run's version, or the newest; None where nothing is known."""
        return await self._in_thread(self._find, workflow, version, run_id)

    async def close(self) -> None:
        """Close the file. Safe to call twice."""
        async with self._lock:
            self._database.close()

    async def _in_thread(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        async with self._lock:
            return await asyncio.to_thread(call, *args, **kwargs)

    def _take(self, files: Sequence[File], starts: Sequence[Start]) -> bool:
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            complete = [file.version for file in files if self._put(file)]
            self._database.executemany(
                "INSERT INTO workflows (name, version, function, seen) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (name, version) DO UPDATE SET seen = excluded.seen, function = excluded.function",
                {(s.workflow, s.version, s.function, self._now()) for s in starts},
            )
            self._database.executemany(
                "INSERT OR REPLACE INTO runs (id, name, version) VALUES (?, ?, ?)",
                [(start.run_id, start.workflow, start.version) for start in starts],
            )
            self._make_room()
        return bool(complete)

    def _put(self, file: File) -> bool:
        """Keep a file; say whether its version is complete by it. A version that is there already stays as it is."""
        state = FAILED if file.omitted else GATHERING
        self._database.execute(
            "INSERT OR IGNORE INTO versions VALUES (?, ?, ?, ?, ?, ?, (SELECT coalesce(max(used), 0) + 1 FROM versions))",
            (file.version, file.main, file.count, state, file.omitted, self._now()),
        )
        if file.omitted:
            return False
        self._database.execute(
            "INSERT OR IGNORE INTO files VALUES (?, ?, ?)",
            (file.version, file.path, zlib.compress(file.text.encode("utf-8", "replace"))),
        )
        changed = self._database.execute(
            "UPDATE versions SET state = ? WHERE version = ? AND state = ? "
            "AND count <= (SELECT count(*) FROM files WHERE version = versions.version)",
            (WAITING, file.version, GATHERING),
        )
        return changed.rowcount > 0

    def _make_room(self) -> None:
        self._database.execute("DELETE FROM runs WHERE seq <= (SELECT max(seq) FROM runs) - ?", (MOST_RUNS,))
        weights = self._database.execute(
            "SELECT version, (SELECT coalesce(sum(length(body)), 0) FROM files f WHERE f.version = v.version)"
            " + (SELECT coalesce(sum(length(graph)), 0) FROM diagrams d WHERE d.version = v.version)"
            " FROM versions v ORDER BY used DESC"
        ).fetchall()
        total = 0
        for rank, (version, weight) in enumerate(weights):
            total += weight
            if rank and (rank >= MOST_VERSIONS or total > MOST_BYTES):
                self._forget(version)

    def _forget(self, version: str) -> None:
        for table in ("versions", "files", "diagrams", "workflows"):
            self._database.execute(f"DELETE FROM {table} WHERE version = ?", (version,))  # noqa: S608 - our own names

    def _waiting(self) -> str | None:
        row = self._database.execute(
            "SELECT version FROM versions WHERE state = ? ORDER BY created LIMIT 1", (WAITING,)
        ).fetchone()
        return None if row is None else str(row[0])

    def _files(self, version: str) -> dict[str, str]:
        rows = self._database.execute(
            "SELECT f.path, f.body FROM files f JOIN versions v USING (version) WHERE version = ? "
            "ORDER BY f.path <> v.main, f.path",
            (version,),
        )
        return {path: zlib.decompress(body).decode() for path, body in rows}

    def _settle(self, version: str, drawing: Drawing) -> None:
        state = FAILED if drawing.error else DRAWN
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.execute(
                "UPDATE versions SET state = ?, error = ? WHERE version = ?", (state, drawing.error, version)
            )
            self._database.executemany(
                "INSERT OR REPLACE INTO diagrams VALUES (?, ?, ?, ?)",
                [(version, name, function, graph) for name, function, graph in drawing.graphs],
            )
            self._database.executemany(
                "INSERT OR IGNORE INTO workflows VALUES (?, ?, ?, ?)",
                [(name, version, function, self._now()) for name, function, _ in drawing.graphs],
            )
            self._make_room()

    def _outcome(self, version: str) -> tuple[str, str, list[str]]:
        state, error = self._database.execute(
            "SELECT state, error FROM versions WHERE version = ?", (version,)
        ).fetchone() or (FAILED, "the store has no room for it")
        names = self._database.execute(
            "SELECT name FROM diagrams WHERE version = ? ORDER BY rowid", (version,)
        )
        return state, error, [name for (name,) in names]

    def _find(self, workflow: str, version: str, run_id: str) -> Found | None:
        if run_id and not version:
            row = self._database.execute("SELECT version FROM runs WHERE id = ?", (run_id,)).fetchone()
            version = row[0] if row else ""
        known = self._known(workflow)
        if version and (found := self._version(workflow, version, exact=True, known=known)):
            return replace(found, run_version=version if run_id else "")
        if version and not run_id:
            return None
        drawn = (self._version(workflow, each, exact=not run_id, known=known) for each in known)
        candidates = [found for found in drawn if found is not None]
        best = next((found for found in candidates if found.graph), candidates[0] if candidates else None)
        return best and replace(best, run_version=version)

    def _known(self, workflow: str) -> list[str]:
        rows = self._database.execute(
            "SELECT version FROM workflows WHERE name = ? ORDER BY seen DESC, rowid DESC LIMIT 50",
            (workflow,),
        )
        return [version for (version,) in rows]

    def _version(self, workflow: str, version: str, *, exact: bool, known: Sequence[str]) -> Found | None:
        row = self._database.execute(
            "SELECT main, state, error, created FROM versions WHERE version = ?", (version,)
        ).fetchone()
        if row is None:
            return None
        graph = self._graph(workflow, version) if row[1] == DRAWN else ""
        error = row[2]
        if row[1] == DRAWN and not graph:
            error = f"{row[0]} has no workflow called {workflow!r} that can be read without running it"
        self._database.execute(
            "UPDATE versions SET used = (SELECT max(used) + 1 FROM versions) WHERE version = ?", (version,)
        )
        return Found(
            workflow=workflow,
            version=version,
            state=FAILED if error else row[1],
            exact=exact,
            main=row[0],
            created=row[3],
            error=error,
            graph=graph,
            versions=known,
        )

    def _graph(self, workflow: str, version: str) -> str:
        """Return a workflow's graph: that of its name, else that of its function, else the only one there is."""
        rows = self._database.execute(
            "SELECT d.name = ? AS named, d.function <> '' AND d.function = w.function AS same, graph FROM diagrams d "
            "LEFT JOIN workflows w ON w.version = d.version AND w.name = ? WHERE d.version = ? "
            "ORDER BY named DESC, same DESC LIMIT 2",
            (workflow, workflow, version),
        ).fetchall()
        if rows and (rows[0][0] or rows[0][1] or len(rows) == 1):
            return str(rows[0][2])
        return ""
