"""OTLP's JSON: protobuf's own mapping, but for ids, which are hexadecimal (OTLP specification 1.11, "JSON Protobuf").

The text is read and counted before any message is built, as the wire format is in `prescan`.
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final, TypeGuard, TypeVar, cast

import orjson
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from stagelight_collector.receivers.prescan import too_deep, too_many_items
from stagelight_collector.receivers.status import Reason, Refused

if TYPE_CHECKING:
    from stagelight_collector.receivers.limits import Limits

_M = TypeVar("_M", bound=Message)

_IDS: Final = frozenset({"traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"})
_BRACKETS_PER_ITEM: Final = 20
"""An attribute has two or three. More of them on average mean nothing, and each costs memory once it is read."""


def parse_json(body: bytes, message: type[_M], limits: Limits) -> _M:
    """Build the message. Takes 20 times as long as protobuf: never call it on the event loop.

    Enumerations may be numbers or names, 64-bit numbers may be texts, fields that are not known are ignored.

    Raises:
        Refused: `MALFORMED`, `TOO_MANY_ITEMS`, `TOO_DEEP`.
    """
    if body.count(b"{") + body.count(b"[") > limits.items * _BRACKETS_PER_ITEM:
        raise too_many_items(limits)
    try:
        found: object = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(
            Reason.MALFORMED, f"the body is not JSON: {error.msg} (at character {error.pos})"
        ) from None
    if not _is_object(found):
        raise Refused(Reason.MALFORMED, f"the body is not a JSON object: {message.DESCRIPTOR.name} is one")
    _prepare(found, limits)
    try:
        return ParseDict(found, message(), ignore_unknown_fields=True)
    except Exception as error:  # noqa: BLE001 - TypeError and others beside ParseError: the text is at fault each time
        reason = f"the body is not a valid {message.DESCRIPTOR.name}: {_brief(error)}"
        raise Refused(Reason.MALFORMED, reason) from None


def _prepare(found: dict[str, Any], limits: Limits) -> None:
    """Count the messages, bound their depth, and write ids as protobuf's mapping wants them."""
    items = 0
    level: list[Any] = [found]
    for _ in range(2 * limits.depth + 2):  # lists have a level of their own
        items += sum(isinstance(one, dict) for one in level)
        if items > limits.items:
            raise too_many_items(limits)
        level = [inner for one in level for inner in _inside(one)]
        if not level:
            return
    raise too_deep(limits)


def _inside(found: Any) -> list[Any]:
    if not _is_object(found):
        return [one for one in found if isinstance(one, dict | list)]
    for key in _IDS & found.keys():
        found[key] = _base64(found[key])
    return [one for one in found.values() if isinstance(one, dict | list)]


def _is_object(found: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(found, dict)


def _base64(found: object) -> object:
    """Return an id as base64; one that is not hexadecimal as what no id can be, for it matters only in a known field."""
    if found is None:
        return None
    try:
        return b64encode(bytes.fromhex(cast("str", found))).decode()
    except (TypeError, ValueError):
        return {}


def _brief(error: Exception) -> str:
    """Return where it is wrong, without the value that is there."""
    fields: list[str] = re.findall(r"Failed to parse (\w+) field", str(error))
    return f"look at {'.'.join(fields)}" if fields else type(error).__name__
