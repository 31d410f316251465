"""What looks like a secret is cut out of what is received, as the agent does before it sends: not everybody has our agent.

It is done before rows and events are made, so rooms, history and sinks never see it; the journal holds requests as they
came until history has them. Most requests hold nothing that could be one, which is known at 4 µs a span.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stagelight import conventions as c
from stagelight.redaction import REDACTED, is_secret, redact

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

_HINTS: Final = tuple(
    hint.encode()
    for hint in (
        "passw", "pwd", "passphrase", "secret", "token", "auth", "cookie", "credential", "key", "bearer", "jwt", "ssn",
        "csrf", "xsrf", "cvv", "cvc", "card", "session", "eyj", "-----begin", "akia", "asia", "ghp_", "gho_", "ghr_",
        "ghs_", "ghu_", "github_pat_", "glpat-", "whsec", "xox", "aiza", "sk-", "sk_", "pk-", "pk_", "rk-", "rk_", "basic", "digest",
    )
)  # fmt: skip
"""In small letters, of what every rule of `stagelight.redaction` finds there is one; but for names in addresses."""
_NO_SECRETS: Final = frozenset({"session.id"})
"""Keys that sound like it and are ids to search by, by OpenTelemetry's conventions."""
_DEPTH: Final = 32


def may_hold_secret(body: bytes) -> bool:
    """Whether it is worth looking at every text of a request."""
    if b"@" in body and b"://" in body:
        return True
    small = body.lower()
    return any(hint in small for hint in _HINTS)


def redact_traces(request: ExportTraceServiceRequest) -> bool:
    """Redact a request; return whether anything has changed."""
    changed = False
    for resource in request.resource_spans:
        changed |= _attributes(resource.resource.attributes)
        for scope in resource.scope_spans:
            for span in scope.spans:
                changed |= _attributes(span.attributes)
                changed |= _field(span, "name")
                changed |= _field(span.status, "message")
                for event in span.events:
                    changed |= _attributes(event.attributes)
                for link in span.links:
                    changed |= _attributes(link.attributes)
    return changed


def redact_logs(request: ExportLogsServiceRequest) -> None:
    """Redact a request."""
    for resource in request.resource_logs:
        _attributes(resource.resource.attributes)
        for scope in resource.scope_logs:
            _attributes(scope.scope.attributes)
            for record in scope.log_records:
                _attributes(record.attributes)
                _value(record.body, 0)


def redact_metrics(request: ExportMetricsServiceRequest) -> None:
    """Redact a request."""
    for resource in request.resource_metrics:
        _attributes(resource.resource.attributes)
        for scope in resource.scope_metrics:
            _attributes(scope.scope.attributes)
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                for point in getattr(metric, kind).data_points if kind else ():
                    _attributes(point.attributes)
                    for exemplar in getattr(point, "exemplars", ()):
                        _attributes(exemplar.filtered_attributes)


def _attributes(attributes: Iterable[KeyValue], depth: int = 0) -> bool:
    changed = False
    for pair in attributes:
        if pair.key.startswith(c.PREFIX):
            changed |= _value(pair.value, depth)
        elif is_secret(pair.key) and pair.key not in _NO_SECRETS:
            if pair.value.string_value != REDACTED:
                pair.value.string_value, changed = REDACTED, True
        else:
            changed |= _value(pair.value, depth)
    return changed


def _value(value: AnyValue, depth: int) -> bool:
    match value.WhichOneof("value"):
        case "string_value":
            return _field(value, "string_value")
        case "array_value" if depth < _DEPTH:
            return any([_value(item, depth + 1) for item in value.array_value.values])  # noqa: C419 - all of them
        case "kvlist_value" if depth < _DEPTH:
            return _attributes(value.kvlist_value.values, depth + 1)
        case _:
            return False


def _field(message: Any, name: str) -> bool:
    text: str = getattr(message, name)
    redacted = redact(text)
    if redacted == text:
        return False
    setattr(message, name, redacted)
    return True
