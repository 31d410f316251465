"""Answers: what all routes share: a refusal in one sentence, the body of a request, a limit."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from stagelight_plugins.validation import first_problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from stagelight_plugins.errors import Place

PREFIX: Final = "/-/alerting"
MOST_BYTES: Final = 64 << 10
"""Of a request's body."""

T = TypeVar("T", bound=BaseModel)


class Refused(Exception):
    """A request that is answered with a status and a sentence, and what is wrong with each field."""

    def __init__(self, status: int, detail: str, errors: Sequence[tuple[Place, str]] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.errors = tuple(errors)


def guarded(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return the handler with its refusals made answers (RFC 9457)."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except Refused as refused:
            data: dict[str, Any] = {
                "type": "about:blank",
                "title": HTTPStatus(refused.status).phrase,
                "status": refused.status,
                "detail": str(refused),
            }
            if refused.errors:
                data["errors"] = [{"place": list(place), "message": text} for place, text in refused.errors]
            return web.json_response(data, status=refused.status, content_type="application/problem+json")

    return handle


async def body_of(request: web.Request, kind: type[T]) -> T:
    """Return the body. Only JSON is read: a form of another page cannot send that."""
    data = await request.read()
    if data and request.content_type != "application/json":
        raise Refused(415, "Send JSON, with the header Content-Type: application/json.")
    if len(data) > MOST_BYTES:
        raise Refused(413, f"Send {MOST_BYTES >> 10} KiB at most.")
    try:
        read: Any = from_json(data or b"{}", allow_inf_nan=False)
        json.dumps(read, allow_nan=False)  # 1e999 is infinite, and what is kept must be JSON again
    except ValueError as error:
        raise Refused(400, f"This is no JSON: {error}.") from error
    try:
        return kind.model_validate(read)
    except ValidationError as error:
        raise Refused(400, f"{first_problem(error)}.") from error


def limit_of(request: web.Request) -> int:
    """Return how many were asked for."""
    text = request.query.get("limit", "100")
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:9]) <= 1_000:
        raise Refused(400, "limit: write a number from 1 to 1000.")
    return int(text)
