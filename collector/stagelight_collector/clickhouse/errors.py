"""Errors as ClickHouse's clients know them: a number, a name, a status."""

from __future__ import annotations

from typing import Final

_STATUS: Final = {
    27: 400, 36: 400, 38: 400, 41: 400, 42: 400, 43: 400, 44: 400, 46: 404, 47: 404, 53: 400, 60: 404, 62: 400, 70: 400, 81: 404,
    115: 404, 158: 413, 159: 408, 164: 403, 202: 503, 241: 500, 307: 413, 396: 413, 452: 403, 456: 400, 457: 400, 497: 403,
    48: 501, 386: 400,
}  # fmt: skip
"""As ClickHouse's server answers (`exceptionCodeToHTTPStatus`); what is not named is 500."""


class Refused(Exception):
    """A request that is answered with an error of ClickHouse's."""

    def __init__(self, code: int, name: str, message: str) -> None:
        self.code = code
        """ClickHouse's number of the error (`system.errors`)."""
        self.name = name
        super().__init__(message)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return _STATUS.get(self.code, 500)

    @property
    def text(self) -> str:
        """The body, which clients read again for the number."""
        return f"Code: {self.code}. DB::Exception: {self}. ({self.name})\n"
