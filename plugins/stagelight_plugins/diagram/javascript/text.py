"""Text and numbers as JavaScript writes them."""

from __future__ import annotations

import re
from typing import Final

_ESCAPE: Final = re.compile(
    r"\\(?:u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(\r\n|[\s\S]))", re.DOTALL
)
_PLAIN: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0"}
_LINE_ENDS: Final = frozenset({"\n", "\r\n", "\r", "\u2028", "\u2029"})


def unescape(text: str) -> str:
    """Return what a string literal's text means."""
    if "\\" not in text:
        return text
    joined = _ESCAPE.sub(_escaped, text)
    return joined.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _escaped(match: re.Match[str]) -> str:
    code = match[1] or match[2] or match[3]
    if code:
        value = int(code, 16)
        return chr(value) if value < 0x110000 else "\ufffd"
    plain = match[4]
    return "" if plain in _LINE_ENDS else _PLAIN.get(plain, plain)


def number(text: str) -> int | float | None:
    """Return what a number literal means; None if it cannot be told."""
    text = text.replace("_", "").lower().removesuffix("n")
    try:
        if text[:2] in {"0x", "0o", "0b"}:
            return int(text, 0)
        value = float(text)
    except ValueError:
        return None
    if value != value or value in {float("inf"), float("-inf")}:  # noqa: PLR0124 - the test for NaN
        return None
    return int(value) if value.is_integer() and abs(value) < 2**63 else value
