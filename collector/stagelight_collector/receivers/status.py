"""Refusals: the HTTP status, the `google.rpc.Code`, and words that name the remedy."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from google.rpc.status_pb2 import Status  # type: ignore[import-untyped] # it has stubs, but no py.typed

if TYPE_CHECKING:
    from collections.abc import Mapping


class Reason(StrEnum):
    """Why a request was not accepted, for counting."""

    METHOD = "method"
    CONTENT_TYPE = "content_type"
    CONTENT_ENCODING = "content_encoding"
    TOO_LARGE = "too_large"
    TOO_MANY_ITEMS = "too_many_items"
    TOO_DEEP = "too_deep"
    MALFORMED = "malformed"
    TOO_SLOW = "too_slow"
    DISCONNECTED = "disconnected"
    OVERLOADED = "overloaded"
    JOURNAL_FULL = "journal_full"
    JOURNAL_UNAVAILABLE = "journal_unavailable"
    INTERNAL = "internal"


# google.rpc.Code, which is gRPC's.
_INVALID_ARGUMENT: Final = 3
_RESOURCE_EXHAUSTED: Final = 8
_UNIMPLEMENTED: Final = 12
_INTERNAL: Final = 13
_UNAVAILABLE: Final = 14

_ANSWERS: Final[Mapping[Reason, tuple[int, int]]] = {
    Reason.METHOD: (405, _UNIMPLEMENTED),
    Reason.CONTENT_TYPE: (415, _INVALID_ARGUMENT),
    Reason.CONTENT_ENCODING: (415, _INVALID_ARGUMENT),
    Reason.TOO_LARGE: (413, _RESOURCE_EXHAUSTED),
    Reason.TOO_MANY_ITEMS: (413, _RESOURCE_EXHAUSTED),
    Reason.TOO_DEEP: (400, _INVALID_ARGUMENT),
    Reason.MALFORMED: (400, _INVALID_ARGUMENT),
    Reason.TOO_SLOW: (408, _INVALID_ARGUMENT),
    Reason.DISCONNECTED: (400, _INVALID_ARGUMENT),
    Reason.OVERLOADED: (429, _UNAVAILABLE),
    Reason.JOURNAL_FULL: (429, _UNAVAILABLE),
    Reason.JOURNAL_UNAVAILABLE: (503, _UNAVAILABLE),
    Reason.INTERNAL: (500, _INTERNAL),
}


class Refused(Exception):  # an answer that is raised, not a fault of the program
    """A request that is not accepted.

    Args:
        reason: decides the HTTP status and the `google.rpc.Code`.
        message: shown to the sender; never has any of the body.
        headers: further headers of the answer.
        retry_after: seconds, where sending the same again can help.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.http = _ANSWERS[reason][0]
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(retry_after)

    def status(self) -> Status:
        """The body that OTLP wants for every answer but 200."""
        return Status(code=_ANSWERS[self.reason][1], message=self.message)
