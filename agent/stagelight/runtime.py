"""The runtime: the tracer and the processor that recording uses, set up once per process."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import threading
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.sdk._logs import LogRecordLimits
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from stagelight import settings
from stagelight.backlog import Stats
from stagelight.conventions import SCHEMA_URL, SCOPE_NAME
from stagelight.errors import MissingPackageError, NoTracesError, StagelightError, UnusableProviderError
from stagelight.exporter import Channels, channels
from stagelight.guard import LOGGER, faults, guarded, listen, report
from stagelight.instrumentation import threads
from stagelight.processor import Processor
from stagelight.records import QuickResource
from stagelight.standin import slots
from stagelight.standin.tracers import Guest, StandInTracers

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from stagelight.scope import Scope


class Runtime:
    """What recording needs; one is active at a time."""

    __slots__ = ("fallback", "has_workflows", "processor", "shown", "tracer")

    def __init__(self, tracer: trace.Tracer, processor: Processor) -> None:
        self.tracer = tracer
        self.processor = processor
        self.fallback: Callable[[], Scope | None] | None = None
        """Asked for a parent when a step is opened outside any run; `stagelight run` sets it."""
        self.shown: Callable[[], Scope | None] | None = None
        """Returns that parent if it is open already; asking opens nothing."""
        self.has_workflows = False
        """Whether a workflow was run here."""

    def move(self, provider: trace.TracerProvider) -> None:
        """Go over to the provider that the program has set, if anything can be added to it; else stay."""
        if isinstance(provider, TracerProvider):
            provider.add_span_processor(Guest(self.processor))
            self.tracer = _tracer(provider)


active: Runtime | None = None
"""The runtime in use; None before the first use, and where recording is off."""

_NOTHING: Final = Stats(produced=0, delivered=0, dropped=0, queued=0, dropped_by_reason={}, faults=0)
CONFIG_FILE: Final = "OTEL_CONFIG_FILE"
"""OpenTelemetry's declarative configuration; what it says replaces the variables that the SDK would read."""
_lock = threading.RLock()
_is_settled = False


def _after_fork() -> None:
    """Give a forked child a lock that nobody holds."""
    global _lock  # noqa: PLW0603 - a lock cannot be renewed in place
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def use() -> Runtime | None:
    """Return the active runtime, set up on first use; None where recording is off."""
    with _lock:
        if active is None and not _is_settled:
            _set_up(None, None, None, None)
    return active


@guarded("configure", None)
def configure(
    *,
    endpoint: str | None = None,
    service_name: str | None = None,
    headers: Mapping[str, str] | None = None,
    tracer_provider: trace.TracerProvider | None = None,
) -> None:
    """Set the agent up now, rather than on first use.

    Args:
        endpoint: Base URL of the collector; wins over `OTEL_EXPORTER_OTLP_ENDPOINT` and `settings.endpoint()`; default
            http://127.0.0.1:4318.
        service_name: Wins over `OTEL_SERVICE_NAME`; used only if the agent creates the tracer provider.
        headers: Sent with every request, for example an ingest token.
        tracer_provider: An SDK provider to record through; the global one by default.

    Whatever is wrong is said in the log; the program goes on without recording. A second call replaces the first.
    """
    shutdown()
    _set_up(endpoint, service_name, headers, tracer_provider)


def _set_up(
    endpoint: str | None,
    service_name: str | None,
    headers: Mapping[str, str] | None,
    tracer_provider: trace.TracerProvider | None,
) -> None:
    global active, _is_settled  # noqa: PLW0603 - one runtime per process
    with _lock:
        if active is not None:
            return
        _is_settled = True
        if (level := settings.diagnostics()) is not None:
            listen(level)
        if settings.is_disabled():
            return
        try:
            settings.warn_of_cramped()
            active = _runtime(
                tracer_provider or _provider(service_name),
                builder(endpoint, headers),
                shows_sources=shows_sources(endpoint),
            )
        except StagelightError as error:  # nobody's fault, and said in one line
            LOGGER.error("stagelight records nothing: %s", error)
            return
        except Exception as error:  # the program goes on without recording
            report("set-up", error)
            LOGGER.error("stagelight records nothing: %s", error)
            return
    threads.instrument()


def shows_sources(endpoint: str | None) -> bool:
    """Say whether the code of workflows is sent: as `settings` say, else only to what is surely a Stagelight collector.

    That is one that was named in Stagelight's own ways, or is on this machine: `OTEL_*` may name anybody's service.
    """
    chosen = settings.sends_source()
    if chosen is not None:
        return chosen
    of_otel = _otel_endpoint("LOGS_") or _otel_endpoint()
    return endpoint is not None or not of_otel or settings.is_loopback(of_otel)


def _runtime(
    provider: trace.TracerProvider, build: Callable[[], Channels], *, shows_sources: bool
) -> Runtime:
    if not isinstance(provider, TracerProvider):
        raise UnusableProviderError(type(provider).__name__)
    first: list[Channels] = [
        build()
    ]  # built here, so that what is missing is said at once, and nothing is imported later
    processor = Processor(
        lambda: first.pop() if first and os.getpid() == home else build(),
        settings.limits(),
        InstrumentationScope(SCOPE_NAME, _version(), SCHEMA_URL),
        LogRecordLimits(),
        shows_sources=shows_sources,
    )
    home = os.getpid()
    processor.sends_logs = first[0].logs is not None
    processor.sends_spans = first[0].spans is not None
    provider.add_span_processor(processor)
    atexit.register(processor.shutdown)
    made = Runtime(_tracer(provider), processor)
    if isinstance(provider, StandInTracers):
        provider.moving = made.move
    return made


def _tracer(provider: TracerProvider) -> trace.Tracer:
    return provider.get_tracer(SCOPE_NAME, _version(), schema_url=SCHEMA_URL)


def builder(endpoint: str | None, headers: Mapping[str, str] | None) -> Callable[[], Channels]:
    """Return what builds the exporters. Where they send to is settled here, so that a forked child sends there too."""
    of_otel = {signal for signal in ("TRACES", "LOGS") if _otel_endpoint(f"{signal}_")}
    if endpoint is None and not _otel_endpoint() and len(of_otel) < 2:
        found = settings.endpoint()
        if of_otel and found is not None:
            return lambda: _mixed(found, headers, spans_by_otel="TRACES" in of_otel)
        endpoint = found
    return lambda: channels(endpoint, headers)


def _otel_endpoint(signal: str = "") -> str:
    return os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT", "").strip()


def _mixed(endpoint: str, headers: Mapping[str, str] | None, *, spans_by_otel: bool) -> Channels:
    """Build one signal's exporter as `OTEL_*` says, and the other's for the endpoint."""
    by_otel, ours = channels(None, headers), channels(endpoint, headers)
    spans, logs = (by_otel, ours) if spans_by_otel else (ours, by_otel)
    Channels(logs.spans, spans.logs).close()
    return Channels(spans.spans, logs.logs)


def _provider(service_name: str | None) -> trace.TracerProvider:
    """Return the global provider, or one that honours `OTEL_*` and stands in until the program sets its own."""
    found = trace.get_tracer_provider()
    if isinstance(found, trace.ProxyTracerProvider) and (path := os.environ.get(CONFIG_FILE, "").strip()):
        found = _by_file(path)
    if not isinstance(found, trace.ProxyTracerProvider):
        return found
    return StandInTracers.hold(TracerProvider(resource=resource(service_name)))


def _by_file(path: str) -> trace.TracerProvider:
    """Set OpenTelemetry up as a file of its own says, and return the tracer provider that it sets."""
    try:
        # Not in the Python of everybody who checks types: it is asked for by few.
        file: Any = importlib.import_module("opentelemetry.configuration")
    except ImportError as error:
        raise MissingPackageError(CONFIG_FILE, "opentelemetry-configuration") from error
    from stagelight.standin.loggers import StandInLoggers  # decorators alone need none of the metrics SDK
    from stagelight.standin.meters import StandInMeters

    with slots.adopting(StandInTracers, StandInLoggers, StandInMeters):
        file.configure_sdk(file.load_config_file(path))
    found = trace.get_tracer_provider()
    if isinstance(found, trace.ProxyTracerProvider):
        raise NoTracesError(path)
    return found


def resource(service_name: str | None = None) -> Resource:
    """Return the resource that the environment describes; the service is named after the script if nothing names it."""
    attributes: dict[str, Any] = {}
    if service_name:
        attributes[SERVICE_NAME] = service_name
    elif not os.environ.get("OTEL_SERVICE_NAME") and "service.name=" not in os.environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    ):
        attributes[SERVICE_NAME] = settings.script_name()
    return QuickResource(Resource.create(attributes))


@guarded("flush", False)
def flush(timeout: float = 5.0) -> bool:
    """Send everything recorded so far; say whether that was done within `timeout` seconds."""
    return active is None or active.processor.force_flush(int(timeout * 1000))


@guarded("shutdown", None)
def shutdown() -> None:
    """Send what is left (at most five seconds) and stop recording until `configure` is called."""
    global active
    with _lock:
        closing, active = active, None
    if closing is not None:
        closing.processor.shutdown()
        atexit.unregister(closing.processor.shutdown)
        threads.uninstrument()


@guarded("stats", _NOTHING)
def stats() -> Stats:
    """Return what became of everything recorded: `produced == delivered + dropped + queued`."""
    if active is None:
        return Stats(produced=0, delivered=0, dropped=0, queued=0, dropped_by_reason={}, faults=faults())
    return active.processor.stats()


@contextlib.contextmanager
def replaced(runtime: Runtime | None, *, is_settled: bool = True) -> Generator[None]:
    """Put another runtime in place inside the block, or none, settled or yet to be set up; for tests."""
    global active, _is_settled
    with _lock:
        before, active, _is_settled = (active, _is_settled), runtime, is_settled
    threads.instrument()
    try:
        yield
    finally:
        with _lock:
            active, _is_settled = before
        if active is None:
            threads.uninstrument()


def _version() -> str:
    try:
        return version("stagelight")
    except PackageNotFoundError:
        return "0"
