"""Values as JSON: what is durable is what JSON can say, checked when it is handed over."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

import orjson

from stagelight_plugins.engine.errors import BadValue, TooLarge

if TYPE_CHECKING:
    from collections.abc import Iterator

REDACTED: Final = "[REDACTED]"
_DEPTH: Final = 100


def encode(what: str, value: Any, limit: int) -> bytes:
    """Return a value as JSON.

    Raises:
        BadValue: It is not JSON; the place inside it is named.
        TooLarge: It has more bytes than `limit`.
    """
    try:
        body = orjson.dumps(value, option=orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATETIME)
        if b"null" in body:  # which is also what becomes of a float that JSON does not have
            json.dumps(value, allow_nan=False, default=str, skipkeys=True)
    except ValueError:
        path, kind = _culprit(value, "", 0) or ("", "float, not finite")
        raise BadValue(what, path, kind) from None
    except TypeError as error:
        path, kind = _culprit(value, "", 0) or ("", f"{type(value).__name__} ({error})")
        raise BadValue(what, path, kind) from None
    if len(body) > limit:
        raise TooLarge(what, len(body), limit)
    return body


def decode(body: bytes | str) -> Any:
    """Return what `encode` wrote."""
    return orjson.loads(body)


def _culprit(value: Any, path: str, depth: int) -> tuple[str, str] | None:
    """Return the place and the type of the first thing that is not JSON."""
    if depth > _DEPTH:
        return path[:200], "something nested too deep, or inside itself"
    if isinstance(value, dict | list | tuple):
        return next(filter(None, _culprits(value, path, depth)), None)
    if value is None or isinstance(value, str | bool):
        return None
    if isinstance(value, float):
        return None if math.isfinite(value) else (path, "float, not finite")
    if isinstance(value, int):
        return None if -(2**63) <= value < 2**64 else (path, "int beyond 64 bits")
    return path, type(value).__name__


def _culprits(value: Any, path: str, depth: int) -> Iterator[tuple[str, str] | None]:
    if isinstance(value, dict):
        members: dict[Any, Any] = value  # pyright: ignore[reportUnknownVariableType] - anything is what is looked at
        yield from (_of_item(key, item, path, depth) for key, item in members.items())
    else:
        yield from (_culprit(item, f"{path}[{place}]", depth + 1) for place, item in enumerate(value))


def _of_item(key: Any, value: Any, path: str, depth: int) -> tuple[str, str] | None:
    if not isinstance(key, str):
        return f"{path}.{key!r}"[:200], f"{type(key).__name__} as a key"
    return _culprit(value, f"{path}.{key}", depth + 1)
