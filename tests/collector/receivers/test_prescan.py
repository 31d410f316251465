"""The walk counts what protobuf would build, and stops where it is told to."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import DecodeError, Message
from hypothesis import given, settings, strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from stagelight_collector.receivers.limits import Limits
from stagelight_collector.receivers.prescan import count_items
from stagelight_collector.receivers.services import LOGS, TRACES
from stagelight_collector.receivers.status import Reason, Refused

TABLE = TRACES.table
WIDE = Limits(items=10**6, depth=100)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(body)) + body


def _built(message: Message) -> int:
    """The number of messages and repeated texts inside, counted on what protobuf built."""
    count = 0
    for field, value in message.ListFields():
        inner: list[Any] = list(value) if field.is_repeated else [value]
        if field.message_type is not None:
            count += len(inner) + sum(map(_built, inner))
        elif field.is_repeated:
            count += len(inner)
    return count


_values: Any = st.deferred(
    lambda: st.one_of(
        st.text(max_size=5).map(lambda text: {"string_value": text}),
        st.integers(-(2**63), 2**63 - 1).map(lambda number: {"int_value": number}),
        st.floats(allow_nan=False).map(lambda number: {"double_value": number}),
        st.lists(_values, max_size=3).map(lambda values: {"array_value": {"values": values}}),
        st.lists(_pairs, max_size=3).map(lambda pairs: {"kvlist_value": {"values": pairs}}),
    )
)


def _pair(key: str, value: Any) -> dict[str, Any]:
    return {"key": key, "value": value}


def _span(name: str, start: int, attributes: list[Any], events: int, links: int) -> dict[str, Any]:
    return {
        "name": name,
        "start_time_unix_nano": start,
        "attributes": attributes,
        "events": [{"name": name, "attributes": attributes}] * events,
        "links": [{"trace_id": b"x" * 16, "flags": start % 2**32}] * links,
    }


_pairs: Any = st.builds(_pair, st.text(max_size=5), _values)
_spans: Any = st.builds(
    _span,
    st.text(max_size=8),
    st.integers(0, 2**64 - 1),
    st.lists(_pairs, max_size=3),
    st.integers(0, 3),
    st.integers(0, 3),
)


@settings(max_examples=100, deadline=None)
@given(spans=st.lists(_spans, max_size=4), keys=st.lists(st.text(max_size=4), max_size=4))
def test_what_is_counted_is_what_protobuf_builds(spans: list[Any], keys: list[str]) -> None:
    content: Any = [{"scope_spans": [{"spans": spans}]}]
    request = ExportTraceServiceRequest(resource_spans=content)
    request.resource_spans[0].resource.entity_refs.add(id_keys=keys)
    built = _built(request)
    assert count_items(request.SerializeToString(), TABLE, WIDE) == built
    assert count_items(request.SerializeToString(), TABLE, Limits(items=built, depth=100)) == built
    with pytest.raises(Refused) as refused:
        count_items(request.SerializeToString(), TABLE, Limits(items=built - 1, depth=100))
    assert refused.value.reason is Reason.TOO_MANY_ITEMS


# Groups are refused here, and OTLP has none: no byte that could begin or end one.
_groupless = st.lists(
    st.sampled_from([byte for byte in range(256) if byte & 7 not in {3, 4}]), max_size=60
).map(bytes)


@settings(max_examples=300, deadline=None)
@given(body=_groupless, outer=st.sampled_from([(), (1,), (1, 2), (1, 2, 2), (1, 2, 2, 9), (1, 1, 1)]))
def test_what_protobuf_takes_is_not_called_malformed(body: bytes, outer: tuple[int, ...]) -> None:
    for number in reversed(outer):
        body = _field(number, body)
    try:
        ExportTraceServiceRequest.FromString(body)
    except DecodeError:
        return
    count_items(body, TABLE, WIDE)


@pytest.mark.parametrize(
    "body",
    [
        b"\x0a",  # no length
        b"\x0a\x05abc",  # longer than what is there
        b"\x0a\x03\x12\x09x",  # longer than what it is in
        b"\x80",  # a tag without an end
        b"\x08" + b"\xff" * 11,  # a number of more than 64 bits
        b"\x0d\x01",  # 4 bytes, one there
        b"\x09\x01",  # 8 bytes, one there
        b"\x0b\x0c",  # a group
        b"\x0f",  # wire type 7
    ],
)
def test_what_is_no_message_is_malformed(body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        count_items(body, TABLE, WIDE)
    assert refused.value.reason is Reason.MALFORMED


def test_depth_is_counted_in_messages() -> None:
    value = b""
    for _ in range(13):
        value = _field(5, _field(1, value))  # AnyValue.array_value.values: two messages each
    # resource_spans, resource, attributes, value, and then 26 more
    body = _field(1, _field(1, _field(1, _field(2, value))))
    assert count_items(body, TABLE, Limits(depth=30)) == 30
    with pytest.raises(Refused) as refused:
        count_items(body, TABLE, Limits(depth=29))
    assert refused.value.reason is Reason.TOO_DEEP


class CountingBytes(bytes):
    """Counts how often a byte is looked at."""

    looked_at = 0

    def __init__(self, whole: bytes) -> None:
        self.whole: Any = whole

    def __getitem__(self, index: Any) -> Any:
        """Look at it."""
        CountingBytes.looked_at += 1
        return self.whole[index]


_SPANS = 20_000_000 // 2


@pytest.mark.parametrize(
    ("inside", "bound"),
    [
        (_field(2, _field(2, b"") * _SPANS), 101_000),  # empty spans
        (_field(1, _field(1, b"") * _SPANS), 101_000),  # empty attributes
        (_field(2, _field(2, _field(13, b"") * _SPANS)), 101_000),  # empty links
        (_field(2, _field(2, b"\x30\x01" * _SPANS)), 2_020_000),  # one number again and again
        (_field(2, _field(2, _field(5, b"") * _SPANS)), 2_020_000),  # one text again and again
        (_field(2, _field(2, _field(99, b"") * _SPANS)), 3_020_000),  # unknown fields
    ],
    ids=["spans", "attributes", "links", "numbers", "texts", "unknown"],
)
def test_the_work_stops_at_the_limit_whatever_the_size(inside: bytes, bound: int) -> None:
    CountingBytes.looked_at = 0
    with pytest.raises(Refused) as refused:
        count_items(CountingBytes(_field(1, inside)), TABLE, Limits())
    assert refused.value.reason is Reason.TOO_MANY_ITEMS
    assert CountingBytes.looked_at < bound


def test_the_tables_cover_logs_too() -> None:
    body = _field(1, _field(2, _field(2, _field(6, _field(2, b""))) * 3))
    assert count_items(body, LOGS.table, WIDE) == 2 + 3 * 3
