"""The program's own OpenTelemetry: what it sets up is in force, and the agent goes over to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry.instrumentation import auto_instrumentation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

    from tests.agent.conftest import Program, Sink

    Run = Callable[..., CompletedProcess[str]]

OWN = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

memory = InMemorySpanExporter()
early = trace.get_tracer("early")

@early.start_as_current_span("decorated")
def decorated():
    pass

def set_up():
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    trace.set_tracer_provider(provider)
    assert trace.get_tracer_provider() is provider
    return provider

def seen():
    return [span.name for span in memory.get_finished_spans()]
"""
AFTER = """
import stagelight
set_up()
with stagelight.workflow("etl"), stagelight.step("load"):
    early.start_span("early").end()
    decorated()
    with trace.get_tracer("late").start_as_current_span("late"):
        pass
print(seen())
"""
SEEN = "['early', 'decorated', 'late', 'load', 'etl']\n"
INSTRUMENTED = {
    "OTEL_PYTHON_DISTRO": "stagelight",
    "OTEL_PYTHON_CONFIGURATOR": "stagelight",
    "OTEL_TRACES_EXPORTER": "otlp",
}
FILE = """
file_format: "1.0"
tracer_provider: {processors: [{simple: {exporter: {otlp_http: {endpoint: URL}}}}]}
"""


@pytest.fixture(params=["decorators", "run"])
def run(request: pytest.FixtureRequest, program: Program, sink: Sink) -> Run:
    """Return what runs a program that sends to the sink, in each way in which the agent comes first."""
    launcher = () if request.param == "run" else None

    def run(code: str, **variables: str) -> CompletedProcess[str]:
        return program(code, launcher=launcher, check=True, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url, **variables)

    return run


@pytest.mark.parametrize("configured", ["by variables", "by a file"])
def test_the_program_s_provider_set_after_a_workflow_is_in_force(
    configured: str, run: Run, sink: Sink, tmp_path: Path
) -> None:
    before = "import stagelight\nwith stagelight.workflow('first'):\n    early.start_span('before').end()\n"
    file = tmp_path / "otel.yaml"
    file.write_text(FILE.replace("URL", f"{sink.url}/elsewhere"))
    variables = {"OTEL_CONFIG_FILE": str(file)} if configured == "by a file" else {}
    done = run(OWN + before + AFTER, **variables)
    assert (done.stdout, done.stderr) == (SEEN, "")
    assert sorted(sink.names()) == sorted(["first", "before", "etl", "load", "early", "decorated", "late"])
    assert len({span.trace_id for span in sink.spans}) == 2


def test_what_is_open_when_the_provider_is_set_ends_as_it_would(run: Run, sink: Sink) -> None:
    code = """
import stagelight
with stagelight.workflow("etl"), stagelight.step("around"):
    theirs = early.start_span("open")
    provider = set_up()
    with stagelight.step("after"):
        pass
    theirs.end()
    provider.shutdown()
print(seen())
"""
    done = run(OWN + code)
    assert (done.stdout, done.stderr) == ("['after']\n", "")
    assert sorted(sink.names()) == ["after", "around", "etl", "open"]
    assert len({span.trace_id for span in sink.spans}) == 1


def test_spans_of_a_program_without_a_provider_go_where_the_agent_s_go(run: Run, sink: Sink) -> None:
    code = """
import stagelight
from opentelemetry import trace
tracer = trace.get_tracer("early")
with stagelight.workflow("etl"):
    tracer.start_span("early").end()
    trace.get_tracer("late").start_span("late").end()
assert trace.get_tracer_provider().force_flush()
"""
    assert run(code).stderr == ""
    assert sorted(sink.names()) == ["early", "etl", "late"]


def test_a_second_provider_is_refused_as_ever(program: Program, sink: Sink) -> None:
    code = OWN + AFTER.replace("set_up()", "set_up(); trace.set_tracer_provider(TracerProvider())")
    done = program(code, launcher=("--endpoint", sink.url))
    assert (done.stdout, done.stderr) == (SEEN, "Overriding of current TracerProvider is not allowed\n")
    assert "etl" in sink.names()


def test_a_provider_that_takes_no_processor_leaves_runs_and_steps_where_they_are(
    program: Program, sink: Sink
) -> None:
    code = """
import stagelight
from opentelemetry import trace
with stagelight.workflow("first"):
    pass
trace.set_tracer_provider(trace.NoOpTracerProvider())
with stagelight.workflow("etl"), stagelight.step("load"):
    trace.get_tracer("theirs").start_span("nothing").end()
"""
    assert program(code, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url).stderr == ""
    assert sorted(sink.names()) == ["etl", "first", "load"]


def test_the_program_s_own_run_outlives_the_shutdown_of_the_program_s_provider(
    program: Program, sink: Sink
) -> None:
    code = "import stagelight\nprovider = set_up()\nwith stagelight.step('load'):\n    pass\nprovider.shutdown()\n"
    done = program(OWN + code, launcher=("--endpoint", sink.url))
    assert done.stderr == ""
    assert sorted(sink.names()) == ["app", "load"]


def test_opentelemetry_instrument_leaves_the_slot_to_the_program(
    program: Program, environ: dict[str, str], sink: Sink
) -> None:
    first = auto_instrumentation.__path__[0]
    variables = INSTRUMENTED | {"OTEL_EXPORTER_OTLP_ENDPOINT": sink.url, "OTEL_SERVICE_NAME": "x"}
    variables["PYTHONPATH"] = f"{first}:{environ['PYTHONPATH']}"
    done = program(OWN + AFTER, launcher=None, check=True, **variables)
    assert (done.stdout, done.stderr) == (SEEN, "")
    assert sorted(sink.names()) == sorted(["etl", "load", "early", "decorated", "late"])


OTHER_SIGNALS = """
import gc
from opentelemetry import _logs, metrics
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

meter = metrics.get_meter("m")
early = meter.create_counter("early")
early.add(1)
meter.create_observable_gauge("observed", [lambda _options: [metrics.Observation(7)]])
gc.collect()
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
early.add(2)
meter.create_counter("late").add(3)
metrics.get_meter("other").create_counter("other").add(4)
found = [m for s in reader.get_metrics_data().resource_metrics[0].scope_metrics for m in s.metrics]
print(sorted((m.name, m.data.data_points[0].value) for m in found))

logger = _logs.get_logger("early")
logger.emit(body="before")
memory = InMemoryLogRecordExporter()
provider = LoggerProvider()
provider.add_log_record_processor(SimpleLogRecordProcessor(memory))
_logs.set_logger_provider(provider)
logger.emit(body="early")
_logs.get_logger("late").emit(body="late")
print([record.log_record.body for record in memory.get_finished_logs()])
"""


@pytest.mark.parametrize("exporter", ["none", "otlp"])
def test_metrics_and_logs_go_to_the_program_s_own_providers_from_all_that_was_handed_out(
    exporter: str, program: Program, sink: Sink
) -> None:
    variables = {"OTEL_METRICS_EXPORTER": exporter, "OTEL_LOGS_EXPORTER": exporter}
    done = program(OTHER_SIGNALS, launcher=("--endpoint", sink.url), check=True, **variables)
    assert done.stdout.splitlines() == [
        "[('early', 2), ('late', 3), ('observed', 7), ('other', 4)]",
        "['early', 'late']",
    ]
    assert done.stderr == ""
