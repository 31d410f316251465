"""The tables on a cluster and with text indexes: the engine's own parser reads them, and the engine runs what it can."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar

import pytest

from stagelight.conventions import EventType
from stagelight.events import Event
from stagelight_collector.history import HistoryError, Retention, RunFilter, open_history, pruning, schema
from stagelight_collector.history.engine import engine_of
from stagelight_collector.history.layout import Layout, found_layout, has_text_indexes
from stagelight_collector.history.preparing import prepare, script
from stagelight_plugins.hookspecs import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from stagelight_collector.history.engine import Handle

T = TypeVar("T")
CLUSTER: Final = Layout(cluster="main", text_indexes=True)
SERVER: Final = "clickhouse://user:password@host:8123/stage"
NOW: Final = 1_764_000_000_000_000_000
NAMES: Final = {
    "otel_traces", "otel_traces_trace_id_ts", "otel_logs", "otel_metrics_gauge", "otel_metrics_sum", "otel_metrics_histogram",
    "otel_metrics_exponential_histogram", "otel_metrics_summary", "stagelight_schema", "stagelight_events",
    "stagelight_run_states", "stagelight_step_states", "stagelight_run_periods", "stagelight_run_endings",
    "stagelight_run_resumptions",
}  # fmt: skip


@pytest.fixture
def inside(engine_path: Path, dsn: str) -> Iterator[Callable[[Callable[[Handle], T]], T]]:
    """Run a function with a handle of the test's database, in a thread."""
    engine = engine_of(dsn, data_dir=engine_path)
    with ThreadPoolExecutor(1) as thread:

        def connect(database: str | None) -> Handle:
            return engine.connect(database=database, settings={})

        outside = thread.submit(connect, None).result()
        thread.submit(schema.create_database, outside, engine.database).result()
        handle = thread.submit(connect, engine.database).result()
        yield lambda work: thread.submit(work, handle).result()
        thread.submit(handle.close).result()
        thread.submit(outside.close).result()


def cluster_script() -> list[str]:
    return list(script(engine_of(SERVER, data_dir=None), CLUSTER))  # type: ignore[arg-type]  # a server needs none


def test_every_statement_for_a_cluster_is_one_that_the_engine_s_parser_reads(inside: Any) -> None:
    def parsed(handle: Handle) -> None:
        for statement in [*cluster_script(), *deletions()]:
            known = statement.replace("{run_id:String}", "'r'").replace("{traces:Array(String)}", "['t']")
            known = known.replace("{floor:UInt32}", "7")
            text = handle.query("SELECT formatQuery({sql:String})", {"sql": known}).result_rows[0][0]
            assert "ON CLUSTER main" in text or text.startswith("INSERT"), text
            assert handle.query(f"EXPLAIN AST {known}").result_rows

    inside(parsed)


def deletions() -> list[str]:
    return [
        CLUSTER.deletion(statement)
        for statement in (
            *pruning.DELETE_RUN,
            *pruning.DELETE_EXPIRED,
            "ALTER TABLE otel_traces DROP PARTITION ID 'x'",
        )
    ]


def test_on_a_cluster_each_table_is_replicated_and_spread_and_views_stay_on_their_shard() -> None:
    text = "\n".join(cluster_script())

    assert set(re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)_local ON CLUSTER 'main'", text)) == NAMES
    assert set(re.findall(r"CREATE TABLE IF NOT EXISTS (\w+) ON CLUSTER 'main' AS \1_local", text)) == NAMES
    assert len(re.findall(r"ENGINE = Replicated\w*MergeTree\('/clickhouse/tables/\{shard\}/", text)) == len(
        NAMES
    )
    assert not re.search(r"ENGINE = (Aggregating|Replacing)?MergeTree|non_replicated", text)
    views = re.findall(
        r"MATERIALIZED VIEW IF NOT EXISTS \w+ ON CLUSTER 'main' TO (\w+) AS.*?FROM (\w+)", text, re.DOTALL
    )
    assert len(views) == 6
    assert all(name.endswith("_local") for pair in views for name in pair)
    assert set(re.findall(r"'(stagelight_\w+_local)', (\w+\(\w+\))\)", text)) == {
        (f"{name}_local", "cityHash64(RunId)")
        for name in NAMES
        if name.startswith("stagelight_") and name != "stagelight_schema"
    }
    assert all("_local ON CLUSTER 'main'" in statement for statement in deletions())
    assert not re.search(
        r"FROM \w+(?<!_local)\s+WHERE", "\n".join(deletions()).replace("_local ON CLUSTER 'main'", "_local")
    )


async def test_what_a_shard_holds_comes_out_of_the_spread_tables_and_views(
    inside: Any, dsn: str, engine_path: Path
) -> None:
    """No cluster is at hand: plain tables stand for replicated ones, and tables that read a shard for spread ones."""

    def build(handle: Handle) -> None:
        for statement in list(schema.statements(CLUSTER)):
            here = statement.replace(" ON CLUSTER 'main'", "").replace("replicated_ded", "non_replicated_ded")
            here = re.sub(r"ENGINE = Replicated(\w*MergeTree)\([^)]*\)", r"ENGINE = \1", here)
            here = re.sub(
                r"ENGINE = Distributed\('main', currentDatabase\(\), '(\w+)'.*\)",
                r"ENGINE = Merge(currentDatabase(), '^\1$')",
                here,
            )
            handle.command(
                re.sub(r"INSERT INTO (stagelight_run_(?:endings|resumptions))", r"INSERT INTO \1_local", here)
            )
        handle.command(
            "INSERT INTO stagelight_schema_local (Version) SELECT number + 1 FROM numbers({n:UInt32})",
            {"n": schema.VERSION},
        )
        handle.command(
            "INSERT INTO stagelight_events_local (RunId, Time, Type, Workflow, TraceId)"
            " SELECT 'r', fromUnixTimestamp64Nano({at:Int64} + number), ['run_started', 'run_completed'][number + 1], 'etl', 't'"
            " FROM numbers(2)",
            {"at": NOW},
        )

    inside(build)
    history = await open_history(dsn, data_dir=engine_path)
    try:
        (run,) = (await history.list_runs(RunFilter(workflow="etl"))).items
        assert (run.id, run.status, run.started, run.ended) == ("r", "completed", NOW, NOW + 1)
    finally:
        await history.close()


def test_text_indexes_are_made_and_used_by_an_engine_that_has_them(inside: Any) -> None:
    def used(handle: Handle) -> list[str]:
        schema.migrate(handle, Layout(text_indexes=True))
        handle.command(
            "INSERT INTO otel_traces (Timestamp, TraceId, SpanAttributes) SELECT now64(9), toString(number), map('user', toString(number)) FROM numbers(20000)"
        )
        handle.command(
            "INSERT INTO otel_logs (Timestamp, Body) SELECT now64(9), concat('order ', toString(number)) FROM numbers(20000)"
        )
        asked = "EXPLAIN indexes = 1 SELECT count() FROM otel_traces WHERE has(SpanAttributeItems, 'user=17')"
        plan = [str(row[0]).strip() for row in handle.query(asked).result_rows]
        found = "SELECT count() FROM otel_traces WHERE has(SpanAttributeItems, 'user=17')"
        assert handle.query(found).result_rows == [(1,)]
        assert handle.query(
            "SELECT count() FROM otel_logs WHERE hasToken(lower(Body), '17')"
        ).result_rows == [(1,)]
        return plan

    assert any("idx_span_attr_items" in line for line in inside(used))


@pytest.mark.parametrize(
    ("version", "has"),
    [("26.1.9.9", False), ("26.2.1.1", True), ("26.9.2.1", True), ("25.12", False), ("x", False)],
)
def test_which_servers_have_text_indexes(version: str, has: bool) -> None:
    assert has_text_indexes(version) is has


def test_a_plain_layout_changes_nothing() -> None:
    for migration in schema.MIGRATIONS:
        for statement in migration():
            assert list(Layout().statements(statement)) == [statement]
    assert Layout().deletion("DELETE FROM otel_logs WHERE 1") == "DELETE FROM otel_logs WHERE 1"


def test_later_changes_reach_both_tables() -> None:
    alter = "ALTER TABLE otel_logs ADD COLUMN IF NOT EXISTS A UInt8"
    assert list(CLUSTER.statements(alter)) == [
        "ALTER TABLE otel_logs_local ON CLUSTER 'main' ADD COLUMN IF NOT EXISTS A UInt8",
        "ALTER TABLE otel_logs ON CLUSTER 'main' ADD COLUMN IF NOT EXISTS A UInt8",
    ]
    (index,) = CLUSTER.statements("ALTER TABLE otel_logs ADD INDEX IF NOT EXISTS a A TYPE minmax")
    assert index.startswith("ALTER TABLE otel_logs_local ")


# --- init -----------------------------------------------------------------------------------------------------------


def test_a_cluster_is_no_choice_for_the_embedded_engine(tmp_path: Path) -> None:
    embedded = engine_of("chdb://", data_dir=tmp_path)
    with pytest.raises(
        HistoryError, match=r"^a cluster needs a ClickHouse server, .*; set history = 'clickhouse://"
    ):
        list(script(embedded, CLUSTER))
    with pytest.raises(HistoryError, match="is no name of a cluster; SHOW CLUSTERS lists them"):
        list(script(engine_of(SERVER, data_dir=tmp_path), Layout("a' b")))


def _unchecked(engine: object, layout: Layout) -> None:
    """Stand for the check that the engine can have the layout."""


def test_tables_are_made_once_and_stay_where_they_are(
    engine_path: Path, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(dsn, data_dir=engine_path)
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(prepare, engine, "").result() == (Layout(), 0, schema.VERSION)
        assert thread.submit(prepare, engine, "").result() == (Layout(), schema.VERSION, schema.VERSION)
        monkeypatch.setattr("stagelight_collector.history.preparing.check", _unchecked)
        monkeypatch.setattr(Layout, "everywhere", "")  # or it would look for the cluster
        with pytest.raises(HistoryError, match="has tables on one server already, not on the cluster 'main'"):
            thread.submit(prepare, engine, "main").result()


def test_the_layout_of_tables_is_found_by_looking_at_them(inside: Any) -> None:
    class There:
        def query(self, query: str) -> Any:
            del query
            return type(
                "Result",
                (),
                {"result_rows": [("Distributed('main', 'd', 'stagelight_schema_local', Version)",)]},
            )

    assert inside(found_layout) == Layout()
    assert found_layout(There()) == Layout(cluster="main")  # type: ignore[arg-type]  # what it asks is all there is


# --- versions -------------------------------------------------------------------------------------------------------


async def test_a_store_of_the_first_version_becomes_one_of_today_with_all_that_is_in_it(
    dsn: str, engine_path: Path, span_rows: Any, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [Event(type=EventType.RUN_STARTED, run_id="r", time=NOW, workflow="etl")]
    with monkeypatch.context() as old:
        old.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        old.setattr(schema, "VERSION", 1)
        history = await open_history(dsn, data_dir=engine_path)
        await history.insert(Batch(seq=1, events=events, traces=span_rows(3)), "token")
        await history.close()
    assert ask("SELECT max(Version) FROM stagelight_schema") == [(1,)]
    assert ask("EXISTS TABLE otel_metrics_gauge") == [(0,)]

    history = await open_history(dsn, data_dir=engine_path)
    try:
        assert [run.id for run in (await history.list_runs(RunFilter())).items] == ["r"]
        assert len(await history.run_spans("run")) == 3
        await history.insert(Batch(seq=1, events=events, traces=span_rows(3)), "token")
        await history.insert(
            Batch(seq=2, metrics={"otel_metrics_gauge": {"MetricName": ["m"], "TimeUnix": [5]}}), "m"
        )
        assert (await history.prune(Retention(metrics=1), NOW)).dropped[0].table == "otel_metrics_gauge"
    finally:
        await history.close()
    assert ask("SELECT count() FROM otel_traces") == [(3,)]
    assert ask("SELECT Version FROM stagelight_schema ORDER BY Version") == [
        (n + 1,) for n in range(schema.VERSION)
    ]
