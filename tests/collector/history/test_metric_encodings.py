"""Any metrics are the same rows, field by field, over HTTP in protobuf, over HTTP in JSON, and over gRPC."""

from __future__ import annotations

import asyncio
import importlib
import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings, strategies as st

from stagelight_collector.app import Collector
from stagelight_collector.config import Settings
from stagelight_collector.decode.metrics import LAST
from stagelight_collector.decode.values import plain, texts

from .conftest import handle_of
from .made_up_metrics import BODIES, RESOURCE, as_json, named

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, ResourceMetrics

    from .conftest import Ask

grpc: Any = importlib.import_module("grpc")
aio: Any = importlib.import_module("grpc.aio")

pytestmark = pytest.mark.asyncio(loop_scope="module")

METHOD: Final = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
DATABASE: Final = "encodings"
ENCODINGS: Final = ("http/protobuf", "http/json", "grpc")
TRY: Final[dict[str, Any]] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow],  # a busy machine is
    "phases": [phase for phase in Phase if phase is not Phase.explain],
}
"""To explain a failure takes a hundred more requests than to find it."""
_numbers = itertools.count()

# --- as they are sent -------------------------------------------------------------------------------------------------


class Sender:
    """A collector, and connections to it over both protocols."""

    def __init__(self, collector: Collector, session: aiohttp.ClientSession, channel: Any, ask: Ask) -> None:
        self.collector = collector
        self._session = session
        self._ask = ask
        self._export = channel.unary_unary(METHOD)

    async def send(self, encoding: str, body: bytes) -> int:
        """Return the status, for gRPC as HTTP would have it."""
        if encoding == "grpc":
            code = await self._export(body, timeout=60).code()
            return {"OK": 200, "INVALID_ARGUMENT": 400}.get(code.name, 500)
        kind = "application/json" if encoding == "http/json" else "application/x-protobuf"
        url = f"{self.collector.url}/v1/metrics"
        async with self._session.post(url, data=body, headers={"Content-Type": kind}) as answer:
            await answer.read()
            return answer.status

    async def archived(self) -> None:
        """Wait until history has all; nothing was lost on the way."""
        collector = self.collector
        await collector.settle()
        await collector.pipeline.archive.drain()
        assert collector.pipeline.journal.entries == 0
        assert collector.health.problems() == []
        assert (collector.pipeline.undecodable, collector.pipeline.faults) == (0, 0)

    async def rows(self, table: str, columns: str, service: str) -> list[str]:
        """Return the rows of a service as texts, in order: nothing equals NaN but its text."""
        sql = f"SELECT {columns} FROM otel_metrics_{table} WHERE ServiceName = {{service:String}}"  # noqa: S608 - of this file
        found = await asyncio.to_thread(self._ask, sql, service=service)
        return sorted(repr(list(row)) for row in found)


@pytest.fixture(scope="module")
def ask(engine_path: Path) -> Iterator[Ask]:
    """Run SQL through a handle of the test's own: the collector's answers are JSON, which has no NaN."""
    with ThreadPoolExecutor(1) as thread:
        handle = thread.submit(handle_of, engine_path, DATABASE).result()

        def run(sql: str, **parameters: Any) -> Sequence[Sequence[Any]]:
            return thread.submit(lambda: handle.query(sql, parameters).result_rows).result()

        yield run
        thread.submit(handle.close).result()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sender(
    tmp_path_factory: pytest.TempPathFactory, engine_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Sender]:
    given = {
        "data_dir": tmp_path_factory.mktemp("encodings"), "port": 0, "grpc_port": 0,
        "history": f"chdb://{engine_path}?database={DATABASE}",
        "redact": False,  # Hypothesis likes keys such as `Xsrf`
    }  # fmt: skip
    async with Collector(Settings.model_validate(given)) as collector, aiohttp.ClientSession() as session:
        where = collector.grpc.removeprefix("OTLP over gRPC is received on ").removesuffix(".")
        async with aio.insecure_channel(where) as channel:
            yield Sender(collector, session, channel, request.getfixturevalue("ask"))


# --- as they are stored -----------------------------------------------------------------------------------------------

_SERIES: Final = (
    "ResourceAttributes, ResourceSchemaUrl, ScopeName, ScopeVersion, ScopeAttributes, ScopeDroppedAttrCount, ScopeSchemaUrl,"
    " ServiceName, MetricName, MetricDescription, MetricUnit, Attributes, toUnixTimestamp(StartTimeUnix),"
    " toUnixTimestamp(TimeUnix), Flags"
)
_OF_EXEMPLARS: Final = (
    "Exemplars.FilteredAttributes, arrayMap(t -> toUnixTimestamp(t), Exemplars.TimeUnix), Exemplars.Value, Exemplars.SpanId,"
    " Exemplars.TraceId"
)
_TABLES: Final = {
    "gauge": f"{_SERIES}, {_OF_EXEMPLARS}, Value",
    "sum": f"{_SERIES}, {_OF_EXEMPLARS}, Value, AggregationTemporality, IsMonotonic",
    "histogram": f"{_SERIES}, {_OF_EXEMPLARS}, Count, Sum, Min, Max, BucketCounts, ExplicitBounds, AggregationTemporality",
    "exponential_histogram": (
        f"{_SERIES}, {_OF_EXEMPLARS}, Count, Sum, Min, Max, Scale, ZeroCount, PositiveOffset, PositiveBucketCounts,"
        " NegativeOffset, NegativeBucketCounts, AggregationTemporality"
    ),
    "summary": f"{_SERIES}, Count, Sum, ValueAtQuantiles.Quantile, ValueAtQuantiles.Value",
}


def _of(kind: str, point: Any, data: Any) -> list[Any]:
    """Return what the columns of a kind hold, after those of the series and of the exemplars."""
    ranged = ("count", "sum", "min", "max")
    if kind == "summary":
        quantiles = point.quantile_values
        return [point.count, point.sum, [at.quantile for at in quantiles], [at.value for at in quantiles]]
    if kind == "gauge":
        return [_value(point)]
    if kind == "sum":
        return [_value(point), data.aggregation_temporality, data.is_monotonic]
    if kind == "histogram":
        buckets = [list(point.bucket_counts), list(point.explicit_bounds)]
        return [*(getattr(point, name) for name in ranged), *buckets, data.aggregation_temporality]
    sides = [
        part for side in (point.positive, point.negative) for part in (side.offset, list(side.bucket_counts))
    ]
    return [*(getattr(point, name) for name in ranged), point.scale, point.zero_count, *sides, data.aggregation_temporality]  # fmt: skip


def _value(found: Any) -> float:
    return float(found.as_int or found.as_double)


def _seconds(nanoseconds: int) -> int:
    return min(nanoseconds // 10**9, LAST)


def _texts(attributes: Any) -> dict[str, str]:
    return texts(plain(attributes))


def _exemplars(found: Any) -> list[Any]:
    return [
        [_texts(each.filtered_attributes) for each in found],
        [_seconds(each.time_unix_nano) for each in found],
        [_value(each) for each in found],
        [each.span_id.hex() for each in found],
        [each.trace_id.hex() for each in found],
    ]


def expected(request: ExportMetricsServiceRequest, service: str) -> dict[str, list[str]]:
    """Return the rows of each table as `Sender.rows` gives them."""
    made: dict[str, list[str]] = {kind: [] for kind in _TABLES}
    for source, metric in _metrics(request):
        kind = metric.WhichOneof("data")
        data = getattr(metric, kind or "", None)
        for point in data.data_points if data else ():
            assert kind is not None
            row = [
                *source, service, metric.name, metric.description, metric.unit, _texts(point.attributes),
                _seconds(point.start_time_unix_nano), _seconds(point.time_unix_nano), point.flags,
                *([] if kind == "summary" else _exemplars(point.exemplars)), *_of(kind, point, data),
            ]  # fmt: skip
            made[kind].append(repr(row))
    return {kind: sorted(rows) for kind, rows in made.items()}


def _metrics(request: ExportMetricsServiceRequest) -> Iterator[tuple[list[Any], Metric]]:
    for resource in request.resource_metrics:
        for scoped in resource.scope_metrics:
            scope = scoped.scope
            source = [
                _texts(resource.resource.attributes), resource.schema_url, scope.name, scope.version,
                _texts(scope.attributes), scope.dropped_attributes_count, scoped.schema_url,
            ]  # fmt: skip
            for metric in scoped.metrics:
                yield source, metric


@settings(max_examples=20, **TRY)
@given(resources=st.lists(RESOURCE, max_size=2))
async def test_metrics_are_the_same_rows_over_every_encoding(
    sender: Sender, resources: list[ResourceMetrics]
) -> None:
    services = {encoding: f"{encoding} {next(_numbers)}" for encoding in ENCODINGS}
    for encoding, service in services.items():
        request = named(resources, service)
        body = as_json(request) if encoding == "http/json" else request.SerializeToString()
        assert await sender.send(encoding, body) == 200
    await sender.archived()
    for service in services.values():
        wanted = expected(named(resources, service), service)
        for table, columns in _TABLES.items():
            assert await sender.rows(table, columns, service) == wanted[table]


@settings(max_examples=60, **TRY)
@given(body=BODIES, encoding=st.sampled_from(ENCODINGS))
async def test_any_bytes_get_an_answer_and_what_was_taken_goes_into_history(
    sender: Sender, body: bytes, encoding: str
) -> None:
    assert await sender.send(encoding, body) in {200, 400}
    await sender.archived()
