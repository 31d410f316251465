"""Questions in SQL: what only reads history is answered, all else is refused; on a real engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from stagelight_collector.history import open_history, readonly
from stagelight_plugins.errors import QueryFailed, QueryRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from stagelight_collector.history import History
    from stagelight_plugins.hookspecs import QueryResult


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def history(engine_path: Path) -> AsyncIterator[History]:
    """History, opened once: questions change nothing, which is what is tested."""
    opened = await open_history(f"chdb://{engine_path}?database=test_readonly", data_dir=engine_path)
    yield opened
    await opened.close()


async def ask(
    history: History,
    sql: str,
    parameters: dict[str, Any] | None = None,
    *,
    seconds: float = 10,
    rows: int = 10_000,
) -> QueryResult:
    return await history.query(sql, parameters, seconds=seconds, rows=rows)


WRITES = (
    "INSERT INTO otel_logs (Body) VALUES ('x')",
    "INSERT INTO FUNCTION file('{out}') SELECT 1",
    "DROP TABLE otel_logs", "TRUNCATE TABLE otel_logs", "ALTER TABLE otel_logs DELETE WHERE 1", "OPTIMIZE TABLE otel_logs",
    "CREATE TABLE q (a Int8) ENGINE = Memory", "CREATE TEMPORARY TABLE q (a Int8)", "DETACH TABLE otel_logs",
    "RENAME TABLE otel_logs TO q", "EXCHANGE TABLES otel_logs AND otel_traces", "KILL QUERY WHERE 1", "SYSTEM FLUSH LOGS",
    "SET readonly = 0", "USE system", "GRANT ALL ON *.* TO default", "BACKUP TABLE otel_logs TO Disk('a', 'b')", "DELETE FROM otel_logs WHERE 1",
    "SELECT 1 INTO OUTFILE '{out}'", "SELECT 1 INTO OUTFILE '{out}' FORMAT CSV", "SELECT 1 INTO OUTFILE '{out}' TRUNCATE",
    "SELECT 1 PARALLEL WITH SELECT 2", "SHOW PROCESSLIST", "SHOW GRANTS", "CHECK TABLE otel_logs",
    "EXPLAIN INSERT INTO otel_logs SELECT * FROM otel_logs", "EXPLAIN SYNTAX DROP TABLE otel_logs",
    "EXPLAIN TABLE OVERRIDE mysql('a')",
)  # fmt: skip

TWO_STATEMENTS = (
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP TABLE otel_logs",
    "SELECT 1 /* ; */ ; SELECT 1 INTO OUTFILE '{out}'",
    "SELECT 'a'';'; SELECT 1 INTO OUTFILE '{out}'",
    "SELECT 1) ; SELECT 1 INTO OUTFILE '{out}' ; SELECT (1",
)

REACHES_OUT = (
    "SELECT file('{secret}')", "SELECT FILE('{secret}')", "SELECT arrayMap(file, ['{secret}'])",
    "SELECT arrayMap(x -> file(x), ['{secret}'])", "SELECT * APPLY(x -> file(x)) FROM (SELECT '{secret}' AS a)",
    "SELECT * APPLY(file) FROM (SELECT '{secret}' AS a)", "WITH file('{secret}') AS a SELECT a",
    "SELECT * REPLACE (file(a) AS a) FROM (SELECT '{secret}' AS a)", "SELECT 1 ORDER BY file('{secret}')",
    "SELECT sum(1) OVER (PARTITION BY file('{secret}'))", "SELECT sum(1) OVER w WINDOW w AS (ORDER BY file('{secret}'))",
    "SELECT 1 WHERE 1 IN (SELECT file('{secret}'))", "SELECT 1 LIMIT length(file('{secret}'))", "SELECT `file`('{secret}')",
    "SELECT * FROM file('{secret}', LineAsString)", "SELECT * FROM file('{secret}')", "SELECT * FROM `{secret}`",
    "SELECT * FROM url('http://127.0.0.1:1/', CSV)", "SELECT * FROM s3('http://127.0.0.1:1/a/b', CSV)",
    "SELECT * FROM executable('ls', TSV, 'a String')", "SELECT * FROM remote('127.0.0.1', system.one)",
    "SELECT * FROM mysql('a:1', 'b', 'c', 'd', 'e')", "SELECT * FROM sqlite('{secret}', 'a')", "SELECT * FROM python('x')",
    "SELECT * FROM merge('system', '.*')", "SELECT * FROM loop(otel_logs)", "SELECT * FROM dictionary('a')", "SELECT * FROM eval('SELECT 1')",
    "SELECT * FROM view(SELECT file('{secret}'))", "SELECT * FROM otel_logs JOIN url('http://127.0.0.1:1/') AS u USING Body",
    "SELECT * FROM cluster('default', system.one)", "SELECT * FROM filesystem('/etc')", "SELECT * FROM icebergLocal('/etc')",
    "SELECT dictGet('a', 'b', 1)", "SELECT joinGet('a.b', 'c', 1)", "SELECT hasColumnInTable('h', 'u', 'p', 'd', 't', 'c')",
    "SELECT aiGenerate('a', 'b')", "SELECT AIGenerate('a', 'b')", "SELECT addressToLine(1)", "SELECT sleep(3)",
    "SELECT sleepEachRow(1) FROM numbers(10)", "DESCRIBE TABLE file('{secret}')", "EXPLAIN SELECT * FROM file('{secret}')",
    "SELECT * FROM system.users", "SELECT * FROM system.processes", "SELECT * FROM `system`.`named_collections`",
    "SELECT 1 WHERE 1 IN system.users", "SELECT 1 WHERE 1 GLOBAL NOT IN `system`.users", "WITH q AS (SELECT * FROM system.query_log) SELECT * FROM q",
    "SELECT * FROM other.table", "SHOW CREATE TABLE system.users", "EXISTS TABLE other.x",
)  # fmt: skip

LIFTS_LIMITS = (
    "SELECT 1 SETTINGS readonly = 0", "SELECT 1 SETTINGS max_memory_usage = 0", "SELECT 1 SETTINGS limit = 1000000",
    "SELECT * FROM (SELECT 1 SETTINGS max_execution_time = 0)", "SELECT 1 FORMAT CSV SETTINGS max_execution_time = 0",
    "SELECT 1 SETTINGS max_execution_time = 0 FORMAT CSV", "SELECT 1 UNION ALL SELECT 2 SETTINGS max_threads = 64",
)  # fmt: skip


@pytest.mark.parametrize("sql", [*WRITES, *TWO_STATEMENTS, *REACHES_OUT, *LIFTS_LIMITS])
async def test_what_is_more_than_a_question_is_refused(history: History, sql: str, tmp_path: Path) -> None:
    secret, out = tmp_path / "secret", tmp_path / "out"
    secret.write_text("the secret")
    with pytest.raises((QueryRefused, QueryFailed)) as refused:
        await ask(history, sql.replace("{secret}", str(secret)).replace("{out}", str(out)))
    assert "the secret" not in str(refused.value)
    if isinstance(
        refused.value, QueryFailed
    ):  # what the parser does not take, or a table that is a file's path
        assert refused.value.code == (60 if sql.startswith("SELECT * FROM `{") else 62), refused.value
    assert not out.exists()
    assert (await ask(history, "EXISTS otel_logs")).rows == [[1]]


ANSWERED = (
    "SELECT 1", "select 1;", "-- a\nSELECT /* ; */ 1 -- b", "SELECT count() FROM otel_logs", "FROM otel_logs SELECT count()",
    "WITH q AS (SELECT 1 AS a UNION ALL SELECT 2) SELECT sum(a) FROM q", "WITH RECURSIVE q AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM q WHERE n < 5) SELECT sum(n) FROM q",
    "SELECT * FROM (VALUES (1), (2))", "SELECT * FROM values('a Int', 1, 2)", "SELECT * FROM numbers(3)",
    "SELECT quantilesTDigestIf(0.5, 0.9)(number, number > 1) FROM numbers(10)", "SELECT * EXCEPT number FROM (SELECT number, 1 AS b FROM numbers(2))",
    "SELECT COLUMNS('n') REPLACE (number + 1 AS number) FROM numbers(2)", "SELECT row_number() OVER (PARTITION BY number % 2 ORDER BY number ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM numbers(4)",
    "SELECT sum(number) OVER w FROM numbers(2) WINDOW w AS (ORDER BY number)", "SELECT arrayMap(x -> upper(x), ['a']), arrayMap(upper, ['a'])",
    "SELECT number FROM numbers(9) WHERE number IN (1, 2) AND number NOT IN (SELECT 3) ORDER BY number DESC LIMIT 1 BY number LIMIT 2 WITH TIES",
    "SELECT RunId, Status FROM stagelight_runs AS r LEFT JOIN stagelight_steps AS s USING RunId WHERE r.Started > now() - INTERVAL 1 DAY",
    "SELECT toStartOfInterval(Timestamp, INTERVAL 60 SECOND) AS time, count() FROM otel_traces GROUP BY time ORDER BY time WITH FILL STEP 60",
    "SELECT SpanAttributes['a'], mapKeys(ResourceAttributes), Events.Name FROM otel_traces PREWHERE Duration > 1", "SELECT 1 INTERSECT SELECT 1", "SELECT CAST(1, 'String'), 1::UInt8, CASE WHEN 1 THEN 2 ELSE 3 END, date '2020-01-01'",
    "SELECT number FROM numbers(2) ARRAY JOIN [1, 2] AS a", "SELECT a, sum(b) FROM (SELECT 1 AS a, 2 AS b) GROUP BY GROUPING SETS ((a), ()) HAVING 1 QUALIFY 1", "SELECT format('{} {}', 'a', 'b')",
    "SHOW TABLES", "SHOW CREATE TABLE otel_logs", "SHOW COLUMNS FROM otel_logs", "DESCRIBE otel_logs", "DESCRIBE (SELECT 1)", "EXISTS otel_logs",
    "EXPLAIN SELECT 1", "EXPLAIN PLAN indexes = 1 SELECT * FROM otel_logs", "EXPLAIN SYNTAX SELECT 1", "SELECT name FROM system.tables", "SELECT * FROM information_schema.tables",
    "SELECT 1 FORMAT JSON", "SELECT 1 FORMAT Null", "SELECT 'INTO OUTFILE; DROP TABLE x SETTINGS a = 1\nFORMAT y'", "SELECT 1 AS `a;b\nFunction file`",
)  # fmt: skip


@pytest.mark.parametrize("sql", ANSWERED)
async def test_a_question_is_answered(history: History, sql: str) -> None:
    found = await ask(history, sql)
    assert len(found.columns) == len(found.types) >= 1
    assert all(len(row) == len(found.columns) for row in found.rows)


async def test_values_come_as_json_has_them(history: History) -> None:
    found = await ask(
        history,
        "SELECT toUInt64(18446744073709551615) AS a, nan AS b, toDateTime64('2026-01-02 03:04:05.5', 3, 'UTC') AS c, "
        "map('k', 1) AS d, NULL AS e, [true] AS f",
    )
    assert found.columns == ("a", "b", "c", "d", "e", "f")
    assert found.types[:3] == ("UInt64", "Float64", "DateTime64(3, 'UTC')")
    assert found.rows == [[2**64 - 1, None, "2026-01-02T03:04:05.500Z", {"k": 1}, None, [True]]]
    assert not found.truncated


async def test_more_rows_than_asked_for_are_cut_off(history: History) -> None:
    found = await ask(history, "SELECT number FROM numbers(1000000)", rows=3)
    assert (found.rows, found.truncated) == ([[0], [1], [2]], True)
    exact = await ask(history, "SELECT number FROM numbers(3)", rows=3)
    assert (exact.rows, exact.truncated) == ([[0], [1], [2]], False)


async def test_parameters_are_bound_and_never_text(history: History) -> None:
    hostile = "'; DROP TABLE otel_logs; --"
    found = await ask(history, "SELECT {a:String} AS a, {b:UInt8} + 1", {"a": hostile, "b": 2})
    assert found.rows == [[hostile, 3]]
    with pytest.raises(QueryRefused, match="no place for the parameter c"):
        await ask(history, "SELECT '%(c)s'", {"c": "x', file('/etc/passwd'), '"})
    with pytest.raises(QueryRefused, match=r"system\.users is no table of history"):
        await ask(history, "SELECT * FROM {t:Identifier}", {"t": "system.users"})
    with pytest.raises(QueryRefused, match="stands for a function"):
        await ask(history, "SELECT arrayMap({f:Identifier}, ['/etc/passwd'])", {"f": "file"})


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT sum(number) FROM numbers(100000000000)", 159),
        ("SELECT groupArray(number) FROM numbers(300000000)", 241),
        ("SELECT length(repeat('x', 1000000)) AS a, groupArray(repeat('x', 1000000)) FROM numbers(60)", 396),
        ("SELECT nonsense", 47),
        ("SELECT * FROM nowhere", 60),
    ],
)
async def test_limits_and_mistakes_are_told_with_the_engines_code(
    history: History, sql: str, code: int
) -> None:
    with pytest.raises(QueryFailed) as failed:
        await ask(history, sql, seconds=1 if code == 159 else 30)
    assert failed.value.code == code, failed.value
    assert "\n" not in str(failed.value)
    assert not str(failed.value).startswith("Code")
    assert (await ask(history, "SELECT 2")).rows == [[2]]


async def test_a_question_that_is_too_long_is_not_parsed(history: History) -> None:
    with pytest.raises(QueryRefused, match="longer than"):
        await ask(history, "SELECT 1 -- " + "x" * readonly.MAX_SQL)
