"""ClickHouse's HTTP interface, asked by clickhouse-connect's HTTP client and by hand, on a real engine."""

from __future__ import annotations

import asyncio
import errno
import gzip
import importlib
import json
import struct
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import pytest_asyncio
from clickhouse_connect.driver.exceptions import DatabaseError

from stagelight_collector import security
from stagelight_collector.clickhouse import ClickHouseInterface, blocks
from stagelight_collector.errors import ClickHousePortUnusable
from stagelight_collector.history import open_history

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path
pytestmark = pytest.mark.asyncio(loop_scope="module")

clickhouse_connect: Any = importlib.import_module("clickhouse_connect")
lz4: Any = importlib.import_module("lz4.block")
"""Not, or not quite, typed."""

HELLO = "SELECT displayName(), version(), revision(), timezone()"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def store(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Path]:
    path = tmp_path_factory.mktemp("chdb")
    history = await open_history(f"chdb://{path}?database=stagelight", data_dir=path)
    interface = ClickHouseInterface(history, "127.0.0.1", 0, security.Policy())
    await interface.start()
    _ports[path] = interface.port
    yield path
    await interface.stop()
    await interface.stop()
    await history.close()


_ports: dict[Path, int] = {}


@pytest.fixture
def url(store: Path) -> str:
    return f"http://127.0.0.1:{_ports[store]}"


@pytest_asyncio.fixture(loop_scope="module")
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(auto_decompress=False) as opened:
        yield opened


async def client(url: str, work: Callable[[Any], Any]) -> Any:
    """Do something with clickhouse-connect's client, which blocks, in a thread."""

    def run() -> Any:
        host, port = url.removeprefix("http://").split(":")
        opened: Any = clickhouse_connect.get_client(
            host=host, port=int(port), username="grafana", database="stagelight"
        )
        try:
            return work(opened)
        finally:
            opened.close()

    return await asyncio.to_thread(run)


async def test_a_client_reads_values_of_all_kinds(url: str) -> None:
    sql = "SELECT number, toString(number), map('a', number), [1, 2], NULL, toDateTime64(1.5, 9, 'UTC') FROM numbers(3)"
    found = await client(url, lambda it: it.query(sql))
    assert [row[:5] for row in found.result_rows] == [(n, str(n), {"a": n}, [1, 2], None) for n in range(3)]
    assert found.result_rows[0][5].timestamp() == 1.5


@pytest.mark.parametrize(
    "value", ["plain", "it's", 'a "b"', "back\\slash", "tab\tand\nline", "", "ä€🎭", "\\N", "{x:String}"]
)
async def test_a_parameter_arrives_as_it_is(url: str, value: str) -> None:
    given = {"text": value, "list": [value, "b"], "none": None}
    found = await client(
        url,
        lambda it: it.query("SELECT {text:String}, {list:Array(String)}, {none:Nullable(Int32)}", given),
    )
    assert found.result_rows == [(value, [value, "b"], None)]


async def test_the_tables_are_those_of_history(url: str) -> None:
    found = await client(url, lambda it: it.query("SHOW TABLES"))
    assert {"otel_traces", "otel_logs", "stagelight_runs"} <= {row[0] for row in found.result_rows}


async def test_a_setting_counts_for_its_question_alone(url: str) -> None:
    sql = "SELECT toUInt64(9007199254740993) AS n FORMAT JSONCompact"
    quoted = {"output_format_json_quote_64bit_integers": 1}
    first = await client(url, lambda it: it.raw_query(sql, settings=quoted))
    second = await client(url, lambda it: it.raw_query(sql))
    assert json.loads(first)["data"] == [["9007199254740993"]]
    assert json.loads(second)["data"] == [[9007199254740993]]


@pytest.mark.parametrize(
    ("name", "value", "holds"),
    [
        ("max_execution_time", "3", "3"), ("max_execution_time", "0", "60"), ("max_execution_time", "9999", "60"),
        ("max_memory_usage", "99999999999", str(512 << 20)), ("max_threads", "64", "2"),
    ],
)  # fmt: skip
async def test_a_limit_can_be_lowered_and_not_raised(
    url: str, session: aiohttp.ClientSession, name: str, value: str, holds: str
) -> None:
    async with session.post(url, params={name: value}, data=f"SELECT getSetting('{name}')") as answer:
        assert (await answer.text()).strip() == holds


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("INSERT INTO otel_logs (Body) VALUES ('x')", 164), ("DROP TABLE otel_logs", 164), ("SET readonly = 0", 164),
        ("SELECT * FROM file('/etc/passwd', 'LineAsString')", 164), ("SELECT file('/etc/passwd')", 164),
        ("SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')", 164), ("SELECT * FROM system.processes", 164),
        ("SELECT 1 INTO OUTFILE 'never'", 164), ("SELECT 1 SETTINGS max_execution_time = 500", 164),
        ("SELECT * FROM nowhere", 60), ("SELECT nothing FROM otel_logs", 47), ("SELEC 1", 62), ("SELECT throwIf(1)", 395),
    ],
)  # fmt: skip
async def test_what_is_refused_has_a_number_that_clients_know(url: str, sql: str, code: int) -> None:
    with pytest.raises(DatabaseError) as error:
        await client(url, lambda it: it.query(sql))
    assert error.value.code == code


async def test_an_error_has_its_name_once(url: str, session: aiohttp.ClientSession) -> None:
    for sql in ("SELECT 1 FORMAT Template", "SELECT 1 FORMAT Nowhere", "SELECT throwIf(1)"):
        async with session.post(url, data=sql) as answer:
            text = (await answer.text()).rstrip()
        assert text.endswith(")")
        name = text.rpartition("(")[2]
        assert text.count(name) == 1, text


async def test_a_format_named_like_a_word_of_the_language_is_a_format(
    url: str, session: aiohttp.ClientSession
) -> None:
    async with session.post(url, data="SELECT 1 FORMAT Null") as answer:
        assert (answer.headers["X-ClickHouse-Format"], await answer.read()) == ("Null", b"")


async def test_nothing_is_inserted(url: str) -> None:
    with pytest.raises(DatabaseError, match="Nothing can be written here"):
        await client(url, lambda it: it.insert("otel_logs", [["x"]], column_names=["Body"]))
    found = await client(url, lambda it: it.query("SELECT count() FROM otel_logs"))
    assert found.result_rows == [(0,)]


@pytest.mark.parametrize(
    ("params", "status", "code", "said"),
    [
        ({"database": "other"}, 404, "81", "history is in stagelight"),
        ({"allow_ddl": "1"}, 403, "452", "allow_ddl"),
        ({"output_format_schema": "never"}, 403, "452", "output_format_schema"),
        ({"max_threads": "many"}, 400, "27", "is a number"),
        ({"decompress": "1"}, 501, "48", "send the statement as it is"),
    ],
)
async def test_a_wrong_request_is_answered_like_a_server_would(
    url: str, session: aiohttp.ClientSession, params: dict[str, str], status: int, code: str, said: str
) -> None:
    async with session.post(url, params=params, data="SELECT 1") as answer:
        assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (status, code)
        text = await answer.text()
    assert text.startswith(f"Code: {code}. DB::Exception: ")
    assert said in text


@pytest.mark.parametrize(("body", "code"), [("", "62"), ("SELECT '" + "x" * (300 << 10) + "'", "307")])
async def test_a_body_is_neither_empty_nor_endless(
    url: str, session: aiohttp.ClientSession, body: str, code: str
) -> None:
    async with session.post(url, data=body) as answer:
        assert answer.headers["X-ClickHouse-Exception-Code"] == code


async def test_headers_say_what_the_answer_is(url: str, session: aiohttp.ClientSession) -> None:
    params = {"query": "SELECT 1 AS a UNION ALL SELECT 2 FORMAT JSONEachRow", "query_id": "mine"}
    async with session.get(url, params=params) as answer:
        assert await answer.text() == '{"a":1}\n{"a":2}\n'
        headers = answer.headers
    assert headers["X-ClickHouse-Format"] == "JSONEachRow"
    assert headers["X-ClickHouse-Query-Id"] == "mine"
    assert headers["X-ClickHouse-Timezone"]
    assert json.loads(headers["X-ClickHouse-Summary"])["result_rows"] == "2"
    assert headers["Content-Type"] == "application/json; charset=UTF-8"


@pytest.mark.parametrize("path", ["/ping", "/", "/replicas_status"])
async def test_it_says_that_it_is_there(url: str, session: aiohttp.ClientSession, path: str) -> None:
    async with session.get(url + path) as answer:
        assert (answer.status, await answer.text()) == (200, "Ok.\n")


async def test_gzip_is_given_to_who_accepts_it(url: str, session: aiohttp.ClientSession) -> None:
    asked = {"params": {"enable_http_compression": "1"}, "headers": {"Accept-Encoding": "gzip"}}
    async with session.post(url, data="SELECT number FROM numbers(1000)", **asked) as answer:  # type: ignore[arg-type] # of several kinds
        assert answer.headers["Content-Encoding"] == "gzip"
        body = gzip.decompress(await answer.read())
    assert body.split() == [str(n).encode() for n in range(1000)]


async def test_compressed_blocks_are_those_of_the_engine(url: str, session: aiohttp.ClientSession) -> None:
    async with session.post(url, params={"compress": "1"}, data="SELECT 'x' FROM numbers(2000000)") as answer:
        body = await answer.read()
    text = b"".join(_unpacked(body))
    assert text == b"x\n" * 2_000_000


def _unpacked(body: bytes) -> list[bytes]:
    found: list[bytes] = []
    while body:
        method, packed, size = struct.unpack_from("<BII", body, 16)
        assert method == 0x82
        found.append(lz4.decompress(body[25 : 16 + packed], uncompressed_size=size))
        body = body[16 + packed :]
    assert len(found) > 1
    return found


async def test_a_block_has_the_checksum_that_the_engine_writes(store: Path) -> None:
    """The engine's own files are made of the same blocks."""
    found = await asyncio.to_thread(lambda: [path.read_bytes() for path in store.glob("store/*/*/*/*.bin")])
    bodies = [body for body in found if body]
    assert bodies
    for body in bodies:
        (packed,) = struct.unpack_from("<I", body, 17)
        assert blocks.checksum(body[16 : 16 + packed]) == body[:16]


@pytest.mark.parametrize(("revision", "flags"), [(54405, 0), (54460, 4)])
async def test_a_client_with_a_revision_learns_that_ours_is_none(
    url: str, session: aiohttp.ClientSession, revision: int, flags: int
) -> None:
    params = {"client_protocol_version": str(revision), "default_format": "Native"}
    async with session.post(url, params=params, data=HELLO) as answer:
        body = await answer.read()
    assert body.startswith(b"\x01\x00\x02\xff\xff\xff\xff\x00\x04\x01\x0ddisplayName()\x06String")
    column = b"\x0arevision()\x06UInt32" + (b"\x00" if flags else b"")
    start = body.index(column) + len(column)
    assert struct.unpack_from("<I", body, start) == (0,)


async def test_a_page_of_another_origin_gets_nothing(url: str, session: aiohttp.ClientSession) -> None:
    async with session.post(url, data="SELECT 1", headers={"Origin": "http://evil.example"}) as answer:
        assert answer.status == 403
    async with session.post(url, data="SELECT 1", headers={"Host": "evil.example"}) as answer:
        assert answer.status == 421


async def test_a_link_on_another_site_asks_nothing(url: str, session: aiohttp.ClientSession) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    async with session.get(url, params={"query": "SELECT 1"}, headers=link) as answer:
        assert answer.status == 403
    async with session.get(url, params={"query": "SELECT 1"}) as answer:
        assert (answer.status, await answer.text()) == (200, "1\n")


async def test_a_port_that_is_taken_is_said(url: str) -> None:
    taken = int(url.rpartition(":")[2])
    other = ClickHouseInterface(Any, "127.0.0.1", taken, security.Policy())  # type: ignore[arg-type] # is never asked
    with pytest.raises(ClickHousePortUnusable, match=f"clickhouse_port {taken}.*choose another") as error:
        await other.start()
    assert isinstance(error.value.__cause__, OSError)
    assert error.value.__cause__.errno == errno.EADDRINUSE
    await other.stop()
