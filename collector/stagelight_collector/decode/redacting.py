"""What looks like a secret is cut out of what is received, as the agent does before it sends: not everybody has our agent.

It is done before rows and events are made, so rooms, history and sinks never see it; the journal holds requests as they
came until history has them. Most requests hold nothing that could be one, which one look at the bytes says.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from stagelight import conventions as c
from stagelight.redaction import REDACTED, is_secret, redact
from stagelight_collector.decode.looking import Finder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

_HINTS: Final = (
    # Names, of keys and in texts.
    rb"(?i:passw|pwd|passphrase|secret|cookie|credential|jwt|ssn|[cx]srf|cv[vc]|bearer)",
    rb"(?i:token)(?:[^s]|s[\w\x80-\xff]|\z)",  # no count of tokens
    rb"(?i:auth)(?:[^oO]|O|o[^rR]|\z)|(?i:authoriz)",  # no author, no authority
    rb"(?i:card[^a-z0-9]*number|session[^a-z0-9]*id|(?:access|api|encryption|private|signing|ssh)[^a-z0-9]*key)",
    # Credentials.
    rb"(?i:basic|digest)[\s\x80-\xff]|://[^/\s@]+@|-----BEGIN|eyJ[\w-]{8}",
    rb"(?:[spr]k|whsec)[-_][\w-]{16}|gh[oprsu]_[A-Za-z0-9]{20}|github_pat_|glpat-|(?:AKIA|ASIA)[0-9A-Z]{16}|xox[abeprs]-|AIza",
    rb"\xc5\xbf|\xe2\x84\xaa",  # the letters that are an s and a K to rules that do not mind the case
)
"""Of what every rule of `stagelight.redaction` finds there is one; none looks at what is before it, where bytes of the encoding are."""
_NO_SECRETS: Final = frozenset({"session.id"})
"""Keys that sound like it and are ids to search by, by OpenTelemetry's conventions."""
_DEPTH: Final = 32
_SHORT: Final = 256
"""Characters of a text that is worth to be remembered: most come again."""


may_hold_secret: Final = Finder(*_HINTS)
"""Whether it is worth looking at every text of a request."""


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
        key, value = pair.key, pair.value
        if is_secret(key) and key not in _NO_SECRETS and not key.startswith(c.PREFIX):
            if value.string_value != REDACTED:
                value.string_value, changed = REDACTED, True
        else:
            changed |= _value(value, depth)
    return changed


def _value(value: AnyValue, depth: int) -> bool:
    if value.string_value:
        return _field(value, "string_value")
    match value.WhichOneof("value"):
        case "array_value" if depth < _DEPTH:
            return any([_value(item, depth + 1) for item in value.array_value.values])  # noqa: C419 - all of them
        case "kvlist_value" if depth < _DEPTH:
            return _attributes(value.kvlist_value.values, depth + 1)
        case _:
            return False


def _field(message: Any, name: str) -> bool:
    text: str = getattr(message, name)
    cut = _cut(text)
    if cut == text:
        return False
    setattr(message, name, cut)
    return True


def _cut(text: str) -> str:
    return _remembered(text) if len(text) <= _SHORT else _redacted(text)


def _redacted(text: str) -> str:
    return redact(text) if may_hold_secret(text.encode()) else text


_remembered: Final = lru_cache(maxsize=8192)(_redacted)
