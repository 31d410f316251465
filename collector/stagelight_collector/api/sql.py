"""Questions to history in SQL, for people and programs: one statement that only reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stagelight_collector.api.problem import Problem
from stagelight_collector.api.runs import reply
from stagelight_collector.history.readonly import MAX_ROWS, MAX_SECONDS
from stagelight_plugins.errors import HistoryAway, QueryFailed, QueryRefused
from stagelight_plugins.validation import first_problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stagelight_collector.history import History
    from stagelight_plugins.hookspecs import QueryResult

EXAMPLE: Final = 'Send {"sql": "SELECT Status, count() FROM stagelight_runs GROUP BY Status"}.'


class Asked(BaseModel):
    """The body of a question."""

    model_config = ConfigDict(extra="forbid", strict=True)

    sql: str
    parameters: dict[str, Any] = {}
    """They go where the text says `{name:Type}`."""
    seconds: Annotated[float, Field(gt=0, le=MAX_SECONDS)] = 10.0
    rows: Annotated[int, Field(ge=1, le=MAX_ROWS)] = 10_000
    """The most rows to answer with."""


@dataclass(slots=True)
class SqlApi:
    """The route `/api/v1/sql`."""

    history: History

    def routes(self) -> Sequence[web.AbstractRouteDef]:
        """Return the route."""
        return [web.post("/api/v1/sql", self.ask)]

    async def ask(self, request: web.Request) -> web.Response:
        """Answer a question."""
        asked = await _asked(request)
        try:
            found = await self.history.query(
                asked.sql, asked.parameters, seconds=asked.seconds, rows=asked.rows
            )
        except QueryRefused as error:
            raise Problem(400, f"This SQL is refused: {error.reason}.", _sentence(error.remedy)) from error
        except QueryFailed as error:
            raise Problem(400, str(error), code=error.code) from error
        except HistoryAway as error:
            raise Problem(503, f"{error}.", retry_after=error.retry_after) from error
        return reply(result_view(found))


async def _asked(request: web.Request) -> Asked:
    if request.content_type != "application/json":
        raise Problem(415, "The question is not JSON.", f"Content-Type must be application/json. {EXAMPLE}")
    try:
        return Asked.model_validate_json(await request.read())
    except ValidationError as error:
        raise Problem(400, f"The body is no question: {first_problem(error)}.", EXAMPLE) from error


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def result_view(found: QueryResult) -> dict[str, Any]:
    """Return an answer; rows are lists in the order of the columns."""
    return {
        "columns": found.columns,
        "types": found.types,
        "rows": found.rows,
        "truncated": found.truncated,
    }
