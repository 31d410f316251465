"""The schema of history and its versions."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Final

from stagelight_collector.history.engine import reason
from stagelight_collector.history.errors import HistoryError
from stagelight_collector.history.layout import Layout, found_layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from stagelight_collector.history.engine import Handle

_VERSIONS_TABLE: Final = """
CREATE TABLE IF NOT EXISTS stagelight_schema (Version UInt32, AppliedAt DateTime('UTC') DEFAULT now())
ENGINE = ReplacingMergeTree ORDER BY Version
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
"""


def _read(version: int) -> Sequence[str]:
    folder = resources.files("stagelight_collector.history").joinpath("migrations")
    lines = folder.joinpath(f"{version}.sql").read_text("utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("--"))
    return [statement.strip() for statement in text.split("\n;\n") if statement.strip()]


MIGRATIONS: Final[Sequence[Callable[[], Sequence[str]]]] = (
    lambda: _read(1),
    lambda: _read(2),
    lambda: _read(3),
    lambda: _read(4),
)
"""What leads from one version to the next: version n is reached by the n-th entry. Statements may run again."""

VERSION: Final = len(MIGRATIONS)

_NEEDS: Final = "it needs ClickHouse 24.12 or later, and the right to create and alter tables"


def create_database(handle: Handle, database: str, layout: Layout | None = None) -> None:
    """Create the database where it is missing."""
    handle.command(_database(database, layout or Layout()))


def _database(database: str, layout: Layout) -> str:
    return f"CREATE DATABASE IF NOT EXISTS {quoted(database)}{layout.everywhere}"


def statements(layout: Layout, database: str = "") -> Iterator[str]:
    """Yield all that makes the newest schema from nothing, in this layout; with `database`, that first."""
    if database:
        yield _database(database, layout)
    yield from layout.statements(_VERSIONS_TABLE.strip())
    for migration in MIGRATIONS:
        for statement in migration():
            yield from layout.statements(statement)


def version(handle: Handle) -> int:
    """Return the version of the handle's database; 0 where nothing is there."""
    tables = handle.query("EXISTS TABLE stagelight_schema").result_rows
    if not tables[0][0]:
        return 0
    return int(handle.query("SELECT max(Version) FROM stagelight_schema").result_rows[0][0])


def migrate(handle: Handle, layout: Layout | None = None) -> None:
    """Bring the handle's database to this version of the schema, from nothing or from any earlier version.

    `layout` is for a database that is empty; without one, and where tables are there already, theirs is kept. A run
    that is killed half-way is finished by the next one: every statement may run again, and the version is written
    down last.

    Raises:
        HistoryError: The schema is newer than this collector, or the engine refuses a statement, or (`retryable`)
            it cannot be reached any more.
    """
    layout = layout or found_layout(handle)
    for statement in layout.statements(_VERSIONS_TABLE):
        handle.command(statement)
    found = version(handle)
    if found > VERSION:
        raise HistoryError(
            f"history has schema {found} and this collector knows {VERSION}; "
            "upgrade stagelight or choose another data directory"
        )
    for number in range(found + 1, VERSION + 1):
        for statement in MIGRATIONS[number - 1]():
            for made in layout.statements(statement):
                _apply(handle, made, number)
        handle.command("INSERT INTO stagelight_schema (Version) SELECT {version:UInt32}", {"version": number})


def _apply(handle: Handle, statement: str, number: int) -> None:
    try:
        handle.command(statement)
    except Exception as error:
        answered = getattr(error, "code", None) is not None
        remedy = (
            _NEEDS if answered else "start again when the server can be reached: it goes on where it stopped"
        )
        raise HistoryError(
            f"history cannot be brought to schema {number}: {reason(error)}; {remedy}", retryable=not answered
        ) from error


def quoted(name: str) -> str:
    """Return a name as an SQL identifier.

    Raises:
        HistoryError: It is not a plain name; what comes from a configuration is held to letters, digits, `_`, `-`.
    """
    if not name or not name.replace("_", "").replace("-", "").isalnum() or not name.isascii():
        raise HistoryError(f"history cannot use a database named {name!r}; use letters, digits, _ and -")
    return f"`{name}`"
