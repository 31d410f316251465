"""Spans accepted, journaled (synced) and inserted into the embedded ClickHouse, per second of CPU of all who take part.

Batches of 512 and of 100 spans of 8 attributes, plain and gzip, as fast as they are taken, several times in turn with the
peer; the CPU of the merges that follow is counted. Then 10,000 spans a second for a while, in both sizes: share of a
core, acknowledgements, the event loop (how long `/healthz` takes), memory. The peer is `rotel` (PyPI), a collector in
Rust without a journal, with its ClickHouse exporter pointed at a sink that inserts what it sends into the same table in
the same engine, as we do; the sink's CPU counts as its own. Where rotel is not installed there is no peer.

A second peer is Arize Phoenix, which keeps spans in SQLite, where its executable is named; it is best installed in an
environment of its own. It is sent few spans, and once: each takes it some milliseconds.

Prints one JSON line; `value` is spans per CPU-second, batches of 512, plain; each figure is the median of its rounds.

    python tests/bench/ingest.py [--spans 200000] [--rounds 3] [--seconds 20] [--phoenix ~/phoenix/bin/phoenix]
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import importlib.util
import json
import os
import random
import re
import socket
import sqlite3
import statistics
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import aiohttp
import psutil
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping

CONNECTIONS: Final = 4
RATE: Final = 10_000
IDLE: Final = 0.05
"""Seconds of CPU in a second in which next to nothing is done."""
MARK: Final = b"\x5a" * 12
"""In every trace id: replaced in each body, because bodies that are equal are taken once."""
SPAN_MARK: Final = b"\x5b" * 4
"""The same in every span id: Phoenix takes each once, of whatever trace."""
PHOENIX_SPANS: Final = 4_096
TEXTS: Final = {
    "http.request.method": "GET",
    "server.address": "shop.example",
    "network.protocol.version": "1.1",
    "user_agent.original": "Mozilla/5.0 (X11; Linux x86_64)",
    "http.route": "/item/{id}",
}


def template(spans: int) -> bytes:
    """Return a request."""
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    for key, value in {
        "service.name": "checkout",
        "host.name": "a",
        "telemetry.sdk.language": "python",
    }.items():
        resource_spans.resource.attributes.add(key=key).value.string_value = value
    scope_spans = resource_spans.scope_spans.add()
    scope_spans.scope.name = "http"
    now = time.time_ns()
    for number in range(spans):
        span = scope_spans.spans.add(
            name=f"GET /item/{number % 20}", kind=2, start_time_unix_nano=now + number
        )
        span.trace_id, span.span_id = number.to_bytes(4) + MARK, number.to_bytes(4) + SPAN_MARK
        span.end_time_unix_nano = now + number + 5_000_000
        for key, value in TEXTS.items():
            span.attributes.add(key=key).value.string_value = value
        span.attributes.add(key="url.full").value.string_value = f"http://shop.example/item/{number}?page=2"
        span.attributes.add(key="http.response.status_code").value.int_value = 200
        span.attributes.add(key="server.port").value.int_value = 443
    return request.SerializeToString()


def bodies(batch: int, spans: int, packed: bool) -> Iterator[bytes]:
    """Yield requests that are all different, of as many spans in all."""
    one = template(batch)
    for _ in range(spans // batch):
        body = one.replace(MARK, random.randbytes(12)).replace(SPAN_MARK, random.randbytes(4))
        yield gzip.compress(body, 1) if packed else body


@asynccontextmanager
async def process(
    *arguments: str, output: int = DEVNULL, environment: Mapping[str, str] = os.environ
) -> AsyncGenerator[Process]:
    """Run a process until the block ends; its `output` goes nowhere, if it is not to be read: a full pipe would stop it."""
    child = await asyncio.create_subprocess_exec(*arguments, stdout=output, stderr=DEVNULL, env=environment)
    try:
        yield child
    finally:
        child.terminate()
        await child.wait()


def cpu(pids: list[int]) -> float:
    """Return the seconds of CPU of these processes."""
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


async def send(session: aiohttp.ClientSession, url: str, body: bytes, packed: bool) -> float:
    """Send until it is accepted; return the seconds of the last try."""
    headers = {"Content-Type": "application/x-protobuf", **({"Content-Encoding": "gzip"} if packed else {})}
    while True:
        begin = time.perf_counter()
        async with session.post(f"{url}/v1/traces", data=body, headers=headers) as answer:
            await answer.read()
        if answer.status == 200:
            return time.perf_counter() - begin
        await asyncio.sleep(0.1)


class Side(NamedTuple):
    """One of the two."""

    url: str
    pids: list[int]
    stored: Callable[[], Awaitable[int]]
    """How many spans it has stored."""
    watched: str = ""
    """An address that is asked ten times a second while spans come in steadily."""


async def settle(pids: list[int]) -> None:
    """Wait until next to nothing is done, at most a minute: merges go on after the last span is stored."""
    quiet, until, used = 0, time.monotonic() + 60, cpu(pids)
    while quiet < 3 and time.monotonic() < until:
        await asyncio.sleep(1)
        now = cpu(pids)
        quiet, used = quiet + 1 if now - used < IDLE else 0, now
    if quiet < 3:
        print("it did not come to rest in a minute: the next figure has some of this one", file=sys.stderr)


async def per_cpu_second(side: Side, batch: int, spans: int, packed: bool) -> float:
    """Send as fast as it is taken, wait until all is stored and merged; return spans per second of CPU."""
    ready = list(bodies(batch, spans, packed))
    expected = await side.stored() + len(ready) * batch
    begin = cpu(side.pids)
    async with aiohttp.ClientSession() as session:

        async def sender() -> None:
            while ready:
                await send(session, side.url, ready.pop(), packed)

        await asyncio.gather(*(sender() for _ in range(CONNECTIONS)))
        while await side.stored() < expected:  # noqa: ASYNC110 - another process, asked over HTTP
            await asyncio.sleep(0.2)
    await settle(side.pids)
    return spans // batch * batch / (cpu(side.pids) - begin)


async def floods(sides: list[Side], spans: int, rounds: int) -> list[dict[str, float]]:
    """Return for each side spans per CPU-second in both sizes, plain and gzip, after a warm-up."""
    for side in sides:
        await per_cpu_second(side, 512, min(spans, 50_000), False)
    found: list[dict[str, float]] = [{} for _ in sides]
    for batch in (512, 100):
        for packed in (False, True):
            seen = [
                [await per_cpu_second(side, batch, spans, packed) for side in sides] for _ in range(rounds)
            ]
            for one, values in zip(found, zip(*seen, strict=True), strict=True):
                one[f"{batch}_{'gzip' if packed else 'plain'}"] = round(statistics.median(values))
    return found


async def paced(side: Side, seconds: int, batch: int) -> dict[str, float]:
    """Send 10,000 spans a second; return what that costs."""
    url, pids = side.url, side.pids
    await settle(pids)
    acknowledged: list[float] = []
    looked: list[float] = []
    begin, used, memory = time.perf_counter(), cpu(pids), resident(pids)
    pause = max(1, RATE // batch // 10)
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:

        async def one(body: bytes) -> None:
            acknowledged.append(await send(session, url, body, False))

        for number, body in enumerate(bodies(batch, RATE * seconds, False)):
            tasks.create_task(one(body))
            if side.watched and number % pause == 0:
                start = time.perf_counter()
                async with session.get(side.watched) as answer:
                    await answer.read()
                looked.append(time.perf_counter() - start)
            await asyncio.sleep(max(0.0, begin + number * batch / RATE - time.perf_counter()))
    found = {
        "core_at_10k": round((cpu(pids) - used) / (time.perf_counter() - begin), 3),
        "ack_p99_ms": round(statistics.quantiles(acknowledged, n=100)[98] * 1e3, 1),
        "grown_mib": round((resident(pids) - memory) / 2**20, 1),
    }
    if looked:
        found["loop_p99_ms"] = round(statistics.quantiles(looked, n=100)[98] * 1e3, 1)
    return {f"{name}_{batch}": value for name, value in found.items()}


def resident(pids: list[int]) -> int:
    """Return the bytes of memory of these processes."""
    return sum(psutil.Process(pid).memory_info().rss for pid in pids)


async def metric(url: str, name: str) -> int:
    """Read a metric of the collector."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as answer:
        found = re.search(rf"^{name} (\S+)$", await answer.text(), re.MULTILINE)
    return int(float(found[1])) if found else 0


@asynccontextmanager
async def stagelight() -> AsyncGenerator[Side]:
    """Run a collector of ours."""
    with tempfile.TemporaryDirectory() as directory:
        arguments = ("-m", "stagelight_collector", "up", "--port", "0", "--data-dir", directory)
        async with process(sys.executable, *arguments, output=PIPE) as child:
            assert child.stdout is not None
            url = (await child.stdout.readline()).decode().split()[-1]

            async def stored() -> int:
                return await metric(url, "stagelight_history_rows_total")

            yield Side(url, [child.pid], stored, f"{url}/healthz")


async def listening(child: Process, port: int) -> None:
    """Wait until a process listens on a port, at most a minute."""
    for _ in range(300):
        for one in psutil.Process(child.pid).net_connections(kind="tcp"):
            if one.status == psutil.CONN_LISTEN and one.laddr.port == port:
                return
        await asyncio.sleep(0.2)
    raise SystemExit(f"{psutil.Process(child.pid).cmdline()} does not listen")


# --- the peers ------------------------------------------------------------------------------------------------------


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def sink(port: int) -> None:
    """Take a ClickHouse exporter's inserts over HTTP, and put them into our table in the embedded engine."""
    from concurrent.futures import ThreadPoolExecutor

    from stagelight_collector.history import otlp, schema
    from stagelight_collector.history.engine import ChdbEngine

    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(1) as writer:
        engine = ChdbEngine(path=directory, database="otel")

        def opened() -> Any:
            schema.create_database(engine.connect(database=None, settings={}), "otel")
            handle = engine.connect(database="otel", settings={})
            schema.migrate(handle)
            return handle

        handle = writer.submit(opened).result()

        def insert(query: str, body: bytes) -> None:
            columns, kind = re.findall(r"\((.*)\).*FORMAT\s+(\w+)", query, re.DOTALL)[0]
            with tempfile.NamedTemporaryFile() as file:
                file.write(body)
                file.flush()
                settings = f"exclude_materialize_skip_indexes_on_insert = '{otlp.MADE_BY_MERGES}'"
                infile = f"FROM INFILE '{file.name}' SETTINGS {settings} FORMAT {kind}"
                handle.command(f"INSERT INTO otel_traces ({columns}) {infile}")

        async def take(request: web.Request) -> web.Response:
            if request.method == "GET":
                rows = await asyncio.wrap_future(
                    writer.submit(lambda: handle.query("SELECT count() FROM otel_traces").result_rows[0][0])
                )
                return web.json_response(rows)
            await asyncio.wrap_future(writer.submit(insert, request.query["query"], await request.read()))
            return web.Response()

        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/", take)
        web.run_app(app, host="127.0.0.1", port=port, print=None)


@asynccontextmanager
async def rotel() -> AsyncGenerator[Side]:
    """Run the peer with its sink."""
    package = importlib.util.find_spec("rotel")
    assert package is not None
    assert package.origin is not None
    port, http, grpc = free_port(), free_port(), free_port()
    where = f"http://127.0.0.1:{port}"
    binary = str(Path(package.origin).with_name("rotel-agent"))
    options = {
        "exporter": "clickhouse",
        "clickhouse-exporter-endpoint": where,
        "clickhouse-exporter-compression": "none",
        "otlp-http-endpoint": f"127.0.0.1:{http}",
        "otlp-grpc-endpoint": f"127.0.0.1:{grpc}",
    }
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    async with (
        process(sys.executable, __file__, "--sink", str(port)) as taking,
        aiohttp.ClientSession() as session,
    ):

        async def stored() -> int:
            async with session.get(where) as answer:
                return int(await answer.json())

        await listening(taking, port)
        async with process(binary, "start", *flags) as child:
            await asyncio.sleep(1)
            yield Side(f"http://127.0.0.1:{http}", [child.pid, taking.pid], stored)


@asynccontextmanager
async def phoenix(binary: str) -> AsyncGenerator[Side]:
    """Run Arize Phoenix; nothing of it leaves the machine."""
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        settings = {
            **os.environ,
            "PHOENIX_WORKING_DIR": directory,
            "PHOENIX_HOST": "127.0.0.1",
            "PHOENIX_PORT": str(port),
            "PHOENIX_GRPC_PORT": str(free_port()),
            "PHOENIX_TELEMETRY_ENABLED": "false",
            "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
        }

        async def stored() -> int:
            with closing(sqlite3.connect(f"file:{directory}/phoenix.db?mode=ro", uri=True)) as database:
                return int(database.execute("SELECT count(*) FROM spans").fetchone()[0])

        async with process(binary, "serve", environment=settings) as child:
            await listening(child, port)
            yield Side(f"http://127.0.0.1:{port}", [child.pid], stored)


async def compare(spans: int, rounds: int, seconds: int, other: str | None) -> None:
    """Measure all, and print the line; `other` is Phoenix's executable."""
    async with AsyncExitStack() as running:
        sides = [await running.enter_async_context(stagelight())]
        if importlib.util.find_spec("rotel"):
            sides.append(await running.enter_async_context(rotel()))
        found = await floods(sides, spans, rounds)
        for one, side in zip(found, sides, strict=True):
            for batch in (512, 100):
                one.update(await paced(side, seconds, batch))
    ours, *peer = found
    line: dict[str, Any] = {"name": "stagelight", "value": ours["512_plain"], "unit": "spans per CPU-second"}
    if peer:
        line |= {"peer": "rotel", "ratio": round(ours["512_plain"] / peer[0]["512_plain"], 2)}
    line |= {**ours, "rotel": dict(*peer)}
    if other:
        async with phoenix(other) as side:
            line["phoenix"] = {"512_plain": round(await per_cpu_second(side, 512, PHOENIX_SPANS, False))}
    print(json.dumps({**line, "load": os.getloadavg()[0]}))


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spans", type=int, default=200_000, help="spans of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured")
    parser.add_argument("--seconds", type=int, default=20, help="how long 10,000 spans a second are sent")
    parser.add_argument("--phoenix", help="the executable of Arize Phoenix, to measure it, too")
    parser.add_argument("--sink", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.sink:
        sink(arguments.sink)
    else:
        asyncio.run(compare(arguments.spans, arguments.rounds, arguments.seconds, arguments.phoenix))


if __name__ == "__main__":
    main()
