"""Errors of the API: `application/problem+json` (RFC 9457)."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import web

from stagelight_collector.history import BadCursor, HistoryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.typedefs import Handler

_log = logging.getLogger(__name__)


class Problem(Exception):
    """A request that cannot be answered.

    Args:
        status: The HTTP status code.
        detail: What is wrong with this request.
        remedy: What to do about it.
        retry_after: Seconds after which to try again.
        headers: Of the response.
        members: More to tell programs, beside the members that every problem has.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        remedy: str = "",
        *,
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.remedy = remedy
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(retry_after)
        self.members = members

    def response(self) -> web.Response:
        """Return the error as a response."""
        body: dict[str, Any] = {
            **self.members,
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": f"{self.detail} {self.remedy}".strip(),
        }
        return web.Response(
            status=self.status,
            text=json.dumps(body),
            content_type="application/problem+json",
            headers=self.headers,
        )


@web.middleware
async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer problems, and aiohttp's own errors, in the one shape."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem.response()
    except BadCursor as error:
        return Problem(400, f"{error}.").response()
    except HistoryError as error:
        if error.retryable:
            return Problem(503, f"{error}.", "Try again.", retry_after=1).response()
        _log.exception("history failed")
        return Problem(500, f"{error}.", "The collector's log says more.").response()
    except web.HTTPError as error:
        return Problem(error.status, f"{request.method} {request.path}: {error.reason}.").response()
