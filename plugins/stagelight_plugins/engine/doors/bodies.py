"""What we are told: the bodies and queries of the public Workflows API, checked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

import orjson
from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError

from stagelight_plugins.engine.doors.envelope import INVALID, Refused
from stagelight_plugins.engine.durations import milliseconds
from stagelight_plugins.engine.facts import From, NewInstance, Status
from stagelight_plugins.engine.limits import MAX_BATCH
from stagelight_plugins.validation import first_problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

T = TypeVar("T")
MAX_PAGE: Final = 100
"""Items of a page."""


class Retention(BaseModel):
    """How long an instance is kept; we keep it for the longer of the two, however it ends."""

    success_retention: int | str | None = None
    error_retention: int | str | None = None

    def longest(self) -> int | None:
        """Return milliseconds, or None.

        Raises:
            BadDuration: One of them is none.
        """
        given = [value for value in (self.success_retention, self.error_retention) if value is not None]
        return max((milliseconds(value) for value in given), default=None)


class Creation(BaseModel):
    """One instance. `params` is JSON as text, as the API has it, or JSON itself."""

    instance_id: str | None = None
    instance_retention: Retention | None = None
    params: Any = None

    def instance(self) -> NewInstance:
        """Return it as the engine takes it."""
        retention = self.instance_retention.longest() if self.instance_retention else None
        return NewInstance(id=self.instance_id, params=_parsed(self.params), retention=retention)


class Origin(BaseModel):
    """The step from which a restart begins."""

    name: str
    count: int = Field(default=1, ge=1)
    type: Literal["do", "sleep", "waitForEvent", "child"] = "do"

    def step(self) -> From:
        """Return it as the engine takes it."""
        return From(
            name=self.name,
            count=self.count,
            type="wait_for_event" if self.type == "waitForEvent" else self.type,
        )


class Change(BaseModel):
    """A change of status."""

    status: Literal["pause", "resume", "terminate", "restart"]
    rollback: bool = False
    origin: Origin | None = Field(default=None, alias="from")


class Skip(BaseModel):
    """A step that is given its output."""

    step: str
    count: int = Field(default=1, ge=1)
    output: Any = None


def _utc(value: object) -> object:
    """Read a time as the API has it: without an offset it is UTC."""
    if not isinstance(value, str):
        return value
    found = datetime.fromisoformat(value)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _batch(value: Any) -> Any:
    """Read a batch also as bindings have it: `{"count": 3}` or `{"instances": […]}`."""
    if value.__class__ is not dict:
        return value
    count = value.get("count")
    if count.__class__ is int:
        return [Creation() for _ in range(min(max(count, 0), MAX_BATCH + 1))]
    return value.get("instances", value)


Time = Annotated[datetime, BeforeValidator(_utc)]


class ListQuery(BaseModel):
    """The query of a list of instances."""

    cursor: str = ""
    direction: Literal["asc", "desc"] = "desc"
    page: int = Field(default=1, ge=1, le=1_000_000)
    per_page: int = Field(default=50, ge=1, le=MAX_PAGE)
    status: Status | None = None
    date_start: Time | None = None
    date_end: Time | None = None


class PageQuery(BaseModel):
    """The query of a list that has numbered pages."""

    page: int = Field(default=1, ge=1)
    per_page: int = Field(default=50, ge=1, le=MAX_PAGE)
    search: str = ""


class GetQuery(BaseModel):
    """The query of an instance."""

    order: Literal["asc", "desc"] = "asc"
    simple: bool = False


class StepQuery(BaseModel):
    """The query of a step; `name` ends with its counter, as in `fetch-1`."""

    name: str
    type: Literal["step", "waitForEvent"]
    attempt: int = Field(default=0, ge=0)


CREATION: Final = TypeAdapter(Creation)
CREATIONS: Final = TypeAdapter(Annotated[list[Creation], BeforeValidator(_batch)])
CHANGE: Final = TypeAdapter(Change)
SKIP: Final = TypeAdapter(Skip)
LIST: Final = TypeAdapter(ListQuery)
PAGE: Final = TypeAdapter(PageQuery)
GET: Final = TypeAdapter(GetQuery)
STEP: Final = TypeAdapter(StepQuery)


async def body_of(request: web.Request, kind: TypeAdapter[T]) -> T:
    """Return the body of a request, which may be left out where nothing must be said.

    Raises:
        Refused: It is not JSON, or not what it should be.
    """
    return _checked(kind, await json_of(request, {}))


async def json_of(request: web.Request, missing: Any = None) -> Any:
    """Return the JSON of a request.

    Raises:
        Refused: It is no JSON.
    """
    raw = await request.read()
    if not raw:
        return missing
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refused(400, INVALID, f"the body is not JSON: {error}") from error


def query_of(request: web.Request, kind: TypeAdapter[T]) -> T:
    """Return the query of a request.

    Raises:
        Refused: It is not what it should be.
    """
    given: Mapping[str, str] = request.query
    return _checked(kind, dict(given))


def _checked(kind: TypeAdapter[T], value: Any) -> T:
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        raise Refused(400, INVALID, first_problem(error)) from error


def _parsed(params: Any) -> Any:
    if not isinstance(params, str):
        return params
    try:
        return orjson.loads(params)
    except orjson.JSONDecodeError as error:
        raise Refused(
            400,
            INVALID,
            f'params is text, but not JSON ({error}); write JSON, as in "{{\\"name\\": \\"Ada\\"}}"',
        ) from error
