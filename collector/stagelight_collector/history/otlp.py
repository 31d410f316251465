"""Spans decoded by the engine: its Protobuf format reads OTLP requests as they were sent.

Per span (8 attributes) this takes 2 µs, where making columns here took 17 and handing them over another 3.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stagelight_collector.decode.rows import KINDS, STATUSES, TRACE_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stagelight_collector.history.engine import Handle

_SCHEMA: Final = Path(__file__).with_name("otlp.proto")
"""A file, because of a schema given as text the engine keeps a copy in the working directory."""

_VALUE: Final = """Tuple(
    value Enum8('no' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4,
        'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7),
    string_value String, bool_value Bool, int_value Int64, double_value Float64,
    array_value String, kvlist_value String, bytes_value String)"""
_ATTRIBUTES: Final = f"Array(Tuple(key String, value {_VALUE}))"
_SPAN: Final = f"""Tuple(
    trace_id String, span_id String, trace_state String, parent_span_id String, name String, kind Int32,
    start_time_unix_nano UInt64, end_time_unix_nano UInt64, attributes {_ATTRIBUTES},
    events Array(Tuple(time_unix_nano UInt64, name String, attributes {_ATTRIBUTES})),
    links Array(Tuple(trace_id String, span_id String, trace_state String, attributes {_ATTRIBUTES})),
    status Tuple(message String, code Int32))"""
_STRUCTURE: Final = f"""resource_spans Array(Tuple(
    resource Tuple(attributes {_ATTRIBUTES}),
    scope_spans Array(Tuple(scope Tuple(name String, version String), spans Array({_SPAN})))))"""

_TEXT: Final = """multiIf(
    v.value = 'string_value', v.string_value,
    v.value = 'int_value', toString(v.int_value),
    v.value = 'bool_value', if(v.bool_value, 'true', 'false'),
    v.value = 'double_value', toString(v.double_value),
    v.value = 'bytes_value', base64Encode(v.bytes_value),
    v.value = 'no', '', toString(throwIf(v.value != 'no', 'lists and maps are not for the engine')))"""


def _map(attributes: str) -> str:
    """Return the expression of a map of texts, sorted by key."""
    pairs = f"arrayMap((k, v) -> (k, {_TEXT}), {attributes}.key, {attributes}.value)"
    return f"CAST(arraySort(pair -> pair.1, {pairs}), 'Map(LowCardinality(String), String)')"


def _time(number: str) -> str:
    return f"fromUnixTimestamp64Nano(toInt64(least({number}, toUInt64(9223372036854775807))))"


def _name(number: str, names: tuple[str, ...]) -> str:
    codes = list(range(len(names)))
    return f"transform({number}, {codes}, {list(names)}, '{names[0]}')"


_EXPRESSIONS: Final[Mapping[str, str]] = {
    "Timestamp": _time("s.start_time_unix_nano"),
    "TraceId": "lower(hex(s.trace_id))",
    "SpanId": "lower(hex(s.span_id))",
    "ParentSpanId": "lower(hex(s.parent_span_id))",
    "TraceState": "s.trace_state",
    "SpanName": "s.name",
    "SpanKind": _name("s.kind", KINDS),
    "ServiceName": "resource['service.name']",
    "ResourceAttributes": "resource",
    "ScopeName": "scope.scope.name",
    "ScopeVersion": "scope.scope.version",
    "SpanAttributes": _map("s.attributes"),
    "Duration": "if(s.end_time_unix_nano > s.start_time_unix_nano,"
    " least(toUInt64(s.end_time_unix_nano - s.start_time_unix_nano), toUInt64(9223372036854775807)), 0)",
    "StatusCode": _name("s.status.code", STATUSES),
    "StatusMessage": "s.status.message",
    "Events.Timestamp": f"arrayMap(x -> {_time('x')}, s.events.time_unix_nano)",
    "Events.Name": "s.events.name",
    "Events.Attributes": f"arrayMap(x -> {_map('x')}, s.events.attributes)",
    "Links.TraceId": "arrayMap(x -> lower(hex(x)), s.links.trace_id)",
    "Links.SpanId": "arrayMap(x -> lower(hex(x)), s.links.span_id)",
    "Links.TraceState": "s.links.trace_state",
    "Links.Attributes": f"arrayMap(x -> {_map('x')}, s.links.attributes)",
}
_NAMES: Final = ", ".join(f"`{name}`" for name in TRACE_COLUMNS)
_INSERT: Final = f"""
INSERT INTO otel_traces ({_NAMES})
SETTINGS %s
SELECT {", ".join(_EXPRESSIONS[name] for name in TRACE_COLUMNS)}
FROM (
    SELECT resource, scope, arrayJoin(scope.spans) AS s
    FROM (
        SELECT {_map("r.resource.attributes")} AS resource, arrayJoin(r.scope_spans) AS scope
        FROM (SELECT arrayJoin(resource_spans) AS r FROM file({{path:String}}, 'Protobuf', {{structure:String}}))
    )
)
"""  # noqa: S608 # constants of this module; the path and the structure are bound
MADE_BY_MERGES: Final = "idx_res_attr_key, idx_res_attr_value, idx_span_attr_key, idx_span_attr_value, idx_duration, idx_lower_span_name"
"""Indexes that an insert does not make, which is half of what all of them cost: merges make them again anyway. By trace and by run,
what is new is looked for, too."""
_SETTINGS: Final[Mapping[str, Any]] = {
    "exclude_materialize_skip_indexes_on_insert": MADE_BY_MERGES,
    "format_schema": f"{_SCHEMA}:Request",
    "input_format_protobuf_oneof_presence": 1,
    "max_insert_threads": 1,
    "max_threads": 1,
}


def insert(handle: Handle, bodies: Iterable[bytes], settings: Mapping[str, Any]) -> None:
    """Insert the spans of requests that `engine_can_decode`; for an engine in this process, which reads our file.

    Settings go into the statement: given beside it, each is a statement of its own before, and one after.
    """
    clause = ", ".join(f"{name} = {_quoted(value)}" for name, value in {**_SETTINGS, **settings}.items())
    with tempfile.NamedTemporaryFile(prefix="stagelight-spans-", suffix=".pb") as file:
        for body in bodies:
            file.write(_varint(len(body)))
            file.write(body)
        file.flush()
        handle.command(_INSERT % clause, {"path": file.name, "structure": _STRUCTURE})


def _quoted(value: object) -> str:
    return "'{}'".format(str(value).replace("\\", "\\\\").replace("'", "\\'"))


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
