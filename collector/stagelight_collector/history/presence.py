"""Which rows of a batch history has already: asked when a batch may have gone in, in part or in whole, before a crash.

The engine's own deduplication is not relied upon for that: its log of tokens and its parts are two files, and a process
may be killed between them. (With tokens alone one batch was once found doubled after kills under load; why was not
isolated.) What is in the table is the truth, so the rows are compared with it by their keys.
"""

from __future__ import annotations

from collections import Counter
from itertools import compress
from typing import TYPE_CHECKING, Any, Final, cast

from stagelight_collector.decode.metrics import METRIC_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from stagelight_collector.history.engine import Handle

PORTION: Final = 2_000
"""Rows that one question is about."""

_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "otel_traces": ("Timestamp", "TraceId", "SpanId"),
    "otel_logs": ("Timestamp", "TraceId", "SpanId", "EventName", "Body"),
    **METRIC_COLUMNS,
}
"""What tells a row from another; data points have no ids, so that is all of them. Rows that are equal in it are counted."""

_QUERY: Final = """
SELECT toUnixTimestamp64Nano(Timestamp), {others}
FROM {table}
WHERE Timestamp >= fromUnixTimestamp64Nano({{low:Int64}}) AND Timestamp <= fromUnixTimestamp64Nano({{high:Int64}})
    AND TraceId IN {{traces:Array(String)}} AND SpanId IN {{spans:Array(String)}}
"""
_POINTS: Final = """
SELECT {columns}
FROM {table}
WHERE TimeUnix >= toDateTime({{low:UInt32}}) AND TimeUnix <= toDateTime({{high:UInt32}})
    AND ServiceName IN {{services:Array(String)}} AND MetricName IN {{names:Array(String)}}
"""
_TIMES: Final = {
    "StartTimeUnix": "toUnixTimestamp(StartTimeUnix)",
    "TimeUnix": "toUnixTimestamp(TimeUnix)",
    "Exemplars.TimeUnix": "arrayMap(t -> toUnixTimestamp(t), Exemplars.TimeUnix)",
}


def absent(handle: Handle, table: str, columns: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Return the rows that the table does not have; all of them for a table that takes doubled rows."""
    names = _KEYS.get(table)
    if names is None or not columns:
        return {name: list(column) for name, column in columns.items()}
    present = _points if table in METRIC_COLUMNS else _present
    keys = list(zip(*(columns[name] for name in names), strict=True))
    wanted: list[bool] = []
    for start in range(0, len(keys), PORTION):
        portion = keys[start : start + PORTION]
        found = present(handle, table, names, portion)
        wanted += _missing(map(_plain, portion), Counter(map(_plain, found)))
    return {name: list(compress(column, wanted)) for name, column in columns.items()}


def _present(
    handle: Handle, table: str, names: tuple[str, ...], keys: Sequence[tuple[Any, ...]]
) -> Sequence[Sequence[Any]]:
    # The names are constants of this module; all else is bound by the server.
    query = _QUERY.format(table=table, others=", ".join(names[1:]))
    times = [key[0] for key in keys]
    parameters = {
        "low": min(times),
        "high": max(times),
        "traces": sorted({key[1] for key in keys}),
        "spans": sorted({key[2] for key in keys}),
    }
    return handle.query(query, parameters).result_rows


def _points(
    handle: Handle, table: str, names: tuple[str, ...], keys: Sequence[tuple[Any, ...]]
) -> Sequence[Sequence[Any]]:
    chosen = ", ".join(_TIMES.get(name, name) for name in names)
    time, service, metric = map(names.index, ("TimeUnix", "ServiceName", "MetricName"))
    parameters = {
        "low": min(key[time] for key in keys),
        "high": max(key[time] for key in keys),
        "services": sorted({key[service] for key in keys}),
        "names": sorted({key[metric] for key in keys}),
    }
    return handle.query(_POINTS.format(table=table, columns=chosen), parameters).result_rows


def _missing(keys: Iterator[Any], present: Counter[Any]) -> Iterator[bool]:
    for key in keys:
        present[key] -= 1
        yield present[key] < 0


def _plain(value: Any) -> Any:
    """Return a value that equals what the table gives back of it: no lists, no maps, and NaN like any number."""
    if isinstance(value, list | tuple):
        return tuple([_plain(item) for item in cast("Sequence[Any]", value)])
    if isinstance(value, dict):
        return tuple(sorted(cast("dict[str, str]", value).items()))
    return "nan" if value != value else value  # noqa: PLR0124 - which is how NaN is known
