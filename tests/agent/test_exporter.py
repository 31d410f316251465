"""The environment's wishes, and the answers of collectors."""

from __future__ import annotations

import os
import sys

import pytest

import stagelight
from stagelight import exporter, runtime, settings
from stagelight.errors import MissingPackageError
from stagelight.exporter import HttpChannel, OpaqueChannel, Outcome, Several, Verdict, retry_after


@pytest.fixture(autouse=True)
def _no_otel(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)


def _endpoint(channel: object) -> str:
    assert isinstance(channel, HttpChannel)
    return channel.endpoint


def _headers(channel: object) -> dict[str, str]:
    assert isinstance(channel, HttpChannel)
    return channel.headers


def test_the_default_endpoint_is_loopback_without_compression() -> None:
    built = exporter.channels()
    assert (_endpoint(built.spans), _endpoint(built.logs)) == (
        "http://127.0.0.1:4318/v1/traces",
        "http://127.0.0.1:4318/v1/logs",
    )
    assert "Content-Encoding" not in _headers(built.spans)
    built.close()


def test_otel_endpoints_and_headers_are_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example/base/")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "https://logs.example/here")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-token=abc")
    built = exporter.channels()
    assert _endpoint(built.spans) == "https://collector.example/base/v1/traces"
    assert _endpoint(built.logs) == "https://logs.example/here"
    assert _headers(built.spans)["x-token"] == "abc"
    assert _headers(built.spans)["Content-Encoding"] == "gzip"
    built.close()


def test_compression_is_the_user_s_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    built = exporter.channels()
    assert "Content-Encoding" not in _headers(built.spans)
    built.close()


def test_exporters_can_be_switched_off_and_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "otlp,console")
    built = exporter.channels()
    assert built.spans is None
    assert isinstance(built.logs, Several)
    built.close()


def test_a_missing_grpc_exporter_is_named_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.grpc.trace_exporter", None)
    with pytest.raises(MissingPackageError) as caught:
        exporter.channels()
    assert caught.value.package == "opentelemetry-exporter-otlp-proto-grpc"
    with runtime.replaced(None, is_settled=False):
        for _ in range(2):
            with stagelight.workflow("w") as run:
                assert run.id == ""
    said = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert len(said) == 1
    assert "pip install opentelemetry-exporter-otlp-proto-grpc" in said[0]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1", 1.0),
        ("30", 30.0),
        ("-3", 0.0),
        ("1e9", 60.0),
        ("Thu, 01 Jan 1970 00:01:50 GMT", 10.0),
        ("abc", None),
        ("", None),
        ("nan", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(text: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": text}, now=lambda: 100.0) == seconds


def test_an_exporter_that_only_says_no_is_asked_a_few_times() -> None:
    class No:
        def export(self, _: object) -> object:
            return type("Result", (), {"name": "FAILURE"})

    channel: OpaqueChannel[int] = OpaqueChannel(No())
    verdicts = [channel.send([1], 1.0).verdict for _ in range(5)]
    assert verdicts == [Verdict.RETRY] * 4 + [Verdict.REJECTED]


def test_of_several_exporters_the_others_get_each_batch_once() -> None:
    class Channel:
        def __init__(self, verdict: Verdict) -> None:
            self.batches: list[list[int]] = []
            self.verdict = verdict

        def send(self, batch: object, timeout: float) -> Outcome:
            del timeout
            assert isinstance(batch, list)
            self.batches.append(batch)  # pyright: ignore[reportUnknownArgumentType]
            return Outcome(verdict=self.verdict)

        def close(self) -> None: ...

    first, second = Channel(Verdict.RETRY), Channel(Verdict.DELIVERED)
    both: Several[int] = Several([first, second])
    batch = [1]
    assert [both.send(batch, 1.0).verdict for _ in range(3)] == [Verdict.RETRY] * 3
    assert (len(first.batches), len(second.batches)) == (3, 1)


def test_batch_settings_are_honoured_by_signal_and_nonsense_is_said(caplog: pytest.LogCaptureFixture) -> None:
    found = settings.limits(
        {
            "OTEL_BSP_MAX_QUEUE_SIZE": "100",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1000",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "OTEL_BSP_EXPORT_TIMEOUT": "many",
            "OTEL_BLRP_MAX_QUEUE_SIZE": "50",
            "OTEL_BLRP_EXPORT_TIMEOUT": "2000",
        }
    )
    spans, records = found.spans, found.records
    assert (spans.queue, spans.batch, spans.linger, spans.request) == (100, 100, 0.2, 30.0)
    assert (records.queue, records.batch, records.linger, records.request) == (50, 50, 0.005, 2.0)
    assert "OTEL_BSP_EXPORT_TIMEOUT='many'" in caplog.text
