"""One look at the bytes of a request, before anything is made of them: most hold nothing that is looked for.

With RE2, whose time does not grow with the number of rules: 0.03 to 0.6 µs a span, where `re` takes up to 9.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

_re2: Final[Any] = importlib.import_module("re2")  # it has no types


class Finder:
    """Says whether bytes hold something of which one of some rules is true; `.` is any byte."""

    def __init__(self, *rules: bytes) -> None:
        options = _re2.Options()
        options.encoding, options.never_capture, options.dot_nl = _re2.Options.Encoding.LATIN1, True, True
        self._rules = rules
        self._search = _re2.compile(b"|".join(rules), options).search

    def __call__(self, body: bytes) -> bool:
        """Look once."""
        return self._search(body) is not None

    def __or__(self, other: Finder) -> Finder:
        """Return what finds what either finds, in one look."""
        return Finder(*self._rules, *other._rules)
