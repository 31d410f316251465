"""What a step costs, beside a bare OpenTelemetry span and a logfire span.

Prints one JSON line. Each figure is the median over interleaved rounds; every contender runs in a process of its own
and sends to the same local sink (logfire sends nothing). `value` is the time that a step takes of the app's thread in
a run, as a multiple of what a span takes with OpenTelemetry's own batch processor and exporter.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve()
TARGET = 1.5
CONTENDERS = ("otel_batch", "stagelight", "stagelight_decorated", "logfire")
SINK = """
import http.server
class Sink(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
print(server.server_port, flush=True)
server.serve_forever()
"""


def _otel_batch() -> Callable[[int], None]:
    # A contender loads only itself.
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    tracer = trace.get_tracer("bench")

    def run(count: int) -> None:
        with tracer.start_as_current_span("run"):
            for _ in range(count):
                with tracer.start_as_current_span("x"):
                    pass

    return run


def _stagelight() -> Callable[[int], None]:
    import stagelight

    def run(count: int) -> None:
        with stagelight.workflow("run"):
            for _ in range(count):
                with stagelight.step("x"):
                    pass

    return run


def _stagelight_decorated() -> Callable[[int], None]:
    import stagelight

    @stagelight.step
    def x() -> None:
        pass

    def run(count: int) -> None:
        with stagelight.workflow("run"):
            for _ in range(count):
                x()

    return run


def _logfire() -> Callable[[int], None]:
    import logfire

    logfire.configure(send_to_logfire=False, console=False, inspect_arguments=False)

    def run(count: int) -> None:
        with logfire.span("run"):
            for _ in range(count):
                with logfire.span("x"):
                    pass

    return run


MAKERS: dict[str, Callable[[], Callable[[int], None]]] = {
    "otel_batch": _otel_batch,
    "stagelight": _stagelight,
    "stagelight_decorated": _stagelight_decorated,
    "logfire": _logfire,
}


def contend(name: str, rate: float) -> None:
    """Answer each number on stdin with the cost of that many steps: app thread and whole process, microseconds each."""
    run = MAKERS[name]()
    run(200)
    for line in sys.stdin:
        count = int(line)
        process, thread = time.process_time_ns(), 0
        for _ in range(count // 100):
            started, mark = time.perf_counter(), time.thread_time_ns()
            run(100)
            thread += time.thread_time_ns() - mark
            time.sleep(max(0.0, 100 / rate - (time.perf_counter() - started)))
        process = time.process_time_ns() - process
        print(json.dumps([thread / count / 1000, process / count / 1000]), flush=True)


def measure(rounds: int, count: int, rate: float) -> dict[str, tuple[float, float]]:
    """Return the medians of app-thread and process time per step, by contender."""
    with subprocess.Popen([sys.executable, "-c", SINK], stdout=subprocess.PIPE, text=True) as sink:
        assert sink.stdout is not None
        port = sink.stdout.readline().strip()
        environ = os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
        racers = {name: _racer(name, rate, environ) for name in CONTENDERS}
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in CONTENDERS}
        for _ in range(rounds):
            for name, racer in racers.items():
                assert racer.stdin is not None
                assert racer.stdout is not None
                racer.stdin.write(f"{count}\n")
                racer.stdin.flush()
                times[name].append(json.loads(racer.stdout.readline()))
        for racer in racers.values():
            racer.communicate(timeout=30)
        sink.terminate()
    return {
        name: (statistics.median(t for t, _ in rows), statistics.median(p for _, p in rows))
        for name, rows in times.items()
    }


def _racer(name: str, rate: float, environ: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, str(HERE), "--contender", name, "--rate", str(rate)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ)


def main() -> None:
    """Race, and print the result as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=5000, help="steps per second")
    parser.add_argument("--contender", choices=CONTENDERS)
    options = parser.parse_args()
    if options.contender:
        contend(options.contender, options.rate)
        return
    times = measure(options.rounds, options.count, options.rate)
    base_thread, base_process = times["otel_batch"]
    ours_thread, ours_process = times["stagelight"]
    ratio = ours_thread / base_thread
    result = {
        "name": "agent_overhead",
        "value": round(ratio, 3),
        "unit": "ratio",
        "us_per_step": round(ours_thread, 2),
        "us_per_step_decorated": round(times["stagelight_decorated"][0], 2),
        "peer": {"otel_batch": round(base_thread, 2), "logfire": round(times["logfire"][0], 2)},
        "ratio": round(ratio, 3),
        "target": TARGET,
        "process_us_per_step": {name: round(process, 2) for name, (_, process) in times.items()},
        "process_ratio": round(ours_process / base_process, 3),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
