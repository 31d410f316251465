"""Metrics that Hypothesis makes up, all five kinds of them, and bodies that are almost metrics."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from typing import Any, Final, TypeGuard, cast

from google.protobuf.json_format import MessageToDict
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Exemplar,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
    Summary,
    SummaryDataPoint,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

_TEXT = st.text(max_size=6)
_COUNT = st.integers(0, 2**64 - 1)
_FLOAT = st.floats()
_START = 1_700_000_000 * 10**9
_TIME = st.integers(_START, _START + 10**12) | st.sampled_from([0, 1, 2**32 * 10**9, 2**64 - 1])
_SCALAR = st.one_of(
    st.builds(AnyValue, string_value=_TEXT),
    st.builds(AnyValue, int_value=st.integers(-(2**63), 2**63 - 1)),
    st.builds(AnyValue, bool_value=st.booleans()),
    st.builds(AnyValue, double_value=_FLOAT),
    st.builds(AnyValue, bytes_value=st.binary(max_size=5)),
    st.just(AnyValue()),
)


def _attributes(value: st.SearchStrategy[AnyValue]) -> st.SearchStrategy[list[KeyValue]]:
    """None, or some; an empty key is a key."""
    return st.lists(st.builds(KeyValue, key=_TEXT, value=value), max_size=3, unique_by=lambda one: one.key)


_VALUE = st.recursive(
    _SCALAR,
    lambda inner: (
        st.lists(inner, max_size=2).map(lambda found: AnyValue(array_value=ArrayValue(values=found)))
        | _attributes(inner).map(lambda found: AnyValue(kvlist_value=KeyValueList(values=found)))
    ),
    max_leaves=3,
)
_ATTRIBUTES = _attributes(_VALUE)
_NUMBER: dict[str, Any] = {"as_int": st.integers(-(2**63), 2**63 - 1), "as_double": _FLOAT}


def _numbered(message: Any, **fields: Any) -> st.SearchStrategy[Any]:
    """Build messages whose value is a whole number, a fraction, or not recorded."""
    return st.one_of(
        st.builds(message, **fields),
        *(st.builds(message, **{name: of}, **fields) for name, of in _NUMBER.items()),
    )


_EXEMPLARS = st.lists(
    _numbered(
        Exemplar,
        filtered_attributes=_ATTRIBUTES,
        time_unix_nano=_TIME,
        span_id=st.sampled_from([b"", b"\xff" * 8]),
        trace_id=st.sampled_from([b"", bytes(range(16))]),
    ),
    max_size=2,
)
_POINT: dict[str, Any] = {
    "attributes": _ATTRIBUTES,
    "start_time_unix_nano": _TIME,
    "time_unix_nano": _TIME,
    "flags": st.integers(0, 2**32 - 1),
}
_MEASURED: dict[str, Any] = {**_POINT, "exemplars": _EXEMPLARS}
_RANGED: dict[str, Any] = {
    **_MEASURED,
    "count": _COUNT,
    **dict.fromkeys(("sum", "min", "max"), st.none() | _FLOAT),
}
_BUCKETS = st.builds(
    ExponentialHistogramDataPoint.Buckets,
    offset=st.integers(-(2**31), 2**31 - 1),
    bucket_counts=st.lists(_COUNT, max_size=3),
)
_KINDS: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "gauge": (Gauge, _numbered(NumberDataPoint, **_MEASURED)),
    "sum": (Sum, _numbered(NumberDataPoint, **_MEASURED)),
    "histogram": (
        Histogram,
        st.builds(
            HistogramDataPoint,
            bucket_counts=st.lists(_COUNT, max_size=3),
            explicit_bounds=st.lists(_FLOAT, max_size=3),
            **_RANGED,
        ),
    ),
    "exponential_histogram": (
        ExponentialHistogram,
        st.builds(
            ExponentialHistogramDataPoint,
            scale=st.integers(-(2**31), 2**31 - 1),
            zero_count=_COUNT,
            zero_threshold=_FLOAT,
            positive=_BUCKETS,
            negative=_BUCKETS,
            **_RANGED,
        ),
    ),
    "summary": (
        Summary,
        st.builds(
            SummaryDataPoint,
            count=_COUNT,
            sum=_FLOAT,
            quantile_values=st.lists(
                st.builds(SummaryDataPoint.ValueAtQuantile, quantile=_FLOAT, value=_FLOAT), max_size=2
            ),
            **_POINT,
        ),
    ),
}


def _metric(kind: str) -> st.SearchStrategy[Metric]:
    data, point = _KINDS[kind]
    fields: dict[str, Any] = {"data_points": st.lists(point, max_size=3)}
    if kind not in {"gauge", "summary"}:
        fields["aggregation_temporality"] = st.integers(0, 2)
    if kind == "sum":
        fields["is_monotonic"] = st.booleans()
    return st.builds(Metric, name=_TEXT, description=_TEXT, unit=_TEXT, **{kind: st.builds(data, **fields)})


_METRICS = st.lists(st.one_of(*(_metric(kind) for kind in _KINDS), st.builds(Metric, name=_TEXT)), max_size=4)
_SCOPE = st.builds(
    ScopeMetrics,
    scope=st.builds(
        InstrumentationScope,
        name=_TEXT,
        version=_TEXT,
        attributes=_ATTRIBUTES,
        dropped_attributes_count=st.integers(0, 2**32 - 1),
    ),
    schema_url=_TEXT,
    metrics=_METRICS,
)
RESOURCE: Final = st.builds(
    ResourceMetrics,
    resource=st.builds(Resource, attributes=_ATTRIBUTES),
    schema_url=_TEXT,
    scope_metrics=st.lists(_SCOPE, max_size=2),
)
"""The metrics of one resource."""


def named(resources: list[ResourceMetrics], service: str) -> ExportMetricsServiceRequest:
    """Return a request of them all, of one service."""
    request = ExportMetricsServiceRequest(resource_metrics=resources)
    for resource in request.resource_metrics:
        resource.resource.attributes.add(key="service.name").value.string_value = service
    return request


def _is_list(found: object) -> TypeGuard[list[Any]]:
    return isinstance(found, list)


def as_json(request: ExportMetricsServiceRequest) -> bytes:
    """Return OTLP's JSON, whose ids are hexadecimal."""

    def rewritten(found: Any) -> Any:
        if _is_list(found):
            return [rewritten(item) for item in found]
        if not isinstance(found, dict):
            return found
        items = cast("dict[str, Any]", found)
        ids = {key: b64decode(items[key]).hex() for key in ("traceId", "spanId") if key in items}
        return {key: rewritten(value) for key, value in items.items()} | ids

    return json.dumps(rewritten(MessageToDict(request, use_integers_for_enums=True))).encode()


_KEYS = st.sampled_from(
    re.findall(
        r"\w+",
        "resourceMetrics scopeMetrics metrics resource scope schemaUrl attributes key value intValue arrayValue values gauge sum"
        " histogram exponentialHistogram summary dataPoints exemplars asInt asDouble count min max bucketCounts explicitBounds"
        " positive negative offset quantileValues quantile timeUnixNano traceId flags aggregationTemporality",
    )
)
_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    _FLOAT,
    _TEXT,
    st.sampled_from(["NaN", "-Infinity", "7"]),
)
_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=25,
)


@st.composite
def _spoilt(draw: st.DrawFn) -> bytes:
    """A request of which some bytes are others, or of which the end is missing."""
    request = named(draw(st.lists(RESOURCE, min_size=1, max_size=1)), "spoilt")
    body = bytearray(as_json(request) if draw(st.booleans()) else request.SerializeToString())
    for place in draw(st.lists(st.integers(0, len(body) - 1), max_size=3)):
        body[place] = draw(st.integers(0, 255))
    return bytes(body[: draw(st.integers(len(body) // 2, len(body)))])


BODIES: Final = st.one_of(
    st.binary(max_size=300),
    _spoilt(),
    st.dictionaries(_KEYS, _JSON, max_size=3).map(lambda found: json.dumps(found).encode()),
)
"""Bytes, spoilt requests, and JSON of any shape."""
