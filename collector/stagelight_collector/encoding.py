"""JSON on its way out: one line of UTF-8, whatever text and numbers telemetry holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from stagelight.events import Event


def encode(data: Any) -> bytes:
    """Return one line of JSON.

    What UTF-8 cannot carry (lone surrogates) is escaped, and numbers beyond 64 bits are written out: orjson refuses
    both, the standard library does not. Other types are written as their text.
    """
    try:
        return orjson.dumps(data, default=str)
    except TypeError:
        return json.dumps(data, separators=(",", ":"), default=str).encode()


def fact(event: Event) -> str:
    """Return an event as JSON; equal facts give equal text."""
    return json.dumps(event.to_dict(), sort_keys=True, separators=(",", ":"), default=str)
