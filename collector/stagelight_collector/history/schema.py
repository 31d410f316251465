"""The schema of history and its versions."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Final

from stagelight_collector.history.errors import HistoryError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stagelight_collector.history.engine import Handle

_VERSIONS_TABLE: Final = """
CREATE TABLE IF NOT EXISTS stagelight_schema (Version UInt32, AppliedAt DateTime('UTC') DEFAULT now())
ENGINE = ReplacingMergeTree ORDER BY Version
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
"""


def _first() -> Sequence[str]:
    text = resources.files("stagelight_collector.history").joinpath("schema.sql").read_text("utf-8")
    return [statement.strip() for statement in text.split("\n;\n") if statement.strip()]


MIGRATIONS: Final[Sequence[Callable[[], Sequence[str]]]] = (_first,)
"""What leads from one version to the next: version n is reached by the n-th entry. Statements may run again."""

VERSION: Final = len(MIGRATIONS)


def create_database(handle: Handle, database: str) -> None:
    """Create the database where it is missing."""
    handle.command(f"CREATE DATABASE IF NOT EXISTS {quoted(database)}")


def migrate(handle: Handle) -> None:
    """Bring the handle's database to this version of the schema, from nothing or from any earlier version.

    A run that is killed half-way is finished by the next one: every statement may run again, and the version is
    written down last.

    Raises:
        HistoryError: The schema is newer than this collector.
    """
    handle.command(_VERSIONS_TABLE)
    found = int(handle.query("SELECT max(Version) FROM stagelight_schema").result_rows[0][0])
    if found > VERSION:
        raise HistoryError(
            f"history has schema {found} and this collector knows {VERSION}; "
            "upgrade stagelight or choose another data directory"
        )
    for version in range(found + 1, VERSION + 1):
        for statement in MIGRATIONS[version - 1]():
            handle.command(statement)
        handle.command(
            "INSERT INTO stagelight_schema (Version) SELECT {version:UInt32}", {"version": version}
        )


def quoted(name: str) -> str:
    """Return a name as an SQL identifier.

    Raises:
        HistoryError: It is not a plain name; what comes from a configuration is held to letters, digits, `_`, `-`.
    """
    if not name or not name.replace("_", "").replace("-", "").isalnum() or not name.isascii():
        raise HistoryError(f"history cannot use a database named {name!r}; use letters, digits, _ and -")
    return f"`{name}`"
