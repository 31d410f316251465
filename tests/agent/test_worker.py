"""What goes over the wire, and what becomes of it there: real requests to a real server."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceResponse,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import stagelight
from stagelight import runtime, settings
from stagelight.exporter import SingleRequest
from stagelight.worker import THREAD_NAME, backoff

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tests.agent.conftest import Answer, Sink

    from stagelight.backlog import Stats

QUICK = settings.AgentLimits(first_retry=0.01, slowest_retry=0.02)


def limits_of(signal: settings.SignalLimits) -> settings.AgentLimits:
    """Return limits that are the same for both signals, with quick retries."""
    return settings.AgentLimits(spans=signal, records=signal, first_retry=0.001, slowest_retry=0.02)


@pytest.fixture
def provider() -> TracerProvider:
    """Return a tracer provider as a user would have one."""
    return TracerProvider(shutdown_on_exit=False)


@pytest.fixture
def connected(
    sink: Sink, provider: TracerProvider, monkeypatch: pytest.MonkeyPatch
) -> Generator[Callable[..., None]]:
    """Return what sets the agent up to send to the sink, with the limits given."""

    def connect(limits: settings.AgentLimits = QUICK) -> None:
        monkeypatch.setattr(settings, "limits", lambda: limits)
        monkeypatch.setenv(settings.SOURCE, "off")
        stagelight.configure(endpoint=sink.url, tracer_provider=provider)
        assert runtime.active is not None

    with runtime.replaced(None):
        yield connect
        stagelight.shutdown()
    provider.shutdown()


def adds_up(stats: Stats) -> bool:
    """Say whether nothing went uncounted."""
    return stats.produced == stats.delivered + stats.dropped + stats.queued


def attributes(item: Any) -> dict[str, Any]:
    """Return the attributes of a span or log record as plain values."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in item.attributes}


def test_starts_are_events_with_the_span_s_ids_attributes_and_start_time(
    connected: Callable[..., None], sink: Sink
) -> None:
    connected()
    with stagelight.workflow("etl"), stagelight.step("load"):
        sink.wait_for(lambda: len(sink.events("step_started")) == 1)
        assert sink.names() == []
    assert stagelight.flush()
    spans = {span.name: span for span in sink.spans}
    starts = {attributes(record)["workflow.name"]: record for record in sink.events("run_started")}
    starts |= {attributes(record)["workflow.step.name"]: record for record in sink.events("step_started")}
    for name, start in starts.items():
        span = spans[name]
        assert (start.time_unix_nano, start.trace_id, start.span_id) == (
            span.start_time_unix_nano,
            span.trace_id,
            span.span_id,
        )
        assert attributes(start).items() <= attributes(span).items()
        assert not start.HasField("body") or not start.body.string_value
    assert attributes(spans["etl"])["workflow.status"] == "completed"
    assert "workflow.status" not in attributes(starts["etl"])


def test_everything_is_delivered_once_and_counted(connected: Callable[..., None], sink: Sink) -> None:
    connected()
    with stagelight.workflow("w"):
        for number in range(2000):
            with stagelight.step("s") as step:
                step.progress(number)
    assert stagelight.flush()
    stats = stagelight.stats()
    assert (stats.delivered, stats.dropped, stats.queued) == (2001 * 2 + 2000, 0, 0)
    assert adds_up(stats)
    assert len({span.span_id for span in sink.spans}) == 2001
    starts = [record.time_unix_nano for record in sink.events("step_started")]
    assert starts == sorted(starts)


def test_a_batch_is_sent_again_with_the_same_bytes_until_it_is_taken(
    connected: Callable[..., None], sink: Sink
) -> None:
    answers = [503, 429, 502, 504, 503]

    def answer(path: str) -> Answer:
        del path
        return (answers.pop(0), {"Retry-After": "0"}, b"") if answers else (200, {}, b"")

    sink.answer = answer
    connected()
    with stagelight.workflow("w"):
        pass
    assert stagelight.flush()
    refused = [request.body for request in sink.requests if request.status != 200]
    assert len(refused) == 5
    assert set(refused) == {sink.requests[5].body}
    assert sink.names() == ["w"]
    assert stagelight.stats().dropped == 0


@pytest.mark.parametrize("status", [301, 400, 401, 404, 413, 500])
def test_what_is_refused_for_good_is_counted_and_never_sent_again(
    status: int, connected: Callable[..., None], sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    sink.answer = lambda _path: (status, {"Location": "/elsewhere"}, b"")
    connected()
    with stagelight.workflow("w"):
        pass
    assert stagelight.flush()
    stats = stagelight.stats()
    assert stats.dropped_by_reason == {"rejected": 2}
    assert adds_up(stats)
    bodies = [request.body for request in sink.requests]
    assert len(bodies) == len(set(bodies))
    said = [record for record in caplog.records if record.name == "stagelight"]
    assert len(said) == 1
    assert str(status) in said[0].getMessage()


def test_what_a_partial_success_refuses_is_counted_and_not_sent_again(
    connected: Callable[..., None], sink: Sink
) -> None:
    body = ExportLogsServiceResponse(
        partial_success=ExportLogsPartialSuccess(rejected_log_records=1, error_message="too old")
    ).SerializeToString()
    sink.answer = lambda path: (200, {}, body if path == "/v1/logs" and not sink.requests else b"")
    connected()
    with stagelight.workflow("w"):
        sink.wait_for(lambda: len(sink.requests) >= 1)
    assert stagelight.flush()
    stats = stagelight.stats()
    assert stats.dropped_by_reason == {"rejected": 1}
    assert adds_up(stats)
    assert len(sink.events("run_started")) == 1


def test_a_body_that_is_no_answer_is_taken_for_a_yes(connected: Callable[..., None], sink: Sink) -> None:
    sink.answer = lambda _path: (200, {"Content-Type": "text/html"}, b"<html>\xff\x00 hello")
    connected()
    with stagelight.workflow("w"):
        pass
    assert stagelight.flush()
    assert stagelight.stats().delivered == 2


def test_a_full_queue_drops_lines_first_and_confesses_when_the_collector_listens_again(
    connected: Callable[..., None], sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    is_open = threading.Event()
    sink.answer = lambda _path: (200, {}, b"") if is_open.is_set() else (503, {}, b"")
    connected(limits_of(settings.SignalLimits(queue=64, batch=16)))
    with stagelight.workflow("w") as run:
        sink.wait_for(lambda: bool(sink.requests))
        for number in range(200):
            run.progress(number)
        for _ in range(8):
            with stagelight.step("s"):
                pass
    before = stagelight.stats()
    assert before.dropped > 0
    assert adds_up(before)
    is_open.set()
    assert stagelight.flush(20)
    sink.wait_for(lambda: bool(sink.events("heartbeat")))
    assert sorted(sink.names()) == ["s"] * 8 + ["w"]
    told = attributes(sink.events("heartbeat")[-1])
    assert told["workflow.agent.dropped"] == stagelight.stats().dropped
    assert told["workflow.run.id"]
    assert stagelight.stats().dropped_by_reason.keys() == {"queue_full"}
    assert sum("queue is full" in record.getMessage() for record in caplog.records) == 1


def test_the_counts_add_up_under_threads_and_a_collector_of_moods(
    connected: Callable[..., None], sink: Sink
) -> None:
    moods = random.Random(7)
    sink.answer = lambda _path: (moods.choice([200, 200, 503, 400]), {}, b"")
    connected(limits_of(settings.SignalLimits(queue=256, batch=32, linger=0.001)))

    def work() -> None:
        for number in range(300):
            with stagelight.step("s") as step:
                step.log(str(number))
            assert adds_up(stagelight.stats())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sink.answer = lambda _path: (200, {}, b"")
    assert stagelight.flush(30)
    stats = stagelight.stats()
    assert adds_up(stats)
    assert stats.queued == 0
    assert stats.produced >= 4 * 300 * 3
    heartbeats = len(sink.events("heartbeat"))
    assert (
        len(sink.spans) + len(sink.logs) - heartbeats <= stats.delivered <= len(sink.spans) + len(sink.logs)
    )


def test_the_user_s_own_provider_and_exporter_stay(
    connected: Callable[..., None], sink: Sink, provider: TracerProvider
) -> None:
    theirs = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(theirs))
    connected()
    with stagelight.workflow("w"), provider.get_tracer("theirs").start_as_current_span("query"):
        pass
    assert stagelight.flush()
    assert [span.name for span in theirs.get_finished_spans()] == ["query", "w"] == sink.names()


def test_exporting_is_not_traced_itself(
    connected: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    original = SingleRequest.request

    def request(self: SingleRequest, method: str, url: str, **rest: Any) -> Any:
        seen.append(is_instrumentation_enabled())
        return original(self, method, url, **rest)

    monkeypatch.setattr(SingleRequest, "request", request)
    connected()
    with stagelight.workflow("w"):
        pass
    assert stagelight.flush()
    assert set(seen) == {False}


def test_what_is_not_sampled_is_not_sent(sink: Sink) -> None:
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    with runtime.replaced(None):
        stagelight.configure(endpoint=sink.url, tracer_provider=provider)
        with stagelight.workflow("w") as run, stagelight.step("s"):
            assert run.id
            stagelight.log("x")
        assert stagelight.flush()
        assert stagelight.stats().produced == 0
        stagelight.shutdown()
    provider.shutdown()


def test_a_second_configure_replaces_the_first(connected: Callable[..., None], sink: Sink) -> None:
    connected()
    connected()
    with stagelight.workflow("w"):
        pass
    assert stagelight.flush()
    assert sink.names() == ["w"]


def test_after_shutdown_nothing_is_recorded_and_the_thread_is_gone(
    connected: Callable[..., None], sink: Sink
) -> None:
    connected()
    with stagelight.workflow("w"):
        pass
    stagelight.shutdown()
    stagelight.shutdown()
    assert sink.names() == ["w"]
    with stagelight.workflow("later") as run:
        assert run.id == ""
    assert THREAD_NAME not in [thread.name for thread in threading.enumerate()]
    assert sink.names() == ["w"]


def test_a_text_that_utf_8_cannot_say_costs_nothing_else(connected: Callable[..., None], sink: Sink) -> None:
    connected()
    with stagelight.workflow("\ud800 w"), stagelight.step("s"):
        stagelight.log("\udfff line", key="\ud800", other="fine")
    assert stagelight.flush()
    assert len(sink.spans) == 2
    (line,) = sink.events("log")
    assert attributes(line)["other"] == "fine"
    assert stagelight.stats().dropped == 0


def test_one_span_that_cannot_be_encoded_does_not_take_its_batch_with_it(
    connected: Callable[..., None], sink: Sink, provider: TracerProvider
) -> None:
    connected()
    tracer = provider.get_tracer("theirs")
    with stagelight.workflow("w"):
        for name in ("a", "b\ud800", "c"):
            tracer.start_span(name).end()
    assert stagelight.flush()
    assert sorted(sink.names()) == ["a", "c", "w"]
    assert stagelight.stats().dropped_by_reason == {"rejected": 1}


@pytest.mark.parametrize(
    ("tries", "asked", "seconds"),
    [
        (0, None, 1.0),
        (1, None, 2.0),
        (2, None, 4.0),
        (3, None, 5.0),
        (100, None, 5.0),
        (0, 30.0, 30.0),
        (3, 1.0, 5.0),
    ],
)
def test_a_dead_collector_is_asked_once_a_second_at_most(
    tries: int, asked: float | None, seconds: float
) -> None:
    limits = settings.AgentLimits()
    assert backoff(tries, asked, limits, lambda low, _: low) == seconds
    assert backoff(tries, asked, limits, lambda _, high: high) >= seconds


@pytest.mark.parametrize("limit", [None, 5, 1000])
def test_a_step_s_attributes_are_what_the_public_way_would_make_of_them(
    limit: int | None, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    if limit is not None:
        monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", str(limit))
    provider = TracerProvider(shutdown_on_exit=False)
    public = provider.get_tracer("x").start_span("x")
    with runtime.replaced(None):
        stagelight.configure(endpoint=sink.url, tracer_provider=provider)
        with stagelight.workflow("a long name"), stagelight.step("another long name", kind="io") as step:
            public.set_attributes(step.start_attributes)
            assert isinstance(step.span, ReadableSpan)
            assert isinstance(public, ReadableSpan)
            assert step.span.attributes == public.attributes
        stagelight.shutdown()
    public.end()
    provider.shutdown()


def test_what_is_recorded_when_no_thread_can_be_started_is_sent_at_the_end(
    connected: Callable[..., None], sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    connected()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with stagelight.workflow("w"):
            pass
        assert sink.requests == []
        sending = runtime.active
    assert sending is not None
    stagelight.shutdown()
    assert sink.names() == ["w"]
    assert sending.processor.stats().delivered == 2
