"""Every variable of OpenTelemetry, each under `stagelight run` in a process of its own, against real servers."""

from __future__ import annotations

import gzip
import json
import re
import ssl
import threading
import zlib
from collections.abc import Callable, Generator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]  # it has no types
import pytest
import trustme
from opentelemetry import environment_variables as of_api
from opentelemetry.proto.collector.logs.v1 import (  # pyright: ignore[reportMissingTypeStubs]  # it has some, of the messages
    logs_service_pb2,
    logs_service_pb2_grpc,
)
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.sdk import environment_variables as of_sdk
from tests.agent.conftest import OK, Sink, attributes, listening

from stagelight import runtime
from stagelight.errors import MissingPackageError

if TYPE_CHECKING:
    from subprocess import CompletedProcess

    from tests.agent.conftest import Answer, Program

README = Path(__file__).resolve().parents[2] / "agent" / "README.md"
APP = """
import stagelight
with stagelight.workflow("w"), stagelight.step("s"):
    stagelight.log("said")
print("done")
"""
METERED = """
from opentelemetry import metrics
metrics.get_meter("m").create_counter("c").add(1)
"""
PATHS = {"TRACES": "/v1/traces", "LOGS": "/v1/logs", "METRICS": "/v1/metrics"}
SIGNALS = ("", "TRACES_", "LOGS_", "METRICS_")
TESTED: set[str] = set()

Run = Callable[..., "CompletedProcess[str]"]


def about(*names: str) -> Callable[[Any], Any]:
    """Note which variables a test is about; the README's table is held to it."""
    TESTED.update(names)
    return lambda test: test


@pytest.fixture
def run(program: Program) -> Run:
    """Return what runs code under `stagelight run` with variables."""

    def run(code: str = APP, **variables: str) -> CompletedProcess[str]:
        return program(code, launcher=(), check=True, **variables)

    return run


@pytest.fixture
def to(sink: Sink, run: Run) -> Run:
    """Return what runs code that sends to the sink, metrics included."""

    def to(code: str = APP, **variables: str) -> CompletedProcess[str]:
        found = {"OTEL_EXPORTER_OTLP_ENDPOINT": sink.url, "OTEL_METRICS_EXPORTER": "otlp"} | variables
        return run(METERED + code, **found)

    return to


def paths(sink: Sink) -> set[str]:
    """Return where requests went."""
    return {request.path for request in sink.requests}


def concerned(signal: str) -> set[str]:
    """Return the paths that a variable of one signal, or of all, is about."""
    return {path for name, path in PATHS.items() if signal in {"", f"{name}_"}}


# --- what is recorded, and by whom ---------------------------------------------------------------------------------


@about("OTEL_SDK_DISABLED")
def test_the_sdk_can_be_disabled(sink: Sink, to: Run) -> None:
    done = to(OTEL_SDK_DISABLED="true")
    assert (done.stdout, done.stderr, sink.requests) == ("done\n", "", [])


@about("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES")
def test_service_and_resource_are_as_named_for_all_signals(sink: Sink, to: Run) -> None:
    to(OTEL_SERVICE_NAME="shop", OTEL_RESOURCE_ATTRIBUTES="team=blue")
    assert paths(sink) == set(PATHS.values())
    assert all(b"shop" in r.body and b"blue" in r.body for r in sink.requests)
    sink.requests.clear()
    to(OTEL_RESOURCE_ATTRIBUTES="service.name=billing")
    assert all(b"billing" in r.body for r in sink.requests)


@pytest.mark.parametrize("signal", ["TRACES", "LOGS", "METRICS"])
@about("OTEL_TRACES_EXPORTER", "OTEL_LOGS_EXPORTER", "OTEL_METRICS_EXPORTER")
def test_each_signal_can_be_sent_printed_or_left_out(signal: str, sink: Sink, to: Run) -> None:
    others = set(PATHS.values()) - {PATHS[signal]}
    assert to(**{f"OTEL_{signal}_EXPORTER": "none"}).stdout == "done\n"
    assert paths(sink) == others
    sink.requests.clear()
    printed = to(**{f"OTEL_{signal}_EXPORTER": "console"}).stdout
    assert {"TRACES": '"w"', "LOGS": "workflow.step_started", "METRICS": '"c"'}[signal] in printed
    assert paths(sink) == others


@pytest.mark.parametrize("signal", ["TRACES", "LOGS", "METRICS"])
def test_an_exporter_that_is_not_there_is_named(signal: str, to: Run) -> None:
    done = to(**{f"OTEL_{signal}_EXPORTER": "zzz"})
    assert done.stdout == "done\n"
    assert "zzz" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("sampler", "argument", "least", "most"),
    [
        ("always_off", "", 0, 0),
        ("traceidratio", "0", 0, 0),
        ("parentbased_traceidratio", "0.5", 50, 150),
        ("traceidratio", "1", 200, 200),
    ],
)
@about("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG")
def test_what_the_sampler_leaves_out_is_neither_started_nor_finished(
    sampler: str, argument: str, least: int, most: int, sink: Sink, to: Run
) -> None:
    code = "import stagelight\nfor _ in range(200):\n    with stagelight.workflow('w'):\n        pass\n"
    to(code, OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG=argument)
    assert least <= len(sink.spans) <= most
    assert len(sink.events("run_started")) == len(sink.spans)


@pytest.mark.parametrize(
    ("propagators", "carried"),
    [
        ("", ["baggage", "traceparent"]),
        ("baggage", ["baggage"]),
        ("tracecontext", ["traceparent"]),
        ("none", []),
    ],
)
@about("OTEL_PROPAGATORS")
def test_the_context_travels_as_the_propagators_say(propagators: str, carried: list[str], to: Run) -> None:
    code = """
import stagelight
from opentelemetry import baggage, context, propagate
with stagelight.workflow("w"):
    carrier = {}
    propagate.inject(carrier, baggage.set_baggage("k", "v"))
    print(sorted(carrier))
"""
    assert to(code, OTEL_PROPAGATORS=propagators).stdout == f"{carried}\n"


# --- where it goes -------------------------------------------------------------------------------------------------


@about(*(f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT" for signal in SIGNALS))
def test_a_base_gets_the_signal_s_path_and_a_signal_s_own_endpoint_is_used_as_it_is(
    sink: Sink, to: Run
) -> None:
    to(OTEL_EXPORTER_OTLP_ENDPOINT=f"{sink.url}/base/")
    assert paths(sink) == {f"/base{path}" for path in PATHS.values()}
    sink.requests.clear()
    to(**{f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT": f"{sink.url}/{signal}" for signal in PATHS})
    assert paths(sink) == {f"/{signal}" for signal in PATHS}


def test_metrics_go_where_stagelight_s_own_settings_send_the_rest(sink: Sink, run: Run) -> None:
    run(METERED + APP, STAGELIGHT_ENDPOINT=sink.url, OTEL_METRICS_EXPORTER="otlp")
    assert paths(sink) == set(PATHS.values())


def test_an_address_that_is_no_url_is_named_with_what_to_write(run: Run) -> None:
    done = run(OTEL_EXPORTER_OTLP_ENDPOINT="collector:4318")
    assert done.stdout == "done\n"
    assert done.stderr == (
        "stagelight records nothing: the collector's address 'collector:4318' is no URL; write http://collector:4318\n"
    )


@about(*(f"OTEL_EXPORTER_OTLP_{signal}HEADERS" for signal in SIGNALS))
def test_headers_go_along_and_a_signal_s_own_win(sink: Sink, to: Run) -> None:
    own = {f"OTEL_EXPORTER_OTLP_{signal}_HEADERS": f"x-token={signal}" for signal in PATHS}
    for variables, expected in (({}, dict.fromkeys(PATHS, "abc d")), (own, {name: name for name in PATHS})):
        sink.requests.clear()
        to(OTEL_EXPORTER_OTLP_HEADERS="x-token=abc%20d", **variables)
        found = {request.path: request.headers.get("x-token") for request in sink.requests}
        assert found == {PATHS[signal]: value for signal, value in expected.items()}


@pytest.mark.parametrize(
    "methods",
    [
        ("gzip", "gzip", "gzip", "gzip"),
        ("deflate", "none", "gzip", "deflate"),
        ("none", "gzip", "deflate", "gzip"),
        ("gzip", "deflate", "none", "none"),
    ],
)
@about(*(f"OTEL_EXPORTER_OTLP_{signal}COMPRESSION" for signal in SIGNALS))
def test_bodies_are_compressed_as_asked_and_a_signal_s_own_wins(
    methods: tuple[str, ...], sink: Sink, to: Run
) -> None:
    own = [
        (f"OTEL_EXPORTER_OTLP_{signal}COMPRESSION", how) for signal, how in zip(SIGNALS, methods, strict=True)
    ]
    to(**dict(own if len(set(methods)) > 1 else own[:1]))
    inflate: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.decompress,
        "deflate": zlib.decompress,
        "none": bytes,
    }
    for path, method in zip(PATHS.values(), methods[1:], strict=True):
        request = next(request for request in sink.requests if request.path == path)
        assert request.headers.get("Content-Encoding", "none") == method
        assert b"service.name" in inflate[method](request.body)


def first_unanswered(sink: Sink, path: str) -> threading.Event:
    """Let the sink leave the first request to a path without an answer until the event is set."""
    released, seen = threading.Event(), set[str]()

    def answer(asked: str) -> Answer:
        if asked == path and path not in seen:
            seen.add(path)
            released.wait(20)
        return OK

    sink.answer = answer
    return released


@pytest.mark.parametrize(
    ("variable", "value", "path"),
    [
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2", "/v1/logs"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0.2", "/v1/traces"),
        ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "0.2", "/v1/logs"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "200", "/v1/traces"),
        ("OTEL_BLRP_EXPORT_TIMEOUT", "200", "/v1/logs"),
    ],
)
@about(
    *(f"OTEL_EXPORTER_OTLP_{signal}TIMEOUT" for signal in SIGNALS),
    "OTEL_BSP_EXPORT_TIMEOUT",
    "OTEL_BLRP_EXPORT_TIMEOUT",
)
def test_a_request_without_an_answer_is_given_up_in_time_and_sent_again(
    variable: str, value: str, path: str, sink: Sink, to: Run
) -> None:
    released = first_unanswered(sink, path)
    done = to(APP + "print(stagelight.flush(8))\n", **{variable: value})
    released.set()
    assert done.stdout == "done\nTrue\n"
    assert "cannot be reached, trying again" in done.stderr


@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"])
def test_metrics_without_an_answer_are_given_up_in_time(variable: str, sink: Sink, to: Run) -> None:
    released = first_unanswered(sink, "/v1/metrics")
    code = """
import time
started = time.monotonic()
metrics.get_meter_provider().force_flush()
print(time.monotonic() - started < 5)
"""
    done = to(code, **{variable: "0.2"})
    released.set()
    assert done.stdout == "True\n"


def test_a_longer_time_for_an_answer_is_given_too(sink: Sink, to: Run) -> None:
    code = APP + "print(stagelight.runtime.active.processor._worker._channels.logs._client._timeout)\n"
    code += "print(stagelight.runtime.active.processor._limits.records.request)\n"
    done = to("import stagelight.runtime\n" + code, OTEL_EXPORTER_OTLP_TIMEOUT="25")
    assert done.stdout == "done\n25.0\n30.0\n"
    assert sink.names()


# --- TLS -----------------------------------------------------------------------------------------------------------


@dataclass
class Tls:
    """A sink behind TLS, and the files that clients need."""

    sink: Sink
    authority: str
    certificate: str
    key: str


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Return an authority that nobody else knows."""
    return trustme.CA()


def secured(authority: trustme.CA, directory: Path, *, asks: bool) -> tuple[ssl.SSLContext, str, str, str]:
    """Return a server's context, and the paths of the authority's certificate, a client's, and its key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)  # pyright: ignore[reportUnknownMemberType]  # of pyOpenSSL's, too
    authority.configure_trust(context)  # pyright: ignore[reportUnknownMemberType]  # of pyOpenSSL's, too
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
    client = authority.issue_cert("client@example.org")
    files = [str(directory / name) for name in ("ca.pem", "client.pem", "client.key")]
    authority.cert_pem.write_to_path(files[0])
    client.cert_chain_pems[0].write_to_path(files[1])
    client.private_key_pem.write_to_path(files[2])
    return context, files[0], files[1], files[2]


@pytest.fixture
def tls(authority: trustme.CA, tmp_path: Path) -> Generator[Tls]:
    """Return a sink whose certificate is the authority's."""
    context, *files = secured(authority, tmp_path, asks=False)
    with listening(context) as sink:
        yield Tls(sink, *files)


@pytest.fixture
def mutual(authority: trustme.CA, tmp_path: Path) -> Generator[Tls]:
    """Return a sink that asks its clients for a certificate, too."""
    context, *files = secured(authority, tmp_path, asks=True)
    with listening(context) as sink:
        yield Tls(sink, *files)


QUICKLY = {"OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": "1"}


@pytest.mark.parametrize("one_by_one", [False, True])
@about(*(f"OTEL_EXPORTER_OTLP_{signal}CERTIFICATE" for signal in SIGNALS))
def test_a_server_is_trusted_by_the_certificate_that_is_named_and_a_signal_s_own_wins(
    *, one_by_one: bool, tls: Tls, to: Run
) -> None:
    right = {f"OTEL_EXPORTER_OTLP_{signal}CERTIFICATE": tls.authority for signal in SIGNALS[1:] if one_by_one}
    general = tls.certificate if one_by_one else tls.authority
    done = to(
        OTEL_EXPORTER_OTLP_ENDPOINT=tls.sink.url, OTEL_EXPORTER_OTLP_CERTIFICATE=general, **right, **QUICKLY
    )
    assert (done.stderr, paths(tls.sink)) == ("", set(PATHS.values()))


def test_a_server_that_nothing_vouches_for_is_told_nothing(tls: Tls, to: Run) -> None:
    done = to(OTEL_EXPORTER_OTLP_ENDPOINT=tls.sink.url, **QUICKLY)
    assert (done.stdout, tls.sink.requests) == ("done\n", [])
    assert "SSLCertVerificationError" in done.stderr


def test_the_certificate_that_is_named_wins_over_that_of_requests(tls: Tls, mutual: Tls, run: Run) -> None:
    done = run(
        OTEL_EXPORTER_OTLP_ENDPOINT=tls.sink.url,
        OTEL_EXPORTER_OTLP_CERTIFICATE=tls.authority,
        REQUESTS_CA_BUNDLE=mutual.certificate,
    )
    assert (done.stderr, paths(tls.sink)) == ("", {"/v1/traces", "/v1/logs"})


def test_a_certificate_that_is_not_there_is_named(tls: Tls, run: Run) -> None:
    done = run(OTEL_EXPORTER_OTLP_ENDPOINT=tls.sink.url, OTEL_EXPORTER_OTLP_CERTIFICATE="/nowhere/ca.pem")
    assert done.stdout == "done\n"
    assert "/nowhere/ca.pem" in done.stderr


@pytest.mark.parametrize("shown", [(), SIGNALS[:1], SIGNALS[1:]])
@about(
    *(f"OTEL_EXPORTER_OTLP_{signal}CLIENT_{what}" for signal in SIGNALS for what in ("KEY", "CERTIFICATE"))
)
def test_a_client_shows_the_certificate_that_is_named(shown: tuple[str, ...], mutual: Tls, to: Run) -> None:
    to(
        OTEL_EXPORTER_OTLP_ENDPOINT=mutual.sink.url,
        OTEL_EXPORTER_OTLP_CERTIFICATE=mutual.authority,
        **{f"OTEL_EXPORTER_OTLP_{signal}CLIENT_CERTIFICATE": mutual.certificate for signal in shown},
        **{f"OTEL_EXPORTER_OTLP_{signal}CLIENT_KEY": mutual.key for signal in shown},
        **QUICKLY,
    )
    assert paths(mutual.sink) == (set(PATHS.values()) if shown else set())


def test_insecure_is_about_grpc_and_says_so_where_it_would_be_mistaken(tls: Tls, run: Run) -> None:
    done = run(OTEL_EXPORTER_OTLP_ENDPOINT=tls.sink.url, OTEL_EXPORTER_OTLP_INSECURE="true")
    assert "OTEL_EXPORTER_OTLP_INSECURE is about gRPC only" in done.stderr
    assert tls.sink.requests == []


# --- gRPC ----------------------------------------------------------------------------------------------------------


@dataclass
class Ear(trace_service_pb2_grpc.TraceServiceServicer, logs_service_pb2_grpc.LogsServiceServicer):
    """A collector that speaks OTLP/gRPC."""

    port: int = 0
    heard: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the service's own name
        is_traces = isinstance(request, trace_service_pb2.ExportTraceServiceRequest)
        self.heard["traces" if is_traces else "logs"] = dict(context.invocation_metadata())
        services: Any = trace_service_pb2 if is_traces else logs_service_pb2
        return services.ExportTraceServiceResponse() if is_traces else services.ExportLogsServiceResponse()


@pytest.fixture
def ear() -> Generator[Ear]:
    """Return an OTLP/gRPC collector on loopback, without TLS."""
    made = Ear()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(made, server)  # type: ignore[no-untyped-call]  # untyped
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(made, server)  # type: ignore[no-untyped-call]  # untyped
    made.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield made
    server.stop(0).wait()


@pytest.mark.parametrize("signal", ["", "TRACES_", "LOGS_"])
@about(*(f"OTEL_EXPORTER_OTLP_{signal}PROTOCOL" for signal in SIGNALS))
def test_a_signal_is_sent_over_grpc_if_asked(signal: str, ear: Ear, sink: Sink, run: Run) -> None:
    own = {
        f"OTEL_EXPORTER_OTLP_{name}_ENDPOINT": f"http://127.0.0.1:{ear.port}" for name in ("TRACES", "LOGS")
    }
    for name in ("TRACES", "LOGS"):
        if signal not in {"", f"{name}_"}:
            own[f"OTEL_EXPORTER_OTLP_{name}_ENDPOINT"] = sink.url + PATHS[name]
    run(
        **own, **{f"OTEL_EXPORTER_OTLP_{signal}PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_HEADERS": "x-token=abc"}
    )
    assert {PATHS[name.upper()] for name in ear.heard} == concerned(signal) - {"/v1/metrics"}
    assert all(metadata["x-token"] == "abc" for metadata in ear.heard.values())
    assert paths(sink) == {"/v1/traces", "/v1/logs"} - concerned(signal)


def test_a_protocol_that_is_not_spoken_is_said_once(sink: Sink, run: Run) -> None:
    done = run(OTEL_EXPORTER_OTLP_ENDPOINT=sink.url, OTEL_EXPORTER_OTLP_PROTOCOL="http/json")
    assert done.stderr.count("OTEL_EXPORTER_OTLP_PROTOCOL=http/json is not spoken here") == 1
    assert paths(sink) == {"/v1/traces", "/v1/logs"}


@pytest.mark.parametrize("protocol", ["http/protobuf", "http/json"])
def test_metrics_are_sent_by_the_protocol_of_theirs(protocol: str, sink: Sink, to: Run) -> None:
    done = to(OTEL_EXPORTER_OTLP_METRICS_PROTOCOL=protocol)
    assert ("/v1/metrics" in paths(sink)) == (protocol == "http/protobuf")
    assert ("OpenTelemetry is not set up as OTEL_* asks: Unsupported OTLP protocol" in done.stderr) == (
        protocol != "http/protobuf"
    )


@pytest.mark.parametrize("asked", [(), SIGNALS[:1], SIGNALS[1:]])
@about(*(f"OTEL_EXPORTER_OTLP_{signal}INSECURE" for signal in SIGNALS))
def test_grpc_without_a_scheme_is_plain_only_where_insecure_is_asked_for(
    asked: tuple[str, ...], ear: Ear, run: Run
) -> None:
    run(
        OTEL_EXPORTER_OTLP_ENDPOINT=f"127.0.0.1:{ear.port}",
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        OTEL_EXPORTER_OTLP_TIMEOUT="1",
        **{f"OTEL_EXPORTER_OTLP_{signal}INSECURE": "true" for signal in asked},
    )
    assert set(ear.heard) == ({"traces", "logs"} if asked else set())


# --- the queues ----------------------------------------------------------------------------------------------------

STEPS = """
import stagelight, time
with stagelight.workflow("w"):
    for _ in range(49):
        with stagelight.step("s"):
            pass
"""
WAITING = """
until = time.monotonic() + 10
while stagelight.stats().delivered < 50 and time.monotonic() < until:
    time.sleep(0.01)
print(stagelight.stats().delivered, stagelight.stats().queued)
"""


@pytest.mark.parametrize(("prefix", "late"), [("OTEL_BSP_", "/v1/traces"), ("OTEL_BLRP_", "/v1/logs")])
@about("OTEL_BSP_SCHEDULE_DELAY", "OTEL_BLRP_SCHEDULE_DELAY")
def test_one_signal_waits_as_long_as_asked_and_the_other_does_not(
    prefix: str, late: str, sink: Sink, to: Run
) -> None:
    done = to(STEPS + WAITING, **{f"{prefix}SCHEDULE_DELAY": "60000"})
    assert done.stdout == "50 50\n"
    assert [r.path for r in sink.requests if r.path != "/v1/metrics"][-1] == late
    assert (len(sink.spans), len(sink.logs)) == (50, 50)


@pytest.mark.parametrize("prefix", ["OTEL_BSP_", "OTEL_BLRP_"])
@about("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE")
def test_a_batch_is_of_no_more_than_was_asked_for(prefix: str, sink: Sink, to: Run) -> None:
    to(
        STEPS,
        OTEL_BSP_SCHEDULE_DELAY="60000",
        OTEL_BLRP_SCHEDULE_DELAY="60000",
        **{f"{prefix}MAX_EXPORT_BATCH_SIZE": "7"},
    )
    requests = {path: sum(r.path == path for r in sink.requests) for path in ("/v1/traces", "/v1/logs")}
    bounded, other = ("/v1/traces", "/v1/logs") if prefix == "OTEL_BSP_" else ("/v1/logs", "/v1/traces")
    assert (requests[bounded] >= 50 / 7, requests[other]) == (True, 1)


def test_a_full_batch_waits_for_nothing(to: Run) -> None:
    waiting = WAITING.replace("< 50", "< 100")
    done = to(STEPS + waiting, OTEL_BSP_SCHEDULE_DELAY="60000", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="10")
    assert done.stdout == "100 0\n"


@pytest.mark.parametrize("prefix", ["OTEL_BSP_", "OTEL_BLRP_"])
@about("OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BLRP_MAX_QUEUE_SIZE")
def test_a_queue_holds_no_more_than_was_asked_for(prefix: str, run: Run) -> None:
    code = STEPS + "print(stagelight.stats().queued, stagelight.stats().dropped)\n"
    done = run(code, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1", **{f"{prefix}MAX_QUEUE_SIZE": "3"})
    queued, dropped = map(int, done.stdout.split())
    assert 50 < queued <= 56, "three wait, three may be on their way, and all of the other signal"
    assert queued + dropped == 100


@pytest.mark.parametrize("name", sorted({"OTEL_BSP_SCHEDULE_DELAY", "OTEL_BLRP_MAX_QUEUE_SIZE"}))
def test_a_number_that_is_none_is_said_and_ignored(name: str, sink: Sink, to: Run) -> None:
    assert f"{name}='soon' is no positive number; it is ignored" in to(**{name: "soon"}).stderr
    assert sink.names()


# --- limits --------------------------------------------------------------------------------------------------------

WIDE = """
import stagelight
from opentelemetry import trace
many = {f"a{n:02}": "x" * 50 for n in range(20)}
with stagelight.workflow("w", run_id="r"), stagelight.step("s"):
    stagelight.log("said", **many)
    links = [trace.Link(trace.get_current_span().get_span_context(), many) for _ in range(3)]
    span = trace.get_tracer("t").start_span("theirs", links=links, attributes=many)
    for _ in range(3):
        span.add_event("e", many)
    span.end()
"""


USUAL = {
    "span": 22,
    "record": 26,
    "span length": 50,
    "record length": 50,
    "events": 3,
    "links": 3,
    "event": 20,
    "link": 20,
}


def wide(sink: Sink) -> dict[str, int]:
    """Return the sizes of what arrived: of the span `theirs`, and of the log line."""
    span = next(span for span in sink.spans if span.name == "theirs")
    record = sink.events("log")[0]
    assert attributes(record)["workflow.run.id"] == "r"
    theirs, said = attributes(span), attributes(record)
    return {
        "span": len(theirs),
        "record": len(said),
        "span length": max(len(value) for key, value in theirs.items() if key.startswith("a")),
        "record length": max((len(value) for key, value in said.items() if key.startswith("a")), default=0),
        "events": len(span.events),
        "links": len(span.links),
        "event": len(span.events[0].attributes) if span.events else 0,
        "link": len(span.links[0].attributes) if span.links else 0,
        "lost": record.dropped_attributes_count,
    }


@about(
    *(f"OTEL_{of}ATTRIBUTE_COUNT_LIMIT" for of in ("", "SPAN_", "LOGRECORD_", "EVENT_", "LINK_")),
    *(f"OTEL_{of}ATTRIBUTE_VALUE_LENGTH_LIMIT" for of in ("", "SPAN_", "LOGRECORD_")),
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
)
def test_each_limit_holds_for_what_it_is_about(sink: Sink, to: Run) -> None:
    to(
        WIDE,
        OTEL_ATTRIBUTE_COUNT_LIMIT="19",
        OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT="12",
        OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT="13",
        OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT="14",
        OTEL_LINK_ATTRIBUTE_COUNT_LIMIT="15",
        OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT="20",
        OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT="10",
        OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT="11",
        OTEL_SPAN_EVENT_COUNT_LIMIT="1",
        OTEL_SPAN_LINK_COUNT_LIMIT="2",
    )
    assert wide(sink) == {
        "span": 12,
        "record": 13,
        "event": 14,
        "link": 15,
        "span length": 10,
        "record length": 11,
        "events": 1,
        "links": 2,
        "lost": USUAL["record"] - 13,
    }


def test_the_general_limits_hold_for_all_that_has_none_of_its_own(sink: Sink, to: Run) -> None:
    to(WIDE, OTEL_ATTRIBUTE_COUNT_LIMIT="12", OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT="10")
    cut = dict.fromkeys(("span", "record", "event", "link"), 12) | {"span length": 10, "record length": 10}
    assert wide(sink) == USUAL | cut | {"lost": USUAL["record"] - 12}


def test_without_a_limit_nothing_is_cut(sink: Sink, to: Run) -> None:
    to(WIDE)
    assert wide(sink) == USUAL | {"lost": 0}


@pytest.mark.parametrize("launched", [True, False])
def test_a_limit_that_is_no_number_is_said_and_ignored_and_never_ends_the_program(
    *, launched: bool, sink: Sink, program: Program
) -> None:
    done = program(
        APP,
        launcher=() if launched else None,
        OTEL_EXPORTER_OTLP_ENDPOINT=sink.url,
        OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT="many",
    )
    who = "stagelight run" if launched else "stagelight"
    said = "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT='many' is no whole number from 0 up; it is ignored"
    assert (done.stdout, done.stderr) == ("done\n", f"{who}: {said}\n")
    assert "w" in sink.names()


@pytest.mark.parametrize(
    ("variable", "value"),
    [("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "3"), ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "8")],
)
def test_a_limit_that_leaves_no_room_for_what_a_run_is_known_by_is_said(
    variable: str, value: str, to: Run
) -> None:
    done = to(**{variable: value})
    assert f"{variable}={value} is too little" in done.stderr


# --- metrics, the agent's own voice, the file ----------------------------------------------------------------------


@about("OTEL_METRIC_EXPORT_INTERVAL")
def test_metrics_are_sent_as_often_as_asked(sink: Sink, to: Run) -> None:
    code = """
import threading
often, calls = threading.Event(), []
def look(_):
    calls.append(1)
    if len(calls) == 3:
        often.set()
    return [metrics.Observation(1)]
metrics.get_meter("m").create_observable_gauge("g", [look])
print(often.wait(10))
"""
    assert to(code, OTEL_METRIC_EXPORT_INTERVAL="50").stdout == "True\n"
    assert sum(request.path == "/v1/metrics" for request in sink.requests) >= 2


@about("OTEL_LOG_LEVEL")
def test_what_the_agent_says_of_itself_begins_at_the_level_asked_for(to: Run, sink: Sink) -> None:
    assert to().stderr == ""
    assert f"records delivered to {sink.url}/v1/traces" in to(OTEL_LOG_LEVEL="debug").stderr
    nobody = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_METRICS_EXPORTER": "none"}
    assert "were not delivered" in to(**nobody).stderr
    assert to(**nobody, OTEL_LOG_LEVEL="none").stderr == ""
    assert "OTEL_LOG_LEVEL='loud' is no level; there are none, off" in to(OTEL_LOG_LEVEL="loud").stderr


def test_the_program_s_own_logging_is_not_doubled(to: Run) -> None:
    done = to("import logging\nlogging.basicConfig(level=10)\n" + APP, OTEL_LOG_LEVEL="debug")
    assert done.stderr.count("/v1/traces") == 1


@about("OTEL_CONFIG_FILE")
def test_the_file_of_opentelemetry_s_own_sets_the_sdk_up(sink: Sink, run: Run, tmp_path: Path) -> None:
    exporter = {"otlp_http": {"endpoint": f"{sink.url}/theirs"}}
    service = {"attributes": [{"name": "service.name", "value": "from-the-file"}]}
    file = {
        "file_format": "1.0",
        "resource": service,
        "tracer_provider": {"processors": [{"simple": {"exporter": exporter}}]},
    }
    (tmp_path / "otel.yaml").write_text(json.dumps(file))
    done = run(OTEL_EXPORTER_OTLP_ENDPOINT=sink.url, OTEL_CONFIG_FILE="otel.yaml")
    assert (done.stdout, done.stderr) == ("done\n", "")
    assert paths(sink) == {"/v1/traces", "/v1/logs", "/theirs"}
    assert all(b"from-the-file" in request.body for request in sink.requests)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"file_format": "1.0"}', "OTEL_CONFIG_FILE=otel.yaml sets up no traces"),
        ('{"file_format": "1.0", "disabled": true}', "OTEL_CONFIG_FILE=otel.yaml sets up no traces"),
        ("{", "stagelight records nothing: "),
        (None, "stagelight records nothing: Configuration file not found: otel.yaml"),
    ],
)
def test_a_file_that_sets_no_traces_up_is_said_and_nothing_is_recorded(
    text: str | None, said: str, sink: Sink, run: Run, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "otel.yaml").write_text(text)
    done = run(OTEL_EXPORTER_OTLP_ENDPOINT=sink.url, OTEL_CONFIG_FILE="otel.yaml")
    assert done.stdout == "done\n"
    assert said in done.stderr
    assert sink.requests == []


def test_the_package_that_reads_the_file_is_named_where_it_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.configuration", None)
    with pytest.raises(
        MissingPackageError, match=r"OTEL_CONFIG_FILE needs .*: pip install opentelemetry-configuration"
    ):
        runtime._by_file("otel.yaml")  # noqa: SLF001 - the package cannot be taken out of a process of its own  # pyright: ignore[reportPrivateUsage]


# --- the distro's own ----------------------------------------------------------------------------------------------

THEIRS = """
from opentelemetry.instrumentation.distro import BaseDistro
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.sdk._configuration import _OTelSDKConfigurator

class Distro(BaseDistro):
    def _configure(self, **kwargs):
        print("their distro")

class Configurator(_OTelSDKConfigurator):
    def _configure(self, **kwargs):
        print("their configurator")

class Instrumentor(BaseInstrumentor):
    def instrumentation_dependencies(self):
        return []
    def _instrument(self, **kwargs):
        print("their instrumentor")
    def _uninstrument(self, **kwargs):
        pass
"""
GROUPS = """
[opentelemetry_distro]
theirs = theirs:Distro
[opentelemetry_configurator]
theirs = theirs:Configurator
[opentelemetry_instrumentor]
theirs = theirs:Instrumentor
"""


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, ["their instrumentor"]),
        ({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "theirs"}, []),
        ({"OTEL_PYTHON_DISTRO": "theirs"}, ["their distro", "their instrumentor"]),
        ({"OTEL_PYTHON_CONFIGURATOR": "theirs"}, ["their configurator", "their instrumentor"]),
    ],
)
@about("OTEL_PYTHON_DISTRO", "OTEL_PYTHON_CONFIGURATOR", "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS")
def test_another_distro_configurator_and_no_instrumentation_can_be_asked_for(
    variables: dict[str, str], said: list[str], sink: Sink, environ: dict[str, str], run: Run, tmp_path: Path
) -> None:
    info = tmp_path / "installed" / "theirs-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.4\nName: theirs\nVersion: 1\n")
    (info / "entry_points.txt").write_text(GROUPS)
    (info.parent / "theirs.py").write_text(THEIRS)
    assert str(info.parent) in environ["PYTHONPATH"]
    done = run(OTEL_EXPORTER_OTLP_ENDPOINT=sink.url, **variables)
    assert sorted(done.stdout.splitlines()) == sorted([*said, "done"])
    assert "w" in sink.names()


# --- the table -----------------------------------------------------------------------------------------------------


def told() -> dict[str, str]:
    """Return the variables of the README's table, with what is said of each."""
    section = README.read_text().partition("## The variables of OpenTelemetry")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| `OTEL_")]
    return {name: rest for names, rest in rows for name in re.findall(r"`(OTEL_\w+)`", names)}


def test_the_readme_tells_of_every_variable_of_the_sdk_and_of_no_other() -> None:
    theirs = {name for module in (of_api, of_sdk) for name in vars(module) if name.startswith("OTEL_")}
    others = {name for name in theirs if re.match("OTEL_(PYTHON|EXPORTER_(ZIPKIN|PROMETHEUS))_", name)}
    general = {
        re.sub("^(OTEL_EXPORTER_OTLP)_(TRACES|LOGS|METRICS)_", r"\1_", name) for name in theirs - others
    }
    expected = (general & theirs) | {
        name for name in theirs - others if name.endswith(("_PREFERENCE", "_AGGREGATION"))
    }
    of_python = {name for name in TESTED if name.startswith("OTEL_PYTHON_")}
    assert set(told()) == expected | of_python


def test_what_the_readme_does_not_leave_to_the_sdk_is_tested_here() -> None:
    assert {name for name, rest in told().items() if "as in the SDK" not in rest} <= TESTED
