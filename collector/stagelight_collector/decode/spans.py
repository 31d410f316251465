"""Spans on their way to history, as requests: the engine decodes them, ten times as fast as this language could.

Who wants columns gets columns: a plugin's sink, a server, a comparison after a crash. They are made when first asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field, FileDescriptorProto
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from stagelight_collector.decode.looking import Finder
from stagelight_collector.decode.rows import TRACE_COLUMNS, trace_columns
from stagelight_collector.decode.values import plain_value, text


class Spans(Mapping[str, Sequence[Any]]):
    """Rows of `otel_traces` in two parts: requests that the engine can decode, and columns of those that it cannot."""

    def __init__(self, bodies: Sequence[bytes], count: int, rest: Mapping[str, Sequence[Any]]) -> None:
        self.bodies = bodies
        self.height = count + len(rest.get("Timestamp", ()))
        """How many rows there are; known without decoding."""
        self.rest = rest
        """Rows beside those of `bodies`."""

    @cached_property
    def _columns(self) -> dict[str, list[Any]]:
        tables = [trace_columns(ExportTraceServiceRequest.FromString(body)) for body in self.bodies]
        return {
            name: [value for table in (*tables, self.rest) for value in table.get(name, ())]
            for name in TRACE_COLUMNS
        }

    def __getitem__(self, name: str) -> Sequence[Any]:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(TRACE_COLUMNS if self.height else ())

    def __len__(self) -> int:
        return len(TRACE_COLUMNS) if self.height else 0


def height(table: Mapping[str, Sequence[Any]]) -> int:
    """Return how many rows a table has, without decoding them."""
    return table.height if isinstance(table, Spans) else len(next(iter(table.values()), ()))


def joined(tables: Sequence[Mapping[str, Sequence[Any]]]) -> Spans:
    """Make one table of several."""
    parts = [table if isinstance(table, Spans) else Spans((), 0, table) for table in tables]
    rest: dict[str, list[Any]] = {}
    for part in parts:
        for name, values in part.rest.items():
            rest.setdefault(name, []).extend(values)
    bodies = [body for part in parts for body in part.bodies]
    return Spans(bodies, sum(part.height for part in parts) - len(rest.get("Timestamp", ())), rest)


def engine_can_decode(request: ExportTraceServiceRequest, body: bytes) -> bytes | None:
    """Return the request as the engine can decode it, or None: it knows no lists and maps of any depth.

    In resources, where some SDKs write lists and which are few, such a value becomes the text that history keeps of it.
    """
    if not may_hold_nested(body):
        return body
    changed = False
    for resource_spans in request.resource_spans:
        for attribute in resource_spans.resource.attributes:
            if attribute.value.WhichOneof("value") in {"array_value", "kvlist_value"}:
                attribute.value.string_value = text(plain_value(attribute.value))
                changed = True
    if not _PROBE.FromString(body).IsInitialized():
        return None
    return request.SerializeToString() if changed else body


def _nested_values() -> Iterator[bytes]:
    """Yield what lists and maps begin with on the wire: the tag and length of a value, then those of its list or map.

    Most of it is about lengths, because a span's name has the tag of a list, and ids hold any bytes before it. Should a sender
    write tags in another way than all others, or two values in the place of one, the engine refuses what is not found here.
    """
    for length in range(126):
        yield rb"\x12\x%02x[\x2a\x32]\x%02x" % (length + 2, length)
    yield rb"\x12[\x80\x81]\x01[\x2a\x32][\x7e\x7f]"  # the same for 126 and 127
    yield rb"\x12[\x80-\xff]{1,9}[\x00-\x7f][\x2a\x32][\x80-\xff]{1,9}[\x00-\x7f]"
    # Lengths with bytes to spare, which OpenTelemetry's SDK for .NET writes.
    yield rb"\x12[\x80-\xff]{1,9}\x00[\x2a\x32][\x00-\x7f]"
    yield rb"\x12[\x00-\x7f][\x2a\x32][\x80-\xff]{1,9}\x00"


may_hold_nested: Final = Finder(*_nested_values())
"""Whether an attribute of a request may be a list or a map."""


def _probe() -> Any:
    """Return a message type that OTLP's spans parse as, and that is complete only if no attribute is a list or a map.

    So the protobuf runtime looks for them, at 1 µs a span; a loop over attributes would take ten.
    """
    file = FileDescriptorProto(name="stagelight_probe.proto", package="stagelight", syntax="proto2")
    for name, fields in _PROBE_FIELDS.items():
        message = file.message_type.add(name=name)
        for field, number, of in fields:
            message.field.add(
                name=field,
                number=number,
                label=Field.LABEL_REPEATED,
                type=Field.TYPE_MESSAGE,
                type_name=f".stagelight.{of}",
            )
    never = file.message_type.add(name="Nested").field.add(name="never", number=1000)
    never.label, never.type = Field.LABEL_REQUIRED, Field.TYPE_INT32
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("stagelight.Request"))


_PROBE_FIELDS: Final = {
    "AnyValue": [("array_value", 5, "Nested"), ("kvlist_value", 6, "Nested")],
    "KeyValue": [("value", 2, "AnyValue")],
    "Event": [("attributes", 3, "KeyValue")],
    "Link": [("attributes", 4, "KeyValue")],
    "Span": [("attributes", 9, "KeyValue"), ("events", 11, "Event"), ("links", 13, "Link")],
    "ScopeSpans": [("spans", 2, "Span")],
    "ResourceSpans": [("scope_spans", 2, "ScopeSpans")],
    "Request": [("resource_spans", 1, "ResourceSpans")],
}
_PROBE: Final = _probe()
