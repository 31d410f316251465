"""Which rows of a batch history has already: asked when a batch may have gone in, in part or in whole, before a crash.

The engine's own deduplication is not relied upon for that: its log of tokens and its parts are two files, and a process
may be killed between them. (With tokens alone one batch was once found doubled after kills under load; why was not
isolated.) What is in the table is the truth, so the rows are compared with it by their keys.
"""

from __future__ import annotations

from collections import Counter
from itertools import compress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from stagelight_collector.history.engine import Handle

PORTION: Final = 2_000
"""Rows that one question is about."""

_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "otel_traces": ("Timestamp", "TraceId", "SpanId"),
    "otel_logs": ("Timestamp", "TraceId", "SpanId", "EventName", "Body"),
}
"""What tells a row from another. Rows that are equal in it are counted."""

_QUERY: Final = """
SELECT toUnixTimestamp64Nano(Timestamp), {others}
FROM {table}
WHERE Timestamp >= fromUnixTimestamp64Nano({{low:Int64}}) AND Timestamp <= fromUnixTimestamp64Nano({{high:Int64}})
    AND TraceId IN {{traces:Array(String)}} AND SpanId IN {{spans:Array(String)}}
"""


def absent(handle: Handle, table: str, columns: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Return the rows that the table does not have; all of them for a table that takes doubled rows."""
    names = _KEYS.get(table)
    if names is None or not columns:
        return {name: list(column) for name, column in columns.items()}
    keys = list(zip(*(columns[name] for name in names), strict=True))
    wanted: list[bool] = []
    for start in range(0, len(keys), PORTION):
        portion = keys[start : start + PORTION]
        wanted += _missing(portion, _present(handle, table, names, portion))
    return {name: list(compress(column, wanted)) for name, column in columns.items()}


def _present(
    handle: Handle, table: str, names: tuple[str, ...], keys: Sequence[tuple[Any, ...]]
) -> Counter[tuple[Any, ...]]:
    # The names are constants of this module; all else is bound by the server.
    query = _QUERY.format(table=table, others=", ".join(names[1:]))
    times = [key[0] for key in keys]
    parameters = {
        "low": min(times),
        "high": max(times),
        "traces": sorted({key[1] for key in keys}),
        "spans": sorted({key[2] for key in keys}),
    }
    return Counter(map(tuple, handle.query(query, parameters).result_rows))


def _missing(keys: Sequence[tuple[Any, ...]], present: Counter[tuple[Any, ...]]) -> Iterator[bool]:
    for key in keys:
        present[key] -= 1
        yield present[key] < 0
