"""How tables are laid out: in one place, or over a cluster; with Bloom filters, or with text indexes.

The statements of `migrations/` are written for one server. On a cluster each table `t` becomes `t_local`, replicated,
on every node, and `t`, which spreads rows over the shards and reads from all of them. All rows of a run are on one
shard, and so are all of a trace, so that views can be fed where the rows are. A cluster is chosen when the tables are
made: what is there decides from then on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stagelight_collector.history.engine import Handle

SHARD_BY: Final[Mapping[str, str]] = {
    "otel_traces": "cityHash64(TraceId)",
    "otel_traces_trace_id_ts": "cityHash64(TraceId)",
    # Lines of no trace are spread by time. Never at random: a retry must find the same shard, which knows its token.
    "otel_logs": "cityHash64(if(TraceId = '', toString(Timestamp), TraceId))",
    "stagelight_schema": "Version",
}
"""What decides which shard a row is on; a run's tables go by `RunId`, metrics by their series."""
_METRICS: Final = "cityHash64(ServiceName, MetricName)"
_RUNS: Final = "cityHash64(RunId)"

_TABLE: Final = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+)")
_VIEW: Final = re.compile(r"CREATE MATERIALIZED VIEW IF NOT EXISTS (\w+) TO (\w+) AS")
_PLAIN_VIEW: Final = re.compile(r"CREATE VIEW IF NOT EXISTS (\w+)")
_ALTER: Final = re.compile(r"(ALTER TABLE|DELETE FROM) (\w+)")
_ENGINE: Final = re.compile(r"ENGINE = (\w*)MergeTree\b(?:\(\))?")
_SOURCE: Final = re.compile(r"\bFROM ((?:otel|stagelight)_\w+)")
_PATH: Final = "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'"

TEXT_INDEXES_FROM: Final = (26, 2)
"""The first server with text indexes; the exporter of OpenTelemetry's Collector has them from there on, too."""
_FILTER: Final = re.compile(r"TYPE bloom_filter\([\d.]+\) GRANULARITY 1")
_VALUES: Final = re.compile(r"INDEX (idx_\w+_attr)_value mapValues\((Resource|Span)Attributes\)")
_BODY: Final = re.compile(r"(lower\(Body\)) TYPE tokenbf_v1\([\d, ]+\) GRANULARITY \d+")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where tables are, and how they are searched."""

    cluster: str = ""
    """The cluster's name in the server's configuration; "" where there is none."""
    text_indexes: bool = False

    @property
    def everywhere(self) -> str:
        """The clause that runs a statement on every node."""
        return f" ON CLUSTER '{self.cluster}'" if self.cluster else ""

    @property
    def parts(self) -> str:
        """The table of parts: of one replica of each shard."""
        return f"cluster('{self.cluster}', system.parts)" if self.cluster else "system.parts"

    def of(self, table: str) -> str:
        """Return the table that holds the rows: what deletes and drops act on."""
        return f"{table}_local" if self.cluster else table

    def statements(self, statement: str) -> Iterator[str]:
        """Yield what a statement of the schema becomes."""
        if self.text_indexes and (found := _TABLE.match(statement)):
            statement = _with_text_indexes(found[1], statement)
        if not self.cluster:
            yield statement
        elif found := _TABLE.search(statement):
            yield self._replicated(statement)
            yield self._distributed(found[1])
        elif _VIEW.search(statement):
            yield self.on_nodes(
                _VIEW.sub(
                    rf"CREATE MATERIALIZED VIEW IF NOT EXISTS \1{self.everywhere} TO \2_local AS", statement
                )
            )
        elif _PLAIN_VIEW.search(statement):
            yield _PLAIN_VIEW.sub(rf"CREATE VIEW IF NOT EXISTS \1{self.everywhere}", statement)
        else:
            yield from self._altered(statement)

    def on_nodes(self, statement: str) -> str:
        """Let a statement read each node's own rows."""
        return _SOURCE.sub(r"FROM \1_local", statement) if self.cluster else statement

    def deletion(self, statement: str) -> str:
        """Return a `DELETE` or `ALTER` for where the rows are."""
        if not self.cluster:
            return statement
        changed = _ALTER.sub(rf"\1 \2_local{self.everywhere}", statement, count=1)
        head, where, rest = changed.partition(" WHERE ")
        return head + where + self.on_nodes(rest)

    def _replicated(self, statement: str) -> str:
        local = _TABLE.sub(rf"CREATE TABLE IF NOT EXISTS \1_local{self.everywhere}", statement)
        local = local.replace("non_replicated_deduplication_window", "replicated_deduplication_window")
        return _ENGINE.sub(lambda found: f"ENGINE = Replicated{found[1]}MergeTree({_PATH})", local)

    def _distributed(self, table: str) -> str:
        return (
            f"CREATE TABLE IF NOT EXISTS {table}{self.everywhere} AS {table}_local\n"
            f"ENGINE = Distributed('{self.cluster}', currentDatabase(), '{table}_local', {_sharded_by(table)})"
        )

    def _altered(self, statement: str) -> Iterator[str]:
        """A new column belongs to both tables; an index or a part only to that which holds the rows."""
        found = _ALTER.match(statement)
        if found is None:
            yield statement
            return
        yield _ALTER.sub(rf"\1 \2_local{self.everywhere}", statement, count=1)
        if " COLUMN " in statement:
            yield _ALTER.sub(rf"\1 \2{self.everywhere}", statement, count=1)


def found_layout(handle: Handle) -> Layout:
    """Return how the tables of the handle's database are laid out; a plain layout where there are none."""
    rows = handle.query(
        "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = 'stagelight_schema'"
    ).result_rows
    named = re.match(r"Distributed\('([^']+)'", str(rows[0][0])) if rows else None
    return Layout(cluster=named[1]) if named else Layout()


def has_text_indexes(version: str) -> bool:
    """Whether a server of this version (`26.9.2.1`) has text indexes."""
    numbers = tuple([int(part) for part in version.split(".")[:2] if part.isdecimal()])
    return numbers >= TEXT_INDEXES_FROM


def _sharded_by(table: str) -> str:
    return SHARD_BY.get(table) or (_METRICS if table.startswith("otel_metrics_") else _RUNS)


def _with_text_indexes(table: str, statement: str) -> str:
    """Return the table with the indexes that the exporter gives it on servers that have text indexes."""
    if table not in {"otel_traces", "otel_logs"}:
        return statement
    if table == "otel_traces":
        statement = _VALUES.sub(r"INDEX \1_items \2AttributeItems", statement)
    statement = _BODY.sub(r"\1 TYPE text(tokenizer = 'splitByNonAlpha')", statement)
    return _FILTER.sub("TYPE text(tokenizer = 'array')", statement)
