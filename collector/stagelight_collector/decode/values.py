"""Attribute values: as plain data for events, and as the texts that the exporter writes."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

MAX_DEPTH: Final = 32
"""How deep an attribute value may nest; what lies deeper is cut."""
MAX_TIME: Final = 2**63 - 1
"""The last nanosecond that history can hold, in April 2262; a later one is read as this one."""


def nanoseconds(found: int) -> int:
    """Return a time as history can hold it: one row that it cannot hold would take its whole batch down."""
    return min(max(found, 0), MAX_TIME)


def plain_value(found: AnyValue, depth: int = 0) -> Any:
    """Return a value as plain data; lists and maps deeper than `MAX_DEPTH` are empty."""
    kind = found.WhichOneof("value")
    if kind == "array_value":
        return (
            [] if depth >= MAX_DEPTH else [plain_value(item, depth + 1) for item in found.array_value.values]
        )
    if kind == "kvlist_value":
        items = () if depth >= MAX_DEPTH else found.kvlist_value.values
        return {item.key: plain_value(item.value, depth + 1) for item in items}
    return None if kind is None else getattr(found, kind)


def plain(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    """Return attributes as plain data."""
    return {attribute.key: plain_value(attribute.value) for attribute in attributes}


def text(value: Any) -> str:
    """Return a value as the exporter writes it (pdata's `AsString`)."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, list | dict):
        return json.dumps(value, separators=(",", ":"), default=text, ensure_ascii=False)
    return _number(value) if isinstance(value, float) else str(value)


def _number(value: float) -> str:
    """Return a number as ClickHouse writes it; the exporter would write `1e+21` for `1e21`, else the same."""
    digits = repr(value)
    if "e" not in digits:
        return digits.removesuffix(".0")
    if 1e-6 <= abs(value) < 1e21:
        return f"{Decimal(digits):f}"
    mantissa, _, exponent = digits.partition("e")
    return f"{mantissa}e{int(exponent)}"


def texts(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Return attributes as the exporter writes them, sorted by key."""
    return {key: text(attributes[key]) for key in sorted(attributes)}
