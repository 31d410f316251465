"""OTLP over HTTP, one test for each thing that the specification or our limits say."""

from __future__ import annotations

import asyncio
import gzip
import threading
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings, strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from stagelight_collector.journal import JournalClosed, JournalFull, JournalUnavailable, Signal
from stagelight_collector.receivers import RUNNER_OPTIONS, Limits
from stagelight_collector.receivers.status import Reason

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


async def test_a_request_is_answered_in_its_own_encoding_and_without_partial_success(
    serve: Any, traces: bytes, logs: bytes
) -> None:
    async with serve() as receiver:
        answer = await receiver.send(traces)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/x-protobuf")
        assert not ExportTraceServiceResponse.FromString(answer.body).HasField("partial_success")
        answer = await receiver.send(logs, "/v1/logs")
        assert not ExportLogsServiceResponse.FromString(answer.body).HasField("partial_success")
        assert receiver.taken == [
            (Signal.TRACES, traces, ExportTraceServiceRequest.FromString(traces)),
            (Signal.LOGS, logs, ExportLogsServiceRequest.FromString(logs)),
        ]
        counters = receiver.counters
        assert (counters.requests, counters.accepted) == (2, 2)
        assert (counters.spans, counters.log_records, counters.bytes) == (1, 2, len(traces) + len(logs))
        assert (counters.in_flight, counters.in_flight_bytes) == (0, 0)


async def test_an_empty_request_is_a_success_and_leaves_nothing(serve: Any) -> None:
    resource_only = ExportTraceServiceRequest()
    resource_only.resource_spans.add().scope_spans.add()
    async with serve() as receiver:
        for body in (b"", resource_only.SerializeToString()):
            assert (await receiver.send(body)).status == 200
        assert receiver.taken == []


async def test_content_type_parameters_and_letter_case_do_not_matter(serve: Any, traces: bytes) -> None:
    async with serve() as receiver:
        answer = await receiver.send(traces, Content_Type="Application/X-Protobuf; charset=utf-8")
        assert answer.status == 200


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip", "identity", ""])
async def test_compressed_or_not_the_same_bytes_arrive(serve: Any, traces: bytes, encoding: str) -> None:
    body = gzip.compress(traces) if "gzip" in encoding.lower() else traces
    async with serve() as receiver:
        assert (await receiver.send(body, Content_Encoding=encoding)).status == 200
        assert receiver.taken[0][1] == traces


async def test_several_gzip_members_are_one_body(serve: Any, traces: bytes) -> None:
    members = b"".join(gzip.compress(bytes([byte])) for byte in traces) + gzip.compress(b"")
    async with serve() as receiver:
        assert (await receiver.send(members, Content_Encoding="gzip")).status == 200
        assert receiver.taken[0][1] == traces


@pytest.mark.parametrize("compressed", [False, True])
async def test_a_large_body_in_chunks_arrives_whole(serve: Any, compressed: bool) -> None:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(name="x" * 3_000_000)
    large = request.SerializeToString()

    async def chunks() -> AsyncGenerator[bytes]:  # what the client wants for chunks
        body = gzip.compress(large, 0) if compressed else large
        for start in range(0, len(body), 50_001):
            yield body[start : start + 50_001]

    async with serve() as receiver:
        assert (await receiver.send(chunks(), Content_Encoding="gzip" if compressed else "")).status == 200
        assert receiver.taken[0][1] == large


async def test_a_body_cut_at_any_byte_is_accepted_only_where_that_is_a_message(
    serve: Any, traces: bytes
) -> None:
    async with serve() as receiver:
        for end in range(len(traces)):
            answer = await receiver.send(traces[:end])
            assert answer.status == (200 if _is_message(traces[:end]) else 400)
            if answer.status == 400:
                assert answer.error.code == 3
                assert "not a valid ExportTraceServiceRequest" in answer.error.message
        assert receiver.counters.refused[Reason.MALFORMED] > len(traces) / 2


def _is_message(body: bytes) -> bool:
    try:
        ExportTraceServiceRequest.FromString(body)
    except DecodeError:
        return False
    return True


def _wrong_gzip(traces: bytes) -> dict[str, bytes]:
    whole = gzip.compress(traces)
    return {
        "not gzip": traces,
        "empty": b"",
        "cut": whole[:-1],
        "no trailer": whole[:-8],
        "checksum": whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:],
        "length": whole[:-1] + b"\x01",
        "changed": whole[:20] + bytes([whole[20] ^ 255]) + whole[21:],
        "followed by something": whole + b"x",
        "zlib": zlib.compress(traces),
        "nested": gzip.compress(whole),
        "too many members": gzip.compress(b"") * 1001,
    }


@pytest.mark.parametrize("case", list(_wrong_gzip(bytes(30))))
async def test_gzip_that_is_not_whole_and_right_is_bad_data(serve: Any, traces: bytes, case: str) -> None:
    async with serve() as receiver:
        answer = await receiver.send(_wrong_gzip(traces)[case], Content_Encoding="gzip")
        assert (answer.status, answer.error.code) == (400, 3)
        assert receiver.taken == []


async def test_gzip_cut_anywhere_is_bad_data(serve: Any, traces: bytes) -> None:
    whole = gzip.compress(traces)
    async with serve() as receiver:
        for end in range(len(whole)):
            assert (await receiver.send(whole[:end], Content_Encoding="gzip")).status == 400


@pytest.mark.parametrize("encoding", ["deflate", "br", "zstd", "gzip, gzip", "gzip,identity", "x"])
async def test_other_encodings_are_refused_with_what_is_accepted(
    serve: Any, traces: bytes, encoding: str
) -> None:
    async with serve() as receiver:
        answer = await receiver.send(traces, Content_Encoding=encoding)
        assert (answer.status, answer.headers["Accept-Encoding"]) == (415, "gzip")
        assert "send gzip" in answer.error.message


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/octet-stream", "", "x", "multipart/form-data"]
)
async def test_other_content_types_are_refused_with_what_is_accepted(
    serve: Any, traces: bytes, content_type: str
) -> None:
    async with serve() as receiver:
        answer = await receiver.send(traces, Content_Type=content_type)
        assert (answer.status, answer.headers["Accept-Post"]) == (
            415,
            "application/x-protobuf, application/json",
        )
        assert "send application/x-protobuf" in answer.error.message


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
async def test_other_methods_are_refused(serve: Any, traces: bytes, method: str) -> None:
    async with serve() as receiver:
        answer = await receiver.send(traces, method=method)
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")
        assert (
            answer.body == b"" if method == "HEAD" else answer.error.message == "/v1/traces takes POST only"
        )


@pytest.mark.parametrize("compressed", [False, True])
async def test_the_limit_is_on_the_decompressed_body_and_exact(
    serve: Any, traces: bytes, compressed: bool
) -> None:
    body = gzip.compress(traces) if compressed else traces
    headers = {"Content_Encoding": "gzip"} if compressed else {}
    async with serve(Limits(body_bytes=max(len(traces), len(body)))) as receiver:
        assert (await receiver.send(body, **headers)).status == 200
    async with serve(Limits(body_bytes=len(traces) - 1)) as receiver:
        answer = await receiver.send(body, **headers)
        assert (answer.status, answer.error.code) == (413, 8)


async def test_too_large_is_refused_also_where_the_size_is_not_announced(serve: Any) -> None:
    async def chunks() -> AsyncGenerator[bytes]:  # what the client wants for chunks
        for _ in range(30):
            yield bytes(10_000)

    async with serve(Limits(body_bytes=100_000)) as receiver:
        assert (await receiver.send(chunks())).status == 413
        assert receiver.counters.refused == {Reason.TOO_LARGE: 1}
        assert receiver.counters.in_flight_bytes == 0


def _nested(depth: int) -> bytes:
    value = b""
    for _ in range(depth):
        value = b"\x0a" + _length(value)  # ArrayValue.values
        value = b"\x2a" + _length(value)  # AnyValue.array_value
    attribute = b"\x12" + _length(value)
    return b"\x0a" + _length(b"\x0a" + _length(b"\x0a" + _length(attribute)))


def _length(body: bytes) -> bytes:
    size, head = len(body), bytearray()
    while size > 127:
        head.append(size & 127 | 128)
        size >>= 7
    return bytes([*head, size]) + body


@pytest.mark.parametrize("depth", [60, 1_000, 30_000])
@pytest.mark.parametrize("padding", [0, 300_000])
async def test_messages_too_deep_are_bad_data(serve: Any, depth: int, padding: int) -> None:
    """Small ones are refused by protobuf itself, large ones before protobuf sees them."""
    body = _nested(depth) + (b"\x0a" + _length(b"\x1a" + _length(b"x" * padding)) if padding else b"")
    async with serve() as receiver:
        answer = await receiver.send(body)
        assert (answer.status, answer.error.code) == (400, 3)
        if padding:
            assert answer.error.message == "more than 32 messages within one another"


@pytest.mark.parametrize("items", [0, 140_000])
async def test_more_spans_than_the_limit_are_refused_in_small_and_large_bodies(
    serve: Any, items: int
) -> None:
    limits = Limits() if items else Limits(items=100)
    spans = b"\x12\x00" * (items or 101)
    async with serve(limits) as receiver:
        answer = await receiver.send(b"\x0a" + _length(b"\x12" + _length(spans)))
        assert (answer.status, answer.error.code) == (413, 8)
        assert "send smaller batches" in answer.error.message
        assert receiver.taken == []


@pytest.mark.parametrize(
    ("failure", "status", "reason"),
    [
        (JournalFull(9, 9), 429, Reason.JOURNAL_FULL),
        (JournalUnavailable(Path("j"), "no space"), 503, Reason.JOURNAL_UNAVAILABLE),
        (JournalClosed(), 503, Reason.JOURNAL_UNAVAILABLE),
    ],
)
async def test_what_cannot_be_kept_is_to_be_sent_again(
    serve: Any, traces: bytes, failure: Exception, status: int, reason: Reason
) -> None:
    async with serve() as receiver:
        receiver.failure = failure
        answer = await receiver.send(traces)
        assert (answer.status, answer.headers["Retry-After"], answer.error.code) == (status, "1", 14)
        assert receiver.counters.refused == {reason: 1}
        assert (receiver.counters.accepted, receiver.counters.spans) == (0, 0)
        receiver.failure = None
        assert (await receiver.send(traces)).status == 200


async def test_a_fault_of_ours_is_not_told_in_detail(
    serve: Any, traces: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve() as receiver:
        receiver.failure = RuntimeError("secret")
        answer = await receiver.send(traces)
        assert (answer.status, answer.error.code) == (500, 13)
        assert "secret" not in answer.error.message
        assert "secret" in caplog.text


@pytest.mark.parametrize("limits", [Limits(requests=1), Limits(bytes_in_flight=200)])
async def test_past_what_may_be_in_flight_senders_are_told_to_come_back(
    serve: Any, traces: bytes, limits: Limits
) -> None:
    async with serve(limits) as receiver:
        receiver.gate.clear()
        first = asyncio.create_task(receiver.send(traces))
        await _until(lambda: receiver.counters.in_flight == 1)
        answer = await receiver.send(traces + traces)
        assert (answer.status, answer.headers["Retry-After"], answer.error.code) == (429, "1", 14)
        receiver.gate.set()
        assert (await first).status == 200
        assert (await receiver.send(traces)).status == 200
        assert (receiver.counters.in_flight, receiver.counters.in_flight_bytes) == (0, 0)


async def _until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 # counters have no event to wait for
            await asyncio.sleep(0)


_HEAD = b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n"


async def test_a_body_that_does_not_arrive_ends_in_an_answer_and_a_closed_connection(serve: Any) -> None:
    async with serve(Limits(body_seconds=0.05)) as receiver:
        reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
        writer.write(_HEAD + b"Content-Length: 100\r\n\r\nhalf")
        answer = await asyncio.wait_for(reader.read(), 30)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"did not arrive within 0.05 s" in answer
        writer.close()
        await writer.wait_closed()


async def test_headers_that_do_not_end_close_the_connection(serve: Any, traces: bytes) -> None:
    assert 0 < RUNNER_OPTIONS["keepalive_timeout"] <= 60
    async with serve(keepalive_timeout=0.05) as receiver:
        reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
        writer.write(_HEAD)
        assert await asyncio.wait_for(reader.read(), 30) == b""
        assert (await receiver.send(traces)).status == 200
        writer.close()
        await writer.wait_closed()


async def test_a_sender_that_leaves_in_the_middle_is_counted_and_holds_nothing(serve: Any) -> None:
    async with serve() as receiver:
        _, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
        writer.write(_HEAD + b"Content-Length: 100\r\n\r\nhalf")
        await _until(lambda: receiver.counters.in_flight_bytes == 4)
        writer.close()
        await writer.wait_closed()
        await _until(lambda: receiver.counters.refused[Reason.DISCONNECTED] == 1)
        assert receiver.counters.in_flight_bytes == 0


async def test_chunks_that_are_none_end_in_one_answer_and_a_closed_connection(serve: Any) -> None:
    """The HTTP parser drops such a body without telling its reader: the deadline does."""
    async with serve(Limits(body_seconds=0.05)) as receiver:
        reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
        writer.write(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        await _until(lambda: receiver.counters.requests == 1)
        writer.write(b"ZZ\r\n")
        answers = await asyncio.wait_for(reader.read(), 30)
        assert answers.startswith(b"HTTP/1.1 408 ")
        assert answers.count(b"HTTP/1.") == 1
        writer.close()
        await writer.wait_closed()


@dataclass(frozen=True)
class WatchedLimits(Limits):
    """Notes the threads in which the work that can be long looks at its limits."""

    threads: Any = None

    def __getattribute__(self, name: str) -> Any:
        """Read a limit."""
        if name == "items":
            object.__getattribute__(self, "threads").append(threading.current_thread())
        return object.__getattribute__(self, name)


@pytest.mark.parametrize(("size", "in_thread"), [(1_000, False), (200_000, False), (300_000, True)])
async def test_large_bodies_are_decoded_off_the_event_loop(serve: Any, size: int, in_thread: bool) -> None:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(name="x" * size)
    threads: list[threading.Thread] = []
    async with serve(WatchedLimits(threads=threads)) as receiver:
        assert (
            await receiver.send(gzip.compress(request.SerializeToString()), Content_Encoding="gzip")
        ).status == 200
    assert threads
    assert all((thread is not threading.main_thread()) == in_thread for thread in threads)


_BODIES = st.one_of(
    st.binary(max_size=400),
    st.binary(max_size=200).map(lambda body: b"\x0a" + _length(b"\x12" + _length(b"\x12" + _length(body)))),
    st.binary(max_size=200).map(gzip.compress),
)


@settings(max_examples=150, deadline=None)
@given(
    body=_BODIES,
    path=st.sampled_from(["/v1/traces", "/v1/logs", "/v1/metrics"]),
    encoding=st.sampled_from(["", "gzip", "identity", "deflate"]),
    content_type=st.sampled_from(["application/x-protobuf", "application/json", ""]),
)
async def test_any_bytes_get_an_answer_that_is_no_fault_of_ours(
    serve: Any, body: bytes, path: str, encoding: str, content_type: str
) -> None:
    async with serve() as receiver:
        answer = await receiver.send(body, path, Content_Encoding=encoding, Content_Type=content_type)
        assert answer.status in {200, 400, 415}
        assert sum(receiver.counters.refused.values()) + receiver.counters.accepted == 1
