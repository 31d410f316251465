"""Metrics become rows of the exporter's five tables. They are history only: no room hears of them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stagelight_collector.decode.rows import columns, resource_texts
from stagelight_collector.decode.values import plain, texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar, Metric, NumberDataPoint

SECOND: Final = 1_000_000_000
LAST: Final = 2**32 - 1
"""The last second that these tables can hold, in February 2106; a later one is read as this one."""

_SERIES: Final = (
    "ResourceAttributes", "ResourceSchemaUrl", "ScopeName", "ScopeVersion", "ScopeAttributes",
    "ScopeDroppedAttrCount", "ScopeSchemaUrl", "ServiceName", "MetricName", "MetricDescription", "MetricUnit",
)  # fmt: skip
_POINT: Final = (*_SERIES, "Attributes", "StartTimeUnix", "TimeUnix", "Flags")
_EXEMPLARS: Final = tuple(
    f"Exemplars.{name}" for name in ("FilteredAttributes", "TimeUnix", "Value", "SpanId", "TraceId")
)
_RANGE: Final = (*_EXEMPLARS, "Min", "Max", "AggregationTemporality")

METRIC_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "otel_metrics_gauge": (*_POINT, "Value", *_EXEMPLARS),
    "otel_metrics_sum": (*_POINT, "Value", *_EXEMPLARS, "AggregationTemporality", "IsMonotonic"),
    "otel_metrics_histogram": (*_POINT, "Count", "Sum", "BucketCounts", "ExplicitBounds", *_RANGE),
    "otel_metrics_exponential_histogram": (
        *_POINT, "Count", "Sum", "Scale", "ZeroCount", "PositiveOffset", "PositiveBucketCounts",
        "NegativeOffset", "NegativeBucketCounts", *_RANGE,
    ),
    "otel_metrics_summary": (
        *_POINT, "Count", "Sum", "ValueAtQuantiles.Quantile", "ValueAtQuantiles.Value",
    ),
}  # fmt: skip
"""The tables, each with the columns that are inserted, in the order of the rows made here."""


def metric_tables(request: ExportMetricsServiceRequest) -> dict[str, dict[str, list[Any]]]:
    """Return the data points of a request, table by table, column by column."""
    rows: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for resource_metrics in request.resource_metrics:
        resource, service = resource_texts(resource_metrics.resource)
        for scope_metrics in resource_metrics.scope_metrics:
            scope = scope_metrics.scope
            source = (
                resource,
                resource_metrics.schema_url,
                scope.name,
                scope.version,
                texts(plain(scope.attributes)),
                scope.dropped_attributes_count,
                scope_metrics.schema_url,
                service,
            )
            for metric in scope_metrics.metrics:
                kind = metric.WhichOneof("data")
                if kind is not None:
                    rows[f"otel_metrics_{kind}"] += _Points(metric, source).rows(kind)
    return {table: columns(METRIC_COLUMNS[table], found) for table, found in rows.items() if found}


def count_points(request: ExportMetricsServiceRequest) -> int:
    """Return how many data points a request has."""
    return sum(
        len(getattr(metric, kind).data_points)
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if (kind := metric.WhichOneof("data"))
    )


@dataclass(slots=True)
class _Points:
    """The data points of one metric."""

    metric: Metric
    source: tuple[Any, ...]

    def rows(self, kind: str) -> Iterable[tuple[Any, ...]]:
        data = getattr(self.metric, kind)
        make = getattr(self, f"_{kind}")
        return [(*self._point(point), *make(point, data)) for point in data.data_points]

    def _point(self, point: Any) -> tuple[Any, ...]:
        metric = self.metric
        return (
            *self.source,
            metric.name,
            metric.description,
            metric.unit,
            texts(plain(point.attributes)),
            seconds(point.start_time_unix_nano),
            seconds(point.time_unix_nano),
            point.flags,
        )

    @staticmethod
    def _gauge(point: Any, data: Any) -> tuple[Any, ...]:
        del data
        return (_number(point), *_exemplars(point.exemplars))

    @staticmethod
    def _sum(point: Any, data: Any) -> tuple[Any, ...]:
        return (
            _number(point),
            *_exemplars(point.exemplars),
            data.aggregation_temporality,
            data.is_monotonic,
        )

    @staticmethod
    def _histogram(point: Any, data: Any) -> tuple[Any, ...]:
        return (
            point.count,
            point.sum,
            list(point.bucket_counts),
            list(point.explicit_bounds),
            *_exemplars(point.exemplars),
            point.min,
            point.max,
            data.aggregation_temporality,
        )

    @staticmethod
    def _exponential_histogram(point: Any, data: Any) -> tuple[Any, ...]:
        return (
            point.count,
            point.sum,
            point.scale,
            point.zero_count,
            point.positive.offset,
            list(point.positive.bucket_counts),
            point.negative.offset,
            list(point.negative.bucket_counts),
            *_exemplars(point.exemplars),
            point.min,
            point.max,
            data.aggregation_temporality,
        )

    @staticmethod
    def _summary(point: Any, data: Any) -> tuple[Any, ...]:
        del data
        quantiles = point.quantile_values
        return (point.count, point.sum, [at.quantile for at in quantiles], [at.value for at in quantiles])


def seconds(nanoseconds: int) -> int:
    """Return a time as these tables hold it: the exporter's have whole seconds."""
    return min(nanoseconds // SECOND, LAST)


def _number(point: NumberDataPoint | Exemplar) -> float:
    """Return a value; 0 where none was recorded, which `Flags` says."""
    return float(point.as_int if point.WhichOneof("value") == "as_int" else point.as_double)


def _exemplars(found: Iterable[Exemplar]) -> tuple[list[Any], ...]:
    exemplars = list(found)
    return (
        [texts(plain(each.filtered_attributes)) for each in exemplars],
        [seconds(each.time_unix_nano) for each in exemplars],
        [_number(each) for each in exemplars],
        [each.span_id.hex() for each in exemplars],
        [each.trace_id.hex() for each in exemplars],
    )
