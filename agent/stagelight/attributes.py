"""Attribute values: whatever the user hands over becomes something that fits on the wire.

Bounded in length, depth and number; safe against objects that raise when they are looked at.
Standard library only.
"""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from stagelight.conventions import PREFIX
from stagelight.guard import report
from stagelight.redaction import REDACTED, is_secret, redact

if TYPE_CHECKING:
    from collections.abc import Mapping

AttributeValue: TypeAlias = str | bool | int | float | list[str] | list[bool] | list[int] | list[float]

MOST_CHARACTERS: Final = 32 * 1024
"""A longer text is cut here and marked."""
MOST_ATTRIBUTES: Final = 128
"""Further attributes of one call are left out."""
CUT_MARK: Final = "… [cut]"

_MOST_KEY_CHARACTERS: Final = 256
_MOST_ITEMS: Final = 128
_WIDEST_INT: Final = 2**63


class _BoundedRepr(reprlib.Repr):
    """`repr`, bounded in depth and width, of objects that may refuse."""

    def repr_instance(self, x: object, level: int) -> str:
        """Return an object's own text, cut; of an object that refuses, its type."""
        del level
        try:
            return repr(x)[: self.maxother]
        except Exception as fault:  # a hostile __repr__ may raise whatever it likes
            report("attribute conversion", fault)
            return f"<{type(x).__name__} that cannot be shown>"


def _renderer() -> reprlib.Repr:
    bounded = _BoundedRepr()
    bounded.maxlevel = 4
    bounded.maxdict = bounded.maxlist = bounded.maxtuple = bounded.maxset = bounded.maxfrozenset = 64
    bounded.maxdeque = bounded.maxarray = 64
    bounded.maxstring = bounded.maxother = 2048
    bounded.maxlong = 256
    return bounded


_BOUNDED: Final = _renderer()


def bounded_text(value: str) -> str:
    """Return the text redacted, cut at `MOST_CHARACTERS` and free of what UTF-8 cannot say (lone surrogates)."""
    if len(value) > MOST_CHARACTERS:
        value = value[:MOST_CHARACTERS] + CUT_MARK
    if not value.isascii():
        value = value.encode("utf-8", "replace").decode("utf-8")
    return redact(value)


def name_text(name: object) -> str:
    """Return a name that fits on the wire: at most 256 characters, all of which UTF-8 can say."""
    text = str.__str__(name) if isinstance(name, str) else describe(name)
    return (text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8"))[
        :_MOST_KEY_CHARACTERS
    ]


def describe(value: object) -> str:
    """Return a bounded `repr` of anything; of an object that refuses, its type."""
    try:
        return bounded_text(_BOUNDED.repr(value))
    except Exception as fault:  # a hostile __repr__ may raise whatever it likes
        report("attribute conversion", fault)
        return f"<{type(value).__name__} that cannot be shown>"


def clean(value: object) -> AttributeValue:
    """Return a value for the wire: primitives as they are, anything else as bounded text.

    Exact types are compared, so that no method of a hostile object runs before `describe` contains it.
    """
    kind = type(value)
    if isinstance(value, str):
        return bounded_text(str.__str__(value))
    if kind is bool or kind is float:
        return value  # type: ignore[return-value]  # the exact type was just compared
    if isinstance(value, int):
        return _clean_int(int.__int__(value))
    if (kind is list or kind is tuple) and value:
        return _clean_items(value)  # type: ignore[arg-type]  # the exact type was just compared
    return describe(value)


def _clean_int(value: int) -> int | str:
    if -_WIDEST_INT <= value < _WIDEST_INT:
        return value
    # Python refuses to print very long integers in decimal; the number of bits is all that is worth saying.
    return str(value) if value.bit_length() < 1024 else f"<integer of {value.bit_length()} bits>"


def _clean_items(items: list[object] | tuple[object, ...]) -> AttributeValue:
    kinds = {type(item) for item in items[:_MOST_ITEMS]}
    if len(items) > _MOST_ITEMS or len(kinds) != 1 or not kinds <= {str, bool, int, float}:
        return describe(items)
    cleaned = [clean(item) for item in items]
    if len({type(item) for item in cleaned}) != 1:
        return [str(item) for item in cleaned]
    return cleaned  # type: ignore[return-value]  # homogeneous: one primitive type, just checked


def clean_attributes(attributes: Mapping[Any, object]) -> dict[str, AttributeValue]:
    """Return the user's attributes for the wire: at most `MOST_ATTRIBUTES`, secrets redacted by key.

    Keys under `workflow.` are the agent's own words and are left out.
    """
    cleaned: dict[str, AttributeValue] = {}
    for key, value in attributes.items():
        if len(cleaned) >= MOST_ATTRIBUTES:
            break
        name = name_text(key)
        if not name or name.startswith(PREFIX) or value is None:
            continue
        cleaned[name] = REDACTED if is_secret(name) else clean(value)
    return cleaned
