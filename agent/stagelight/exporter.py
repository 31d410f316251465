"""Exporters: the official ones, with an answer for every batch.

The stock HTTP exporters retry on their own for ten seconds, take a redirect for success, forget the reason of a
refusal and ignore a partial success. Here each call is one request, and its answer is told to whoever called.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from functools import partial
from importlib.metadata import entry_points
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from stagelight import encoder
from stagelight.errors import MissingPackageError, UnusableEndpointError
from stagelight.guard import say_once
from stagelight.settings import DEFAULT_ENDPOINT, is_loopback
from stagelight.transport import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.sdk._logs import ReadableLogRecord
    from opentelemetry.sdk.trace import ReadableSpan

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

_RETRYABLE: Final = frozenset({429, 502, 503, 504})
_MOST_OPAQUE_TRIES: Final = 5
_LONGEST_WAIT: Final = 60.0


class Verdict(Enum):
    """What became of a batch."""

    DELIVERED = auto()
    RETRY = auto()
    REJECTED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The answer to one batch."""

    verdict: Verdict
    reason: str = ""
    rejected: int = 0
    """Of a delivered batch: how many items the collector refused; they must not be sent again."""
    retry_after: float | None = None
    """Seconds that the collector asked to wait."""
    splits: bool = False
    """Of a refused batch: whether one of its items may be to blame, so that halves are worth trying."""


DELIVERED: Final = Outcome(verdict=Verdict.DELIVERED)


class Channel(Protocol[T_contra]):
    """Somewhere batches of one signal go."""

    def send(self, batch: Sequence[T_contra], timeout: float) -> Outcome:
        """Send a batch once; `timeout` is seconds."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(frozen=True, slots=True)
class Channels:
    """Where finished spans and log records go; None where the environment asks for nothing."""

    spans: Channel[ReadableSpan] | None
    logs: Channel[ReadableLogRecord] | None

    def close(self) -> None:
        """Let go of connections."""
        for channel in (self.spans, self.logs):
            if channel is not None:
                channel.close()


class _Answer:
    """What the official HTTP client is told, so that it neither retries nor takes a redirect for success."""

    __slots__ = ("_headers", "error", "reason", "status_code")

    def __init__(self, status_code: int | None, reason: str) -> None:
        self.status_code = status_code
        self.reason = reason
        self.error: Exception | None = None

    def headers(self) -> Mapping[str, str]:
        return {}


class SingleRequest:
    """A transport around the official one: one request for one export, whose outcome is kept."""

    def __init__(self, transport: Any, rejected: Callable[[bytes], int]) -> None:
        self._transport = transport
        self._rejected = rejected
        self.outcome: Outcome | None = None
        self.timeout: float = 10.0

    def request(self, method: str, url: str, *, timeout: float | None = None, **rest: Any) -> Any:
        """Send one request; the client is told 200 or 400, and nothing that it would act on."""
        deadline = min(self.timeout, timeout or self.timeout)
        result = self._transport.request(method, url, timeout=deadline, **rest)
        self.outcome = self._judge(result)
        delivered = self.outcome.verdict is Verdict.DELIVERED
        return _Answer(200 if delivered else 400, self.outcome.reason)

    def _judge(self, result: Any) -> Outcome:
        status = result.status_code
        if status is None:
            return Outcome(verdict=Verdict.RETRY, reason=_first_line(result.error))
        if 200 <= status < 300:
            return Outcome(verdict=Verdict.DELIVERED, rejected=self._refused(result))
        reason = f"HTTP {status} {result.reason or ''}".strip()
        if status in _RETRYABLE:
            return Outcome(verdict=Verdict.RETRY, reason=reason, retry_after=retry_after(result.headers()))
        return Outcome(verdict=Verdict.REJECTED, reason=reason, splits=status == 413)

    def _refused(self, result: Any) -> int:
        try:
            return self._rejected(result.content())
        except Exception:  # a 200 with a body nobody understands is a 200
            return 0

    def is_connection_error(self, exception: Exception | None) -> bool:
        """Say no, so that the client does not try a second time."""
        del exception
        return False

    def close(self) -> None:
        """Close the official transport."""
        self._transport.close()


def retry_after(headers: Mapping[str, str], now: Callable[[], float] = time) -> float | None:
    """Return the seconds that a `Retry-After` header asks for (a number or a date), at most a minute."""
    text = (headers.get("retry-after") or "").strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - now()
        except (TypeError, ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), _LONGEST_WAIT) if seconds == seconds else None  # noqa: PLR0124 - not a NaN


def _first_line(error: object) -> str:
    """Return the innermost reason in one line: "ConnectionRefusedError: …", not what three libraries make of it."""
    for _ in range(8):
        inner = getattr(error, "reason", None) or next(iter(getattr(error, "args", ())), None)
        inner = inner if isinstance(inner, BaseException) else getattr(error, "__context__", None)
        if not isinstance(inner, BaseException):
            break
        error = inner
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__


def _insist(transport: Any) -> None:
    """Have a certificate that `OTEL_*` names win over `REQUESTS_CA_BUNDLE`, which `requests` prefers to its session's own."""
    session = getattr(transport, "_session", None)
    if isinstance(verify := getattr(session, "verify", None), str):
        session.request = partial(session.request, verify=verify)  # type: ignore[union-attr]  # it has what was just read


class HttpChannel(Generic[T]):
    """An official OTLP/HTTP exporter with an encoder and, where it may, a transport of ours; it tells what happened."""

    def __init__(
        self, exporter: Any, encode: Callable[[Sequence[T]], bytes], rejected: Callable[[bytes], int]
    ) -> None:
        client = exporter._client  # noqa: SLF001 - the only way to the answer; the version is pinned
        self._exporter = exporter
        self._client = client
        self._encode = encode
        self.endpoint: str = client._endpoint  # noqa: SLF001 - as above
        """The full URL that batches go to."""
        self.headers: dict[str, str] = dict(client._headers)  # noqa: SLF001 - as above
        """What is sent with each request."""
        transport = client._transport  # noqa: SLF001 - as above
        if quicker := plain(self.endpoint):
            transport.close()
            transport = quicker
        else:
            _insist(transport)
        self._request = client._transport = SingleRequest(transport, rejected)  # noqa: SLF001 - as above

    def send(self, batch: Sequence[T], timeout: float) -> Outcome:
        """Send a batch in one request."""
        self._request.outcome = None
        self._request.timeout = timeout
        with self._exporter._metrics.export_operation(len(batch)) as result:  # noqa: SLF001 - as above
            self._post(batch, result)
        outcome = self._request.outcome
        if outcome is None:
            reason = "the batch cannot be encoded or is too large"
            return Outcome(verdict=Verdict.REJECTED, reason=reason, splits=True)
        return outcome

    def _post(self, batch: Sequence[T], result: Any) -> None:
        """Do what the official `export` does, its metrics included, but for the encoder."""
        try:
            body = self._encode(batch)
        except Exception as error:  # what cannot be encoded is told from what cannot be sent
            result.error = error
            return
        if 0 < self._exporter._max_request_size < len(body):  # noqa: SLF001 - as above
            result.error = OverflowError(f"a request of {len(body)} bytes")
            return
        answer = self._client.export(body)
        if not answer.success:
            result.error = answer.error
            result.error_attrs = answer.status_code and {"http.response.status_code": answer.status_code}

    def close(self) -> None:
        """Close the connections."""
        self._exporter.shutdown()


class OpaqueChannel(Generic[T]):
    """Any other exporter: all it tells is success or failure, so a failure is tried again a few times."""

    def __init__(self, exporter: Any) -> None:
        self._exporter = exporter
        self._tries = 0

    def send(self, batch: Sequence[T], timeout: float) -> Outcome:
        """Hand over a batch; the exporter keeps its own time."""
        del timeout
        started = monotonic()
        if getattr(self._exporter.export(batch), "name", "SUCCESS") == "SUCCESS":
            self._tries = 0
            return DELIVERED
        self._tries += 1
        reason = f"{type(self._exporter).__name__} failed after {monotonic() - started:.1f} s"
        if self._tries < _MOST_OPAQUE_TRIES:
            return Outcome(verdict=Verdict.RETRY, reason=reason)
        self._tries = 0
        return Outcome(verdict=Verdict.REJECTED, reason=reason)

    def close(self) -> None:
        """Shut the exporter down."""
        self._exporter.shutdown()


class Several(Generic[T]):
    """Several exporters of one signal; the first one's answer counts, the others get each batch once."""

    def __init__(self, channels: Sequence[Channel[T]]) -> None:
        self._channels = channels
        self._last: Sequence[T] | None = None

    def send(self, batch: Sequence[T], timeout: float) -> Outcome:
        """Send a batch to all; on a second try of the same batch to the first only."""
        if batch is not self._last:
            self._last = batch
            for channel in self._channels[1:]:
                channel.send(batch, timeout)
        return self._channels[0].send(batch, timeout)

    def close(self) -> None:
        """Close all."""
        for channel in self._channels:
            channel.close()


def channels(endpoint: str | None = None, headers: Mapping[str, str] | None = None) -> Channels:
    """Build the exporters that the environment asks for; `endpoint` is a base URL and wins over it.

    Raises:
        MissingPackageError: One of them is not installed.
    """
    return Channels(_channel("traces", endpoint, headers), _channel("logs", endpoint, headers))


def _channel(signal: str, endpoint: str | None, headers: Mapping[str, str] | None) -> Any:
    text = os.environ.get(f"OTEL_{signal.upper()}_EXPORTER") or "otlp"
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    built = [_named(name, signal, endpoint, headers) for name in names if name != "none"]
    if len(built) > 1:
        return Several(built)
    return built[0] if built else None


def _named(name: str, signal: str, endpoint: str | None, headers: Mapping[str, str] | None) -> Any:
    if name in {"otlp", "otlp_proto_http", "otlp_proto_grpc"}:
        protocol = _protocol(signal)
        if name == "otlp_proto_grpc" or (name == "otlp" and protocol == "grpc"):
            return _grpc(signal, endpoint, headers)
        return _http(signal, endpoint, headers)
    found = list(entry_points(group=f"opentelemetry_{signal}_exporter", name=name))
    if not found:
        raise MissingPackageError(f"OTEL_{signal.upper()}_EXPORTER={name}", f"opentelemetry-exporter-{name}")
    return OpaqueChannel[Any](found[0].load()())


def _protocol(signal: str) -> str:
    protocol = _setting(signal, "PROTOCOL") or "http/protobuf"
    if protocol not in {"http/protobuf", "grpc"}:
        say_once(
            "protocol",
            "OTEL_EXPORTER_OTLP_PROTOCOL=%s is not spoken here; http/protobuf is used (there is also grpc)",
            protocol,
        )
    return protocol


def _setting(signal: str, name: str) -> str:
    specific = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}", "").strip()
    return specific or os.environ.get(f"OTEL_EXPORTER_OTLP_{name}", "").strip()


def _import_early() -> None:
    """Import here, on the thread that sets up, what the HTTP library would import with its first request.

    A fork while the worker's thread imports a module leaves the child a lock that nobody will ever release: its own
    worker would hang at the same import.
    """
    for name in ("netrc", "encodings.idna"):
        importlib.import_module(name)


def _http(signal: str, endpoint: str | None, headers: Mapping[str, str] | None) -> Any:
    from opentelemetry.exporter.otlp.proto.http import Compression  # only when it is asked for

    _import_early()
    if endpoint is None and not _setting(signal, "ENDPOINT"):
        endpoint = DEFAULT_ENDPOINT
    target = None if endpoint is None else f"{endpoint.rstrip('/')}/v1/{signal}"
    _check(signal, endpoint or _setting(signal, "ENDPOINT"))
    compress = not _setting(signal, "COMPRESSION") and not is_loopback(target or _setting(signal, "ENDPOINT"))
    options = {
        "endpoint": target,
        "headers": dict(headers) if headers else None,
        "compression": Compression.Gzip if compress else None,
    }
    if signal == "traces":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        return HttpChannel(OTLPSpanExporter(**options), encoder.spans().encode, _rejected_spans)  # type: ignore[arg-type]  # overloads
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter

    return HttpChannel(OTLPLogExporter(**options), encoder.logs().encode, _rejected_records)  # type: ignore[arg-type]  # overloads


def _check(signal: str, endpoint: str) -> None:
    """Refuse what is no address, and say what an address over TLS makes of a wish that is about gRPC only."""
    if not endpoint.lower().startswith(("http://", "https://")):
        raise UnusableEndpointError(endpoint)
    if endpoint.lower().startswith("https:") and _setting(signal, "INSECURE").lower() == "true":
        say_once(
            "insecure",
            "OTEL_EXPORTER_OTLP_INSECURE is about gRPC only: %s is checked as ever"
            " (trust a certificate by OTEL_EXPORTER_OTLP_CERTIFICATE)",
            endpoint,
        )


def _grpc(signal: str, endpoint: str | None, headers: Mapping[str, str] | None) -> Any:
    kind = "trace_exporter:OTLPSpanExporter" if signal == "traces" else "_log_exporter:OTLPLogExporter"
    module, _, name = f"opentelemetry.exporter.otlp.proto.grpc.{kind}".partition(":")
    try:
        exporter = getattr(__import__(module, fromlist=[name]), name)
    except ImportError as error:
        raise MissingPackageError(
            "OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "opentelemetry-exporter-otlp-proto-grpc"
        ) from error
    return OpaqueChannel[Any](
        exporter(endpoint=endpoint, headers=tuple(headers.items()) if headers else None)
    )


def _rejected_spans(body: bytes) -> int:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # loaded by the exporter
        ExportTraceServiceResponse,
    )

    return ExportTraceServiceResponse.FromString(body).partial_success.rejected_spans if body else 0


def _rejected_records(body: bytes) -> int:
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (  # loaded by the exporter
        ExportLogsServiceResponse,
    )

    return ExportLogsServiceResponse.FromString(body).partial_success.rejected_log_records if body else 0
