"""How the collector is: `/healthz` for people and probes, `/metrics` for Prometheus."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector as MetricsCollector

from stagelight_collector.api.runs import reply

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from _typeshed import DataclassInstance

    from stagelight_collector.archive import Archive
    from stagelight_collector.bus.contract import Bus
    from stagelight_collector.journal import Journal
    from stagelight_collector.pipeline import Pipeline
    from stagelight_collector.receivers import ReceiverCounters
    from stagelight_collector.rooms.hub import Hub
    from stagelight_collector.sinks import SinkRunner

NEARLY_FULL: Final = 0.9


@dataclass(slots=True, kw_only=True, eq=False)
class Health(MetricsCollector):
    """Reads the counters of every part when asked; keeps none itself."""

    journal: Journal
    hub: Hub
    bus: Bus
    pipeline: Pipeline
    archive: Archive
    receiver: ReceiverCounters
    sinks: Sequence[SinkRunner]

    def routes(self) -> Sequence[web.AbstractRouteDef]:
        """Return the routes."""
        return [web.get("/healthz", self.healthz), web.get("/metrics", self.metrics)]

    def problems(self) -> list[str]:
        """Return what is wrong at the moment, in words."""
        found = [self.archive.problem, self.bus.problem]
        if self.journal.bytes > NEARLY_FULL * self.journal.capacity_bytes:
            found.append(
                "the journal is nearly full: history takes less than arrives; senders will have to wait"
            )
        if self.archive.refused:
            found.append(
                f"{self.archive.refused} requests could not go into history; see {self.archive.aside}"
            )
        found += [
            f"plugin sink {runner.sink.name} keeps failing ({runner.reason}) and gets nothing for a minute;"
            " the log has the traceback"
            for runner in self.sinks
            if runner.benched
        ]
        return [problem for problem in found if problem]

    async def healthz(self, request: web.Request) -> web.Response:
        """Say whether all is well."""
        del request
        problems = self.problems()
        return reply({"status": "degraded" if problems else "ok", "problems": problems})

    async def metrics(self, request: web.Request) -> web.Response:
        """Return the counters in the Prometheus text format."""
        del request
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    def collect(self) -> Iterable[Metric]:
        """Read every counter and gauge."""
        yield from _counters("stagelight_receiver", self.receiver)
        yield from _counters("stagelight_journal", self.journal.counters)
        yield from _counters("stagelight_rooms", self.hub.counters)
        yield from _counters("stagelight_bus", self.bus.counters)
        yield from self._gauges()
        yield from self._archive()
        yield from self._sinks()

    def _gauges(self) -> Iterator[Metric]:
        for name, help_, value in (
            ("stagelight_journal_bytes", "Bytes in the journal.", self.journal.bytes),
            ("stagelight_journal_entries", "Entries that history has yet to take.", self.journal.entries),
            ("stagelight_rooms", "Runs in memory.", len(self.hub.rooms)),
            ("stagelight_room_steps", "Steps in memory.", self.hub.eviction.steps),
            ("stagelight_viewers", "Connected viewers.", len(self.hub.viewers)),
            (
                "stagelight_attribution_waiting",
                "Events whose run is not known.",
                self.pipeline.attribution.waiting,
            ),
            ("stagelight_bus_waiting", "Events that the bus has yet to take.", self.bus.waiting),
            ("stagelight_bus_up", "Whether the bus carries events.", int(not self.bus.problem)),
            ("stagelight_decode_queue", "Requests that wait to be decoded.", self.pipeline.queued),
            ("stagelight_receiver_in_flight", "Requests that are being answered.", self.receiver.in_flight),
            ("stagelight_receiver_in_flight_bytes", "Bytes of their bodies.", self.receiver.in_flight_bytes),
        ):
            yield GaugeMetricFamily(name, help_, value=value)

    def _archive(self) -> Iterator[Metric]:
        for name, help_, value in (
            ("stagelight_history_rows", "Rows inserted into history.", self.archive.inserted),
            ("stagelight_history_retries", "Inserts that were tried again.", self.archive.retries),
            ("stagelight_history_refused", "Requests that were set aside.", self.archive.refused),
            (
                "stagelight_history_refused_dropped",
                "Of those, not even kept aside.",
                self.archive.refused_dropped,
            ),
            (
                "stagelight_history_turned_away",
                "Published events that history refused.",
                self.archive.turned_away,
            ),
            (
                "stagelight_pipeline_faults",
                "Requests that failed on their way to the rooms.",
                self.pipeline.faults,
            ),
            (
                "stagelight_undecodable",
                "Journal entries that could not be decoded.",
                self.pipeline.undecodable,
            ),
            (
                "stagelight_attribution_dropped",
                "Events no run was found for.",
                self.pipeline.attribution.dropped,
            ),
        ):
            yield CounterMetricFamily(name, help_, value=value)

    def _sinks(self) -> Iterator[Metric]:
        written = CounterMetricFamily("stagelight_sink_batches", "Batches written.", labels=["sink"])
        dropped = CounterMetricFamily("stagelight_sink_dropped", "Batches dropped.", labels=["sink"])
        faults = CounterMetricFamily(
            "stagelight_sink_faults", "Times a sink raised or hung.", labels=["sink"]
        )
        queued = GaugeMetricFamily("stagelight_sink_queue", "Batches that wait.", labels=["sink"])
        for runner in self.sinks:
            name = [runner.sink.name]
            written.add_metric(name, runner.written)
            dropped.add_metric(name, runner.dropped)
            faults.add_metric(name, runner.faults)
            queued.add_metric(name, runner.queued)
        yield from (written, dropped, faults, queued)


def _counters(prefix: str, counters: DataclassInstance) -> Iterator[Metric]:
    for item in fields(counters):
        if item.name.startswith("in_flight"):
            continue  # goes up and down: a gauge
        value: Counter[str] | int = getattr(counters, item.name)
        name = f"{prefix}_{item.name}"
        if isinstance(value, Counter):
            family = CounterMetricFamily(name, f"{item.name} by reason.", labels=["reason"])
            for reason, count in value.items():
                family.add_metric([str(reason)], count)
            yield family
        else:
            yield CounterMetricFamily(name, f"{item.name}.", value=value)
