"""One query, within the bounds of seconds, bytes and rows that hold for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stagelight_collector.history import queries
from stagelight_collector.history.errors import HistoryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from stagelight_collector.history.engine import Handle, Result


PARAMETER_BYTES: Final = 40_000
"""Of one list of texts; a server takes no parameter of more than 128 KiB, and what is odd in a text takes up to three times its bytes."""


def ask(handle: Handle, query: str, **parameters: Any) -> Sequence[Sequence[Any]]:
    """Run one query within the bounds.

    Raises:
        HistoryError: It failed or exceeded them.
    """
    return result(handle, query, parameters).result_rows


def result(handle: Handle, query: str, parameters: Mapping[str, Any]) -> Result:
    """Run one query within the bounds; the columns have names.

    Raises:
        HistoryError: It failed or exceeded them.
    """
    try:
        return handle.query(
            query, {name: _clean(value) for name, value in parameters.items()}, queries.LIMITS
        )
    except Exception as error:
        raise HistoryError(f"a query of history failed: {error}", retryable=True) from error


def portions(texts: Iterable[str]) -> Iterator[list[str]]:
    """Cut a list of texts into lists that are short enough to be a parameter."""
    portion: list[str] = []
    size = 0
    for text in texts:
        length = len(text.encode()) + len("'',")
        if portion and size + length > PARAMETER_BYTES:
            yield portion
            portion, size = [], 0
        portion.append(text)
        size += length
    if portion:
        yield portion


def _clean(value: Any) -> Any:
    """Replace lone surrogates, which a query string can carry and UTF-8 cannot."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
