"""One run as a file: JSON Lines, a header first, then events, spans and log lines.

    {"stagelight": "run", "version": 1, "run": "4bf9…", "events": 2, "spans": 1, "logs": 0}
    {"event": {"type": "run_started", "run_id": "4bf9…", "time": 1764000000000000000, "workflow": "etl"}}
    {"span": {"Timestamp": 1764000000000000000, "TraceId": "…", "SpanName": "etl", …}}

Spans and log lines have the columns of `otel_traces` and `otel_logs`; times are Unix nanoseconds. The header counts
the lines, so that a file that was cut off is known.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from stagelight.conventions import EventType  # noqa: TC001 - pydantic reads the annotation
from stagelight.events import Event
from stagelight_collector.decode.rows import LOG_COLUMNS, TRACE_COLUMNS, columns
from stagelight_collector.decode.values import MAX_TIME
from stagelight_plugins.hookspecs import Batch
from stagelight_plugins.validation import first_problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stagelight_plugins.hookspecs import Table

VERSION: Final = 1
MAX_BYTES: Final = 64 << 20
MAX_LINES: Final = 100_000
"""Of each kind: events, spans, log lines."""

_Time = Annotated[int, Field(ge=0, le=MAX_TIME)]
_Byte = Annotated[int, Field(ge=0, le=255)]
_Count = Annotated[int, Field(ge=0, le=MAX_LINES)]
_Texts = dict[str, str]
_Row = TypeVar("_Row")

_SPAN: Final = TypeAdapter(
    tuple[
        _Time, str, str, str, str, str, str, str, _Texts, str, str, _Texts, _Time, str, str,
        list[_Time], list[str], list[_Texts], list[str], list[str], list[str], list[_Texts],
    ]
)  # fmt: skip
_LOG: Final = TypeAdapter(
    tuple[_Time, str, str, _Byte, str, _Byte, str, str, str, _Texts, str, str, str, _Texts, _Texts, str]
)


class NotARun(Exception):
    """The file is not one that was exported.

    Args:
        line: Which line, from 1.
        reason: What is wrong with it.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line} of the file: {reason}")
        self.line = line
        self.reason = reason


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Header(_Strict):
    """The first line."""

    stagelight: Literal["run"] = "run"
    version: int = VERSION
    run: Annotated[str, Field(min_length=1)]
    events: _Count
    spans: _Count
    logs: _Count


class _Failure(_Strict):
    type: str = ""
    message: str = ""
    stacktrace: str = ""


class _Event(_Strict):
    type: Annotated[EventType, Field(strict=False)]
    run_id: str
    time: _Time
    received: _Time = 0
    workflow: str = ""
    service: str = ""
    trace_id: str = ""
    span_id: str = ""
    parent_run_id: str = ""
    parent_step_id: str = ""
    step_id: str = ""
    step_name: str = ""
    step_kind: str = ""
    attempt: Annotated[int, Field(ge=0, lt=2**32)] = 0
    child_run_id: str = ""
    error: _Failure | None = None
    message: str = ""
    severity: str = ""
    current: float | None = None
    total: float | None = None
    attributes: dict[str, Any] = {}


def write(run_id: str, batch: Batch) -> Iterator[str]:
    """Yield the lines of a run's file."""
    spans, logs = list(_rows(batch.traces)), list(_rows(batch.logs))
    header = Header(run=run_id, events=len(batch.events), spans=len(spans), logs=len(logs))
    yield _line(header.model_dump())
    for event in batch.events:
        yield _line({"event": {**event.to_dict(), "received": event.received}})
    for row in spans:
        yield _line({"span": row})
    for row in logs:
        yield _line({"log": row})


def _line(data: Any) -> str:
    # Not orjson: integers beyond 64 bits and NaN must come back as they went.
    return json.dumps(data, separators=(",", ":"), default=str) + "\n"


def _rows(table: Table) -> Iterator[dict[str, Any]]:
    for row in zip(*table.values(), strict=True):
        yield dict(zip(table, row, strict=True))


def read(data: bytes) -> tuple[Header, Batch]:
    """Read what `write` wrote.

    Raises:
        NotARun: It is something else, or has been cut off or changed.
    """
    lines = enumerate(data.splitlines(), 1)
    header = _header(next(lines, (1, b""))[1])
    rows: dict[str, list[Any]] = {"event": [], "span": [], "log": []}
    for number, line in lines:
        kind, row = _entry(number, line, header.run)
        rows[kind].append(row)
    found = Counter({kind: len(some) for kind, some in rows.items()})
    if found != Counter(event=header.events, span=header.spans, log=header.logs):
        raise NotARun(
            1,
            f"it announces {header.events} events, {header.spans} spans and {header.logs} log lines, but there are "
            f"{found['event']}, {found['span']} and {found['log']}; the file was cut off or changed, export the run again",
        )
    traces, logs = columns(TRACE_COLUMNS, rows["span"]), columns(LOG_COLUMNS, rows["log"])
    return header, Batch(seq=0, events=rows["event"], traces=traces, logs=logs)


def _header(line: bytes) -> Header:
    reason = "it is no header of a run; make a file with `stagelight runs export`"
    data = _object(1, line, reason)
    if "stagelight" not in data:
        raise NotARun(1, reason)
    if (version := data.get("version")) != VERSION:
        raise NotARun(
            1, f"it has version {version!r}, this release reads {VERSION}; export the run again with it"
        )
    try:
        return Header.model_validate(data)
    except ValidationError as error:
        raise NotARun(1, first_problem(error)) from error


def _entry(number: int, line: bytes, run_id: str) -> tuple[str, Any]:
    data = _object(number, line, "it is no JSON object")
    kind, row = next(iter(data.items())) if len(data) == 1 else ("", None)
    if kind not in {"event", "span", "log"} or not isinstance(row, dict):
        raise NotARun(number, "it is no event, span or log")
    fields = cast("dict[str, Any]", row)
    if kind == "event":
        return kind, _event(number, fields, run_id)
    if kind == "span":
        return kind, _row(number, fields, TRACE_COLUMNS, _SPAN)
    return kind, _row(number, fields, LOG_COLUMNS, _LOG)


def _object(number: int, line: bytes, reason: str) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise NotARun(number, reason) from error
    if not isinstance(data, dict):
        raise NotARun(number, reason)
    return cast("dict[str, Any]", data)


def _event(number: int, row: dict[str, Any], run_id: str) -> Event:
    try:
        _Event.model_validate(row)
    except ValidationError as error:
        raise NotARun(number, first_problem(error)) from error
    if row["run_id"] != run_id:
        raise NotARun(number, "the event is one of another run than the header names")
    return Event.from_dict(row)  # as written: a number that pydantic made a float would be another fact


def _row(number: int, row: dict[str, Any], names: Sequence[str], shape: TypeAdapter[_Row]) -> _Row:
    if row.keys() != set(names):
        odd = min(row.keys() ^ set(names))
        raise NotARun(number, f"column {odd!r} is {'not known' if odd in row else 'missing'}")
    try:
        found = shape.validate_python(tuple(row[name] for name in names), strict=True)
    except ValidationError as error:
        place = error.errors(include_url=False, include_context=False, include_input=False)[0]["loc"][0]
        raise NotARun(
            number, f"column {names[int(place)]}: {first_problem(error).partition(': ')[2]}"
        ) from error
    for table in ("Events.", "Links."):
        if len({len(row[name]) for name in names if name.startswith(table)}) > 1:
            raise NotARun(number, f"the columns {table}… are of unequal length")
    return found
