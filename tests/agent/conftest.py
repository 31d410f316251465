"""Real parts for the agent's tests: a sink that speaks OTLP/HTTP on loopback, and programs in processes of their own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from stagelight import testing

if TYPE_CHECKING:
    import ssl

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

stagelight_recorder = testing.stagelight_recorder  # the fixture, where the package is not installed
AGENT = Path(__file__).resolve().parents[2] / "agent"
ENTRY_POINTS = """\
[opentelemetry_distro]
stagelight = stagelight.distro:StagelightDistro
[opentelemetry_configurator]
stagelight = stagelight.distro:StagelightConfigurator
"""
LAUNCH = "import sys; from stagelight.launcher import main; sys.exit(main(sys.argv[1:]))"

SCRIPT = '''\
"""The pipeline."""
from __future__ import annotations

import logging
import sys

def load_rows(count):
    logging.getLogger("app").warning("loading %s", count)
    return count

def save(rows):
    if "fail" in sys.argv:
        raise ValueError("disk full")
    return rows

class Job:
    @staticmethod
    def prepare():
        return 1

    def run(self):
        return save(load_rows(Job.prepare()))

if __name__ == "__main__":
    print(Job().run(), sys.argv[1:], __name__, __spec__, __doc__, sys.path[0] == __file__.rpartition("/")[0])
    if "exit" in sys.argv:
        raise SystemExit(3)
'''
SCRIPT_SAYS = "1 {} __main__ None The pipeline. True\n"

Answer = tuple[int, Mapping[str, str], bytes]
OK: Answer = (200, {}, b"")


@dataclass
class Request:
    """One request, and how it was answered."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    status: int


@dataclass
class Sink:
    """A collector's ear: keeps what it accepts, answers as told."""

    url: str = ""
    answer: Callable[[str], Answer] = lambda _path: OK
    requests: list[Request] = field(default_factory=list[Request])
    changed: threading.Condition = field(default_factory=threading.Condition)

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Note a request and return the answer to it."""
        answer = self.answer(path)
        with self.changed:
            self.requests.append(Request(path, headers, body, answer[0]))
            self.changed.notify_all()
        return answer

    def wait_for(self, predicate: Callable[[], bool], timeout: float = 20.0) -> None:
        """Wait until something is true of what has arrived."""
        with self.changed:
            assert self.changed.wait_for(predicate, timeout), self.summary()

    def summary(self) -> list[tuple[str, int]]:
        """Return paths and statuses, for messages."""
        return [(request.path, request.status) for request in self.requests]

    @property
    def spans(self) -> list[Span]:
        """The accepted spans, in the order of arrival."""
        parsed = [ExportTraceServiceRequest.FromString(r.body) for r in self._accepted("/v1/traces")]
        return [
            s
            for request in parsed
            for rs in request.resource_spans
            for ss in rs.scope_spans
            for s in ss.spans
        ]

    @property
    def logs(self) -> list[LogRecord]:
        """The accepted log records, in the order of arrival."""
        parsed = [ExportLogsServiceRequest.FromString(r.body) for r in self._accepted("/v1/logs")]
        return [
            s
            for request in parsed
            for rs in request.resource_logs
            for ss in rs.scope_logs
            for s in ss.log_records
        ]

    def names(self) -> list[str]:
        """Return the names of the accepted spans."""
        return [span.name for span in self.spans]

    def events(self, name: str) -> list[LogRecord]:
        """Return the accepted log records of one event name."""
        return [record for record in self.logs if record.event_name == f"workflow.{name}"]

    def _accepted(self, path: str) -> list[Request]:
        with self.changed:
            return [r for r in self.requests if r.status == 200 and r.path == path]


def attributes(item: Span | LogRecord) -> dict[str, Any]:
    """Return the attributes as plain values."""
    return {pair.key: _plain(pair.value) for pair in item.attributes}


def _plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return None if kind is None else getattr(value, kind)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    sink: Sink

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status, headers, answer = self.sink.take(self.path, dict(self.headers), body)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's own name
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that are killed are part of the tests."""


@contextlib.contextmanager
def listening(tls: ssl.SSLContext | None = None) -> Generator[Sink]:
    """Let a sink listen on loopback; over TLS if a context is given."""
    made = Sink()
    handler = type("Handler", (_Handler,), {"sink": made})
    server = _Server(("127.0.0.1", 0), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    made.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def sink() -> Generator[Sink]:
    """Return a sink that listens on loopback."""
    with listening() as made:
        yield made


def under(sink: Sink, *options: str) -> tuple[str, ...]:
    """Return the launcher's options that send to the sink."""
    return ("--endpoint", sink.url, *options)


class Program(Protocol):
    """Runs code in a process of its own."""

    def __call__(
        self,
        code: str,
        *arguments: str,
        launcher: tuple[str, ...] | None = None,
        check: bool = True,
        **env: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run the code as `app.py`; with `launcher` under `stagelight run` and those options."""
        ...


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which the agent is found as if it were installed."""
    info = tmp_path / "installed" / "stagelight-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.4\nName: stagelight\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("OTEL_", "STAGELIGHT_", "PYTEST_")) and not key.endswith("_CA_BUNDLE")
    }
    # Off, so that records can be counted: test_sources.py turns it on.
    return kept | {"STAGELIGHT_SOURCE": "off", "PYTHONPATH": os.pathsep.join([str(AGENT), str(info.parent)])}


@pytest.fixture
def program(tmp_path: Path, environ: dict[str, str]) -> Program:
    """Return what runs code in a process of its own."""

    def run(
        code: str, *arguments: str, launcher: tuple[str, ...] | None = None, check: bool = True, **env: str
    ) -> subprocess.CompletedProcess[str]:
        script = tmp_path / "app.py"
        script.write_text(code)
        command = [sys.executable, str(script), *arguments]
        if launcher is not None:
            command = [sys.executable, "-c", LAUNCH, *launcher, *command]
        done = subprocess.run(
            command, env=environ | env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    return run
