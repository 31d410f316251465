"""Metrics, from OpenTelemetry's own SDK over every protocol to the exporter's tables, read back field by field."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as OverGrpc
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as OverHttp
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, SummaryDataPoint
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricsData
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from stagelight_collector.app import Collector
from stagelight_collector.config import Settings
from stagelight_collector.decode import decode_metrics
from stagelight_collector.decode.metrics import LAST, METRIC_COLUMNS
from stagelight_collector.history import Retention
from stagelight_collector.shelf import by_days, merge, rows
from stagelight_plugins.hookspecs import Batch

from .made_up_metrics import as_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from stagelight_collector.history import History

PROTOCOLS = ("grpc", "http/protobuf", "http/json")
DAY = 86_400


def measured(service: str) -> MetricsData:
    """Return what the SDK measured: a gauge, sums, both kinds of histogram, with exemplars of a real span."""
    reader = InMemoryMetricReader()
    exponential = View(
        instrument_type=Histogram, instrument_name="size", aggregation=ExponentialBucketHistogramAggregation()
    )
    provider = MeterProvider(
        metric_readers=[reader],
        resource=Resource({"service.name": service, "host.name": "h"}, "https://resource.example/1"),
        views=[exponential],
        exemplar_filter=AlwaysOnExemplarFilter(),
        shutdown_on_exit=False,
    )
    meter = provider.get_meter("shop.meter", "1.2", "https://scope.example/1", {"team": "payments"})
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("shop")
    with tracer.start_as_current_span("checkout"):
        meter.create_gauge("temperature", "Cel", "of the oven").set(21.5, {"room": "a"})
        orders = meter.create_counter("orders", "{order}", "taken")
        orders.add(3, {"kind": "new", "user": "ada"})
        meter.create_up_down_counter("open").add(-2)
        meter.create_histogram("duration", "s").record(0.3, {"ok": True})
        size = meter.create_histogram("size", "By")
        size.record(100)
        size.record(0)
    found = reader.get_metrics_data()
    assert found is not None
    provider.shutdown()
    return found


@pytest.fixture
async def collector(tmp_path: Path, dsn: str) -> AsyncIterator[Collector]:
    """A collector with gRPC."""
    settings = {"data_dir": tmp_path, "port": 0, "grpc_port": 0, "history": dsn}
    async with Collector(Settings.model_validate(settings)) as running:
        yield running


async def sent(collector: Collector, protocol: str, data: MetricsData) -> None:
    """Send it as the SDK does; in JSON, which the Python SDK does not write, by hand and compressed."""
    if protocol == "grpc":
        where = collector.grpc.removeprefix("OTLP over gRPC is received on ").removesuffix(".")
        over: Any = OverGrpc(endpoint=f"http://{where}", insecure=True)
    elif protocol == "http/protobuf":
        over = OverHttp(endpoint=f"{collector.url}/v1/metrics", compression=Compression.Gzip)
    else:
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        body = gzip.compress(as_json(encode_metrics(data)))
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{collector.url}/v1/metrics", data=body, headers=headers) as answer,
        ):
            assert (answer.status, await answer.json()) == (200, {})
        return
    result = await asyncio.to_thread(over.export, data)
    await asyncio.to_thread(over.shutdown)
    assert result.name == "SUCCESS"


async def archived(collector: Collector) -> None:
    """Wait until history has all."""
    await collector.settle()
    await collector.pipeline.archive.drain()
    assert collector.pipeline.journal.entries == 0


async def asked(collector: Collector, sql: str) -> list[list[Any]]:
    return [list(row) for row in (await collector.query(sql)).rows]


def points_of(data: MetricsData) -> dict[str, Any]:
    (resource,) = data.resource_metrics
    (scope,) = resource.scope_metrics
    return {metric.name: metric.data.data_points[0] for metric in scope.metrics}


async def test_every_field_comes_back_over_every_protocol(collector: Collector) -> None:
    data = {protocol: measured(protocol) for protocol in PROTOCOLS}
    for protocol in PROTOCOLS:
        await sent(collector, protocol, data[protocol])
    await archived(collector)

    series = "ServiceName, MetricName, MetricDescription, MetricUnit, Attributes, toUnixTimestamp(StartTimeUnix), toUnixTimestamp(TimeUnix)"
    source = "ResourceAttributes, ResourceSchemaUrl, ScopeName, ScopeVersion, ScopeAttributes, ScopeDroppedAttrCount, ScopeSchemaUrl"
    exemplars = "Exemplars.Value, Exemplars.TraceId, Exemplars.SpanId, arrayMap(t -> toUnixTimestamp(t), Exemplars.TimeUnix)"
    for protocol in PROTOCOLS:
        points = points_of(data[protocol])
        for table in METRIC_COLUMNS:
            for found in await asked(
                collector,
                f"SELECT {source} FROM {table} WHERE ServiceName = '{protocol}'",  # noqa: S608 - of this file
            ):
                assert found == [
                    {"host.name": "h", "service.name": protocol}, "https://resource.example/1",
                    "shop.meter", "1.2", {"team": "payments"}, 0, "https://scope.example/1",
                ]  # fmt: skip
        where = f"WHERE ServiceName = '{protocol}' ORDER BY MetricName"
        gauge = points["temperature"]
        assert await asked(
            collector,
            f"SELECT {series}, Value, Flags, {exemplars} FROM otel_metrics_gauge {where}",  # noqa: S608 - of this file
        ) == [
            [
                protocol,
                "temperature",
                "of the oven",
                "Cel",
                {"room": "a"},
                *_times(gauge),
                21.5,
                0,
                *_exemplars(gauge),
            ]
        ]
        taken, up = points["orders"], points["open"]
        assert await asked(
            collector,
            f"SELECT {series}, Value, AggregationTemporality, IsMonotonic, {exemplars} FROM otel_metrics_sum {where}",  # noqa: S608 - of this file
        ) == [
            [protocol, "open", "", "", {}, *_times(up), -2.0, 2, False, *_exemplars(up)],
            [protocol, "orders", "taken", "{order}", {"kind": "new", "user": "ada"}, *_times(taken), 3.0, 2, True, *_exemplars(taken)],
        ]  # fmt: skip
        lasted = points["duration"]
        assert await asked(
            collector,
            f"SELECT {series}, Count, Sum, Min, Max, BucketCounts, ExplicitBounds, AggregationTemporality, {exemplars} FROM otel_metrics_histogram {where}",  # noqa: S608 - of this file
        ) == [
            [protocol, "duration", "", "s", {"ok": "true"}, *_times(lasted), 1, 0.3, 0.3, 0.3, list(lasted.bucket_counts),
             list(lasted.explicit_bounds), 2, *_exemplars(lasted)]
        ]  # fmt: skip
        size = points["size"]
        assert await asked(
            collector,
            f"SELECT {series}, Count, Sum, Min, Max, Scale, ZeroCount, PositiveOffset, PositiveBucketCounts, NegativeOffset,"  # noqa: S608 - of this file
            f" NegativeBucketCounts, AggregationTemporality FROM otel_metrics_exponential_histogram {where}",
        ) == [
            [protocol, "size", "", "By", {}, *_times(size), 2, 100.0, 0.0, 100.0, size.scale, size.zero_count,
             size.positive.offset, list(size.positive.bucket_counts), size.negative.offset, list(size.negative.bucket_counts), 2]
        ]  # fmt: skip


def _times(point: Any) -> list[int]:
    return [(point.start_time_unix_nano or 0) // 10**9, point.time_unix_nano // 10**9]


def _exemplars(point: Any) -> list[list[Any]]:
    found = point.exemplars
    assert found, "the SDK gave no exemplar"
    return [
        [float(each.value) for each in found],
        [f"{each.trace_id:032x}" for each in found],
        [f"{each.span_id:016x}" for each in found],
        [each.time_unix_nano // 10**9 for each in found],
    ]


async def test_no_room_hears_of_metrics(collector: Collector) -> None:
    data = measured("workflow.name")  # what marks a span of a run means nothing here
    await sent(collector, "http/protobuf", data)
    await archived(collector)

    assert collector.runs() == []
    assert collector.pipeline.hub.counters.events == 0
    assert await asked(collector, "SELECT count() FROM otel_metrics_sum") == [[2]]
    async with aiohttp.ClientSession() as session, session.get(f"{collector.url}/metrics") as answer:
        assert "\nstagelight_receiver_data_points_total 5.0\n" in await answer.text()


def request(*metrics: Metric) -> ExportMetricsServiceRequest:
    made = ExportMetricsServiceRequest()
    resource = made.resource_metrics.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    resource.scope_metrics.add().metrics.extend(metrics)
    return made


def gauge(*times: int, value: float = 1.0) -> Metric:
    metric = Metric(name="g")
    for time in times:
        metric.gauge.data_points.add(time_unix_nano=time * 10**9, as_double=value)
    return metric


def summary() -> Metric:
    """Return one as bridges from Prometheus send it; no SDK makes summaries."""
    metric = Metric(name="s")
    point = metric.summary.data_points.add(time_unix_nano=5 * 10**9, count=3, sum=6.5)
    for quantile, value in ((0.5, 2.0), (0.99, 4.0)):
        point.quantile_values.append(SummaryDataPoint.ValueAtQuantile(quantile=quantile, value=value))
    return metric


def test_a_summary_has_its_quantiles_and_a_metric_without_data_no_row() -> None:
    tables = decode_metrics(request(summary(), Metric(name="empty"))).metrics

    assert set(tables) == {"otel_metrics_summary"}
    found = tables["otel_metrics_summary"]
    assert tuple(found) == METRIC_COLUMNS["otel_metrics_summary"]
    assert (found["Count"], found["Sum"]) == ([3], [6.5])
    assert (found["ValueAtQuantiles.Quantile"], found["ValueAtQuantiles.Value"]) == (
        [[0.5, 0.99]],
        [[2.0, 4.0]],
    )


def test_times_that_the_tables_cannot_hold_are_held_back() -> None:
    late = Metric(name="late")
    late.gauge.data_points.add(time_unix_nano=2**64 - 1)

    assert decode_metrics(request(late)).metrics["otel_metrics_gauge"]["TimeUnix"] == [LAST]


def test_points_of_many_days_are_cut_up_like_all_rows() -> None:
    batch = Batch(seq=1, metrics=decode_metrics(request(gauge(DAY, 5 * DAY, 9 * DAY), summary())).metrics)
    parts = list(by_days(batch, 2))

    assert [rows(part) for part in parts] == [2, 2]
    assert rows(merge(1, parts)) == rows(batch) == 4


EVERY = (gauge(1_764_000_000, value=float("nan")), gauge(1_764_000_000), gauge(1_764_000_000), summary())


@pytest.mark.parametrize("again", [False, True])
async def test_points_that_come_again_are_stored_once(history: History, ask: Any, again: bool) -> None:
    """Two equal points of one batch are two rows; the batch that comes again adds none."""
    batch = Batch(seq=1, metrics=decode_metrics(request(*EVERY)).metrics)
    await history.insert(batch, "token")
    await history.insert(batch, "token", again=again)

    assert ask("SELECT count() FROM otel_metrics_gauge") == [(3,)]
    assert ask("SELECT count() FROM otel_metrics_summary") == [(1,)]


async def test_of_points_that_came_in_part_the_rest_is_added(history: History, ask: Any) -> None:
    await history.insert(Batch(seq=1, metrics=decode_metrics(request(EVERY[1])).metrics), "part")
    whole = Batch(seq=2, metrics=decode_metrics(request(*EVERY)).metrics)
    await history.insert(whole, "whole", again=True)

    assert ask("SELECT count(), countIf(isNaN(Value)) FROM otel_metrics_gauge") == [(3, 1)]


async def test_metrics_are_kept_as_long_as_they_are_told(history: History, ask: Any) -> None:
    now = 1_764_072_000
    old, new = (
        Batch(seq=n, metrics=decode_metrics(request(gauge(now - days * DAY))).metrics)
        for n, days in ((1, 20), (2, 3))
    )
    await history.insert(old, "old")
    await history.insert(new, "new")
    status = {table.name: table for table in (await history.status()).tables}
    assert status["otel_metrics_gauge"].oldest == (now - 20 * DAY) * 10**9

    found = await history.prune(Retention(traces=7, logs=7, runs=7), now * 10**9)
    assert found.dropped == []
    found = await history.prune(Retention(metrics=7), now * 10**9)
    assert [(item.table, item.rows) for item in found.dropped] == [("otel_metrics_gauge", 1)]
    assert ask("SELECT count() FROM otel_metrics_gauge") == [(1,)]
