"""Questions in SQL from outside, in threads of their own, so that a slow one holds up nobody else."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from stagelight_collector.history import readonly
from stagelight_collector.history.errors import HistoryError
from stagelight_collector.history.lane import Lane
from stagelight_plugins.errors import HistoryAway, QueryFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stagelight_collector.history.engine import Engine, Handle
    from stagelight_collector.history.readonly import Question
    from stagelight_collector.history.syntax import Words
    from stagelight_plugins.hookspecs import QueryResult

T = TypeVar("T")

THREADS: Final = 2
"""Of each lane of questions."""
SECONDS: Final = 10.0
ROWS: Final = 10_000
"""What is asked for by default; the lane's own handles are made for it, other limits take a new handle (12 ms)."""


class Examiner:
    """Examines questions, in a lane of its own."""

    def __init__(self, engine: Engine, lane: Lane) -> None:
        self._engine = engine
        self._lane = lane
        self._words: Words | None = None

    async def close(self) -> None:
        """Let the questions that are being answered finish. Safe twice."""
        await self._lane.close()

    async def _call(self, work: Callable[[Handle], T]) -> T:
        try:
            return await self._lane.call(work)
        except HistoryError as error:
            if error.retryable:
                raise HistoryAway(str(error)) from error
            raise QueryFailed(str(error)) from error

    def _question(self, handle: Handle, sql: str, parameters: Mapping[str, Any] | None) -> Question:
        if self._words is None:
            self._words = readonly.words(handle)
        return readonly.question(handle, sql, parameters, database=self._engine.database, words=self._words)


class Asker(Examiner):
    """Has questions answered as rows."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, Lane("sql", threads=THREADS, connect=partial(self._connect, SECONDS, ROWS)))

    def _connect(self, seconds: float, rows: int) -> Handle:
        return self._engine.connect(database=self._engine.database, settings=readonly.settings(seconds, rows))

    async def ask(
        self, sql: str, parameters: Mapping[str, Any] | None, *, seconds: float, rows: int
    ) -> QueryResult:
        """See `History.query`."""
        return await self._call(lambda handle: self._answer(handle, sql, parameters, seconds, rows))

    def _answer(
        self, handle: Handle, sql: str, parameters: Mapping[str, Any] | None, seconds: float, rows: int
    ) -> QueryResult:
        asked = self._question(handle, sql, parameters)
        if (seconds, rows) == (SECONDS, ROWS):
            return readonly.answer(handle, asked, rows)
        own = self._connect(seconds, rows)
        try:
            return readonly.answer(own, asked, rows)
        finally:
            own.close()
