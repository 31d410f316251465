"""How messages are written: chosen by a request's content type, kept for its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import DecodeError, Message

from stagelight_collector.receivers.prescan import SMALL_BYTES, count_items
from stagelight_collector.receivers.status import Reason, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stagelight_collector.receivers.limits import Limits
    from stagelight_collector.receivers.prescan import Table

_M = TypeVar("_M", bound=Message)


@dataclass(frozen=True, slots=True)
class Encoding:
    """One of OTLP's encodings."""

    content_type: str
    encode: Callable[[Message], bytes]


PROTOBUF: Final = Encoding("application/x-protobuf", lambda message: message.SerializeToString())
JSON: Final = Encoding("application/json", lambda message: MessageToJson(message, indent=None).encode())

_ENCODINGS: Final[Mapping[str, Encoding]] = {one.content_type: one for one in (PROTOBUF, JSON)}


def encoding_of_answer(content_type: str) -> Encoding:
    """The encoding that a sender of this content type can read; protobuf if it is neither."""
    return _ENCODINGS.get(content_type, PROTOBUF)


def require_accepted(content_type: str) -> None:
    """One of OTLP's two encodings.

    Raises:
        Refused: `CONTENT_TYPE`, naming what is accepted.
    """
    if content_type not in _ENCODINGS:
        raise Refused(
            Reason.CONTENT_TYPE,
            f"send {PROTOBUF.content_type} (OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf) or {JSON.content_type}",
            headers={"Accept-Post": ", ".join(_ENCODINGS)},
        )


def parse(body: bytes, message: type[_M], table: Table, limits: Limits) -> _M:
    """Build the message; a large body is counted first, without building anything.

    Raises:
        Refused: `MALFORMED`, `TOO_MANY_ITEMS`, `TOO_DEEP`.
    """
    if len(body) > SMALL_BYTES:
        count_items(body, table, limits)
    try:
        return message.FromString(body)
    except DecodeError:
        raise Refused(Reason.MALFORMED, f"the body is not a valid {message.DESCRIPTOR.name}") from None
