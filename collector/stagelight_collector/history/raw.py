"""Questions in SQL that are answered in a format of ClickHouse's, each on a handle of its own.

What a client sets is set on that handle alone, and goes with it: no session, nothing left over for the next question.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from stagelight_collector.history import readonly
from stagelight_collector.history.errors import HistoryError
from stagelight_collector.history.lane import Lane
from stagelight_plugins.errors import HistoryAway, QueryFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stagelight_collector.history.engine import ChdbEngine, Handle
    from stagelight_collector.history.readonly import Question
    from stagelight_collector.history.syntax import Words

THREADS: Final = 2

_BOUNDS: Final = {
    "max_execution_time": "60",
    "max_memory_usage": str(readonly.MAX_MEMORY),
    "max_bytes_ratio_before_external_group_by": "0",
    "max_bytes_ratio_before_external_sort": "0",
    "max_result_bytes": str(readonly.MAX_BYTES),
    "function_range_max_elements_in_block": "10000000",
    "max_threads": "2",
}


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


class RawAsker:
    """Examines questions and has them answered in the format that they ask for."""

    def __init__(self, engine: ChdbEngine) -> None:
        self._engine = engine
        self._lane = Lane("raw", threads=THREADS, connect=partial(self._connect, {"readonly": "1"}))
        self._words: Words | None = None
        self._timezone = ""

    def _connect(self, settings: Mapping[str, str]) -> Handle:
        return self._engine.connect(database=self._engine.database, settings=settings)

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
        try:
            return await self._lane.call(
                lambda handle: self._answer(handle, sql, parameters, settings, default_format)
            )
        except HistoryError as error:
            if error.retryable:
                raise HistoryAway(str(error)) from error
            raise QueryFailed(str(error)) from error

    def _answer(
        self,
        handle: Handle,
        sql: str,
        parameters: Mapping[str, str],
        settings: Mapping[str, str],
        default_format: str,
    ) -> RawAnswer:
        if self._words is None:
            self._words = readonly.words(handle)
            self._timezone = str(handle.query("SELECT timezone()").result_rows[0][0])
        asked = readonly.question(
            handle,
            sql,
            {name: _Sent(text) for name, text in parameters.items()},
            database=self._engine.database,
            words=self._words,
        )
        form = asked.format or default_format
        given = {**_BOUNDS, **settings, "readonly": _readonly(asked.sql)}
        body, rows = self._run(asked, form, given)
        return RawAnswer(body, rows, form, self._timezone)

    def _run(self, asked: Question, form: str, settings: Mapping[str, str]) -> tuple[bytes, int]:
        connection = readonly.told(self._engine.connection)
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

    async def close(self) -> None:
        """Let the questions that are being answered finish. Safe twice."""
        await self._lane.close()


def _quoted(text: str, mark: str) -> str:
    escaped = text.replace("\\", "\\\\").replace(mark, f"\\{mark}")
    return f"{mark}{escaped}{mark}"


def _readonly(sql: str) -> str:
    """Return the level that a question runs at.

    A client that reads `system.settings` learns there what it may set, and on a handle of level 1 that is nothing;
    yet a setting that comes with the next question is set before that question's handle becomes read-only.
    """
    return "2" if "system.settings" in sql else "1"
