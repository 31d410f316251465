"""The encoder: spans and log records as the bytes of OTLP requests.

The official encoders build a message object for each attribute of each record, which costs more than all else that a
step does. Here what hardly changes (the resource, the instrumentation scope, attributes that are short texts) is
encoded once and remembered, and records of the common, simple form are written as protobuf directly. Every other
record goes through the official encoder, by itself. A test holds both to mean the same.

Field numbers: opentelemetry/proto/{common,trace,logs}/v1/*.proto.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.trace import SpanKind, StatusCode

from stagelight.records import SEVERITIES, Draft

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk._logs import ReadableLogRecord
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

_MOST_KNOWN: Final = 4096
_LONGEST_KNOWN: Final = 256
"""Characters of a text that is remembered."""
_MOST_HEADS: Final = 256
_WIDEST: Final = 1 << 63
_SHORT: Final = tuple(bytes((number,)) for number in range(128))

_SPAN_TIMES: Final = Struct("<BQBQ")
_LOG_ENDS: Final = Struct("<BQBQBI")
_DOUBLE: Final = Struct("<Bd")
_INTERNAL: Final = b"\x30\x01"
_UNSET: Final = b"\x7a\x00"
_FLAGS: Final = b"\x85\x01\x00\x01\x00\x00"  # the parent is known not to be remote
_REMOTE_FLAGS: Final = b"\x85\x01\x00\x03\x00\x00"


class Record(Protocol):
    """What spans and log records have in common."""

    @property
    def resource(self) -> Resource: ...  # noqa: D102 - the SDK's own
    @property
    def instrumentation_scope(self) -> InstrumentationScope | None: ...  # noqa: D102 - the SDK's own


R = TypeVar("R", bound=Record)


class UnusualError(Exception):
    """A record is not of the simple form, so that it is left to the official encoder."""


def _varint(number: int) -> bytes:
    if number < 128:
        return _SHORT[number]
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


def _text(tag: bytes, text: str) -> bytes:
    encoded = text.encode()
    return tag + _varint(len(encoded)) + encoded


def _nested(tag: bytes, message: bytes) -> bytes:
    return tag + _varint(len(message)) + message


def _value(value: object) -> bytes:
    """Return an `AnyValue`. Exact types are compared: subclasses may lie about their value."""
    kind = type(value)
    if kind is str:
        return _text(b"\x0a", value)  # type: ignore[arg-type]  # the exact type was just compared
    if kind is bool:
        return b"\x10\x01" if value else b"\x10\x00"
    if kind is int and -_WIDEST <= value < _WIDEST:  # type: ignore[operator]  # as above
        return b"\x18" + _varint(value & 2 * _WIDEST - 1)  # type: ignore[operator]  # as above
    if kind is float:
        return _DOUBLE.pack(0x21, value)
    raise UnusualError


class Attributes:
    """Encodes attributes; remembers those that are short texts."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, object], bytes] = {}

    def encode(self, tag: bytes, attributes: dict[str, object]) -> bytes:
        """Return a `KeyValue` for each attribute, each behind the tag of its field."""
        if not attributes:
            return b""
        known = self._known.get
        # No number equals a text, so that only texts are ever found.
        return tag + tag.join([known(pair) or self._pair(pair) for pair in attributes.items()])

    def _pair(self, pair: tuple[str, object]) -> bytes:
        key, value = pair
        encoded = _text(b"\x0a", key) + _nested(b"\x12", _value(value))
        encoded = _varint(len(encoded)) + encoded
        if type(value) is str and len(encoded) <= _LONGEST_KNOWN:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[pair] = encoded
        return encoded


class Encoder(Generic[R]):
    """Encodes batches of one signal.

    Args:
        simple: Returns a record as a message, or raises whatever it likes.
        official: Encodes one record: the heads of its resource and scope messages, and its own message.
    """

    def __init__(
        self, simple: Callable[[R], bytes], official: Callable[[R], tuple[bytes, bytes, bytes]]
    ) -> None:
        self._simple = simple
        self._official = official
        self._heads: dict[tuple[int, int], tuple[object, object, bytes, bytes]] = {}

    def encode(self, batch: Sequence[R]) -> bytes:
        """Return the export request of a batch; raises what the official encoder raises."""
        resources: dict[bytes, dict[bytes, list[bytes]]] = {}
        messages: list[bytes] = []
        resource: Any = self
        scope: Any = self
        for record in batch:
            if record.resource is not resource or record.instrumentation_scope is not scope:
                resource, scope = record.resource, record.instrumentation_scope
                of_resource, of_scope = self._heads_of(record)
                messages = resources.setdefault(of_resource, {}).setdefault(of_scope, [])
            try:
                message = self._simple(record)
            except Exception:  # whatever is odd about it, the official encoder has the last word
                message = self._official(record)[2]
            messages.append(_nested(b"\x12", message))
        return b"".join(_nested(b"\x0a", _resource(head, scopes)) for head, scopes in resources.items())

    def _heads_of(self, record: R) -> tuple[bytes, bytes]:
        resource, scope = record.resource, record.instrumentation_scope
        found = self._heads.get((id(resource), id(scope)))
        if found is None:
            if len(self._heads) >= _MOST_HEADS:
                self._heads.clear()
            # The objects are kept along, so that no other ones take over their ids.
            found = (resource, scope, *self._official(record)[:2])
            self._heads[id(resource), id(scope)] = found
        return found[2], found[3]


def _resource(head: bytes, scopes: dict[bytes, list[bytes]]) -> bytes:
    return head + b"".join(
        _nested(b"\x12", scope_head + b"".join(messages)) for scope_head, messages in scopes.items()
    )


def spans() -> Encoder[ReadableSpan]:
    """Return an encoder of finished spans."""
    attributes = Attributes()

    def simple(span: ReadableSpan) -> bytes:
        # The SDK's own fields: its properties copy and lock what can no longer change.
        own = vars(span)
        events, links, bounded = own["_events"], own["_links"], own["_attributes"]
        context, parent = own["_context"], own["_parent"]
        if (
            events
            or links
            or events.dropped
            or links.dropped
            or bounded.dropped
            or context.trace_state
            or own["_kind"] is not SpanKind.INTERNAL
            or own["_status"].status_code is not StatusCode.UNSET
            or own["_status"].description
        ):
            raise UnusualError
        return b"".join(
            (
                b"\x0a\x10",
                context.trace_id.to_bytes(16, "big"),
                b"\x12\x08",
                context.span_id.to_bytes(8, "big"),
                b"\x22\x08" + parent.span_id.to_bytes(8, "big") if parent else b"",
                _text(b"\x2a", own["_name"]),
                _INTERNAL,
                _SPAN_TIMES.pack(0x39, own["_start_time"], 0x41, own["_end_time"]),
                attributes.encode(b"\x4a", bounded._dict),  # noqa: SLF001 - as above
                _UNSET,
                _REMOTE_FLAGS if parent and parent.is_remote else _FLAGS,
            )
        )

    return Encoder(simple, _official_span)


def logs() -> Encoder[ReadableLogRecord]:
    """Return an encoder of log records."""
    attributes = Attributes()

    def simple(record: ReadableLogRecord) -> bytes:
        if not isinstance(record, Draft):
            raise UnusualError
        context = record.span.get_span_context()
        return b"".join(
            (
                _severity(record.severity) if record.severity else b"",
                _nested(b"\x2a", _text(b"\x0a", record.message) if record.message else b""),
                attributes.encode(b"\x32", record.attributes),
                b"\x4a\x10",
                context.trace_id.to_bytes(16, "big"),
                b"\x52\x08",
                context.span_id.to_bytes(8, "big"),
                _text(b"\x62", record.name),
                _LOG_ENDS.pack(0x09, record.time, 0x59, record.time, 0x45, context.trace_flags),
                b"\x38" + _varint(record.lost) if record.lost else b"",
            )
        )

    return Encoder(simple, _official_record)


def _severity(text: str) -> bytes:
    number = SEVERITIES.get(text)
    return (b"" if number is None else b"\x10" + _varint(number.value)) + _text(b"\x1a", text)


def _official_span(span: ReadableSpan) -> tuple[bytes, bytes, bytes]:
    of_resource = encode_spans([span]).resource_spans[0]
    of_scope = of_resource.scope_spans[0]
    message = of_scope.spans[0].SerializeToString()
    del of_scope.spans[:]
    scope = of_scope.SerializeToString()
    del of_resource.scope_spans[:]
    return of_resource.SerializeToString(), scope, message


def _official_record(record: ReadableLogRecord) -> tuple[bytes, bytes, bytes]:
    of_resource = encode_logs([record]).resource_logs[0]
    of_scope = of_resource.scope_logs[0]
    message = of_scope.log_records[0].SerializeToString()
    del of_scope.log_records[:]
    scope = of_scope.SerializeToString()
    del of_resource.scope_logs[:]
    return of_resource.SerializeToString(), scope, message
