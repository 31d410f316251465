"""The store: workflows survive a restart, in one SQLite file of the plugin's own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from stagelight_plugins.database import open_database
from stagelight_plugins.workflow_live.monitor import Workflow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SCHEMA: Final = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS workflows (seq INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, state TEXT NOT NULL);
"""


class Store:
    """Workflows by id, in order of creation. Each write is synced before it returns."""

    def __init__(self, path: Path) -> None:
        self._lock = asyncio.Lock()
        self._database = open_database(path, _SCHEMA)

    def load(self) -> list[Workflow]:
        """Return all workflows, the oldest first."""
        rows = self._database.execute("SELECT state FROM workflows ORDER BY seq").fetchall()
        return [Workflow.model_validate_json(state) for (state,) in rows]

    async def save(self, workflow: Workflow, gone: Sequence[str] = ()) -> None:
        """Write a workflow, and forget those that have made place."""
        state = workflow.model_dump_json(exclude_none=True)
        async with self._lock:
            await asyncio.to_thread(self._save, workflow.id, state, gone)

    def _save(self, workflow_id: str, state: str, gone: Sequence[str]) -> None:
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.execute(
                "INSERT INTO workflows (id, state) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state",
                (workflow_id, state),
            )
            self._database.executemany("DELETE FROM workflows WHERE id = ?", [(each,) for each in gone])

    def close(self) -> None:
        """Close the file."""
        self._database.close()
