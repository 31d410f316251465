"""What every answer looks like, and which error has which status and code."""

from __future__ import annotations

import math
from typing import Any, Final

import orjson
from aiohttp import web

from stagelight_plugins.engine import errors

INVALID: Final = 10001
"""An argument is wrong; also whatever has no code of its own."""

_CODES: Final[tuple[tuple[type[errors.EngineError], int, int], ...]] = (
    (errors.WorkflowNotFound, 404, 10200),
    (errors.InstanceNotFound, 404, 10400),
    (errors.StepNotFound, 404, 10404),
    (errors.InstanceExists, 400, 10405),
    (errors.WrongState, 400, 10406),
    (errors.TooLarge, 413, INVALID),
    (errors.LimitReached, 429, 10429),
    (errors.StoreError, 503, 10503),
)
"""10200, 10400 and 10405 are the public API's; 10404, 10406, 10429 and 10503 are ours.

A wrong state is 400 and not 409: clients take 409 for something that passes, and ask again.
"""


class Refused(Exception):
    """A request that cannot be answered.

    Args:
        status: The HTTP status.
        code: The API's code.
        message: What is wrong, and what to do about it.
    """

    def __init__(self, status: int, code: int, message: str) -> None:
        self.status = status
        self.code = code
        super().__init__(message)


def done(result: Any, *, info: Any = None, faults: list[dict[str, Any]] | None = None) -> web.Response:
    """Answer with a result; `faults` are what did not hinder the rest."""
    body = {"success": True, "errors": faults or [], "messages": [], "result": result}
    if info is not None:
        body["result_info"] = info
    return _response(200, body)


def refused(status: int, code: int, message: str, retry_after: float = 0.0) -> web.Response:
    """Answer with an error."""
    fault = {"code": code, "message": message}
    response = _response(status, {"success": False, "errors": [fault], "messages": [], "result": None})
    if retry_after:
        response.headers["Retry-After"] = str(math.ceil(retry_after))
    return response


def code_of(error: errors.EngineError) -> tuple[int, int]:
    """Return the HTTP status and the API's code of an error."""
    return next((found[1:] for found in _CODES if isinstance(error, found[0])), (400, INVALID))


def _response(status: int, body: dict[str, Any]) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")
