"""SQLite files of plugins."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from stagelight_plugins.errors import DatabaseUnusable

if TYPE_CHECKING:
    from pathlib import Path


def open_database(path: Path, schema: str) -> sqlite3.Connection:
    """Open a file with explicit transactions, for one thread at a time, and run `schema`, which may be run again.

    Raises:
        DatabaseUnusable: The file is damaged, or cannot be written.
    """
    database: sqlite3.Connection | None = None
    try:
        database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        database.executescript(schema)
    except sqlite3.Error as error:
        if database is not None:
            database.close()
        raise DatabaseUnusable(path, str(error)) from error
    return database
