"""Questions in SQL that are answered in a format of ClickHouse's, each on a handle of its own.

What a client sets is set on that handle alone, and goes with it: no session, nothing left over for the next question.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from stagelight_collector.history import readonly
from stagelight_collector.history.asking import THREADS, Examiner
from stagelight_collector.history.lane import Lane
from stagelight_plugins.errors import QueryFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stagelight_collector.history.engine import ChdbEngine, Handle
    from stagelight_collector.history.readonly import Question


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """An answer as bytes."""

    body: bytes
    rows: int
    format: str
    timezone: str
    """The engine's, in which it writes times of no zone."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """A parameter as a client sent it: escaped already, which clickhouse-connect would do to text once more."""

    text: str

    def __str__(self) -> str:
        return self.text


class RawAsker(Examiner):
    """Has questions answered in the format that they ask for."""

    def __init__(self, engine: ChdbEngine) -> None:
        super().__init__(engine, Lane("raw", threads=THREADS, connect=self._connect))
        self._chdb = engine
        self._timezone = ""

    def _connect(self) -> Handle:
        return self._engine.connect(database=self._engine.database, settings={"readonly": "1"})

    async def ask(
        self,
        sql: str,
        parameters: Mapping[str, str],
        *,
        database: str,
        settings: Mapping[str, str],
        default_format: str,
    ) -> RawAnswer:
        """See `History.raw`."""
        if database not in {"", "default", "system", self._engine.database}:
            raise QueryFailed(
                f"Database {database[:100]} does not exist; history is in {self._engine.database} (UNKNOWN_DATABASE)",
                code=81,
            )
        return await self._call(
            lambda handle: self._answer(handle, sql, parameters, settings, default_format)
        )

    def _answer(
        self,
        handle: Handle,
        sql: str,
        parameters: Mapping[str, str],
        settings: Mapping[str, str],
        default_format: str,
    ) -> RawAnswer:
        self._timezone = self._timezone or str(handle.query("SELECT timezone()").result_rows[0][0])
        asked = self._question(handle, sql, {name: _Sent(text) for name, text in parameters.items()})
        form = asked.format or default_format
        given = {**readonly.BOUNDS, **settings, "readonly": _readonly(asked.sql)}
        body, rows = self._run(asked, form, given)
        return RawAnswer(body, rows, form, self._timezone)

    def _run(self, asked: Question, form: str, settings: Mapping[str, str]) -> tuple[bytes, int]:
        connection = readonly.told(self._chdb.connection)
        try:
            for statement in self._preparations(settings):
                readonly.told(partial(connection.query, statement))
            result = readonly.told(
                partial(
                    connection.query,
                    asked.sql,
                    form,
                    params={name: str(value) for name, value in asked.parameters.items()},
                )
            )
            return readonly.bounded(result.bytes()), int(result.rows_read())
        finally:
            connection.close()

    def _preparations(self, settings: Mapping[str, str]) -> Iterator[str]:
        yield f"USE {_quoted(self._engine.database, '`')}"
        for name, value in settings.items():  # the names were chosen, the values are anybody's
            yield f"SET {name} = " + _quoted(value, "'")


def _quoted(text: str, mark: str) -> str:
    escaped = text.replace("\\", "\\\\").replace(mark, f"\\{mark}")
    return f"{mark}{escaped}{mark}"


def _readonly(sql: str) -> str:
    """Return the level that a question runs at.

    A client that reads `system.settings` learns there what it may set, and on a handle of level 1 that is nothing;
    yet a setting that comes with the next question is set before that question's handle becomes read-only. What calls
    a function, or reads from one, stays at level 1, where the engine itself refuses most of what leads out of it.
    """
    return "2" if "FROM system.settings" in sql and "(" not in sql else "1"
