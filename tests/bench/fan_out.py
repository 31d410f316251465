"""Many viewers: what it costs to tell them, beside the smallest correct broadcast over aiohttp.

Each server is a process of its own, and so is each group of viewers; the viewers are bare sockets that look for the time
in each message. Latency is from the event to the socket of the viewer, on one clock.

    python tests/bench/fan_out.py sse     # 100 rooms of 100 viewers, one event per second and room
    python tests/bench/fan_out.py ws      # the same over WebSockets
    python tests/bench/fan_out.py room    # one room, 1,000 viewers, 20 events per second
    python tests/bench/fan_out.py stalled # the same, in turns without and with one more viewer that never reads
    python tests/bench/fan_out.py rooms   # 10,000 rooms of one viewer, one event per second and room
    python tests/bench/fan_out.py burst   # 5,000 events in a second into a room of 100 viewers
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import resource
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from stagelight.conventions import EventType
from stagelight.events import Event
from stagelight_collector.feed.sse import Feed
from stagelight_collector.feed.ws import SocketFeed
from stagelight_collector.rooms.hub import Hub
from stagelight_collector.rooms.limits import HubLimits
from stagelight_plugins import garbage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection

GROUPS: Final = 2
MARK: Final = b'"time":'
DIGITS: Final = 19


@dataclass(frozen=True)
class Load:
    """What happens."""

    rooms: int
    viewers: int
    """In each room."""
    rate: float
    """Events per second and room."""
    seconds: float
    socket: bool = False

    @property
    def events(self) -> int:
        """How many events a room gets."""
        return round(self.rate * self.seconds)


# --- servers ------------------------------------------------------------------------------------------------------


class Ours:
    """The hub and its feeds."""

    def __init__(self) -> None:
        self.hub = Hub(_no_past, "e", HubLimits(rooms=20_000, viewers=20_000))

    def routes(self) -> Sequence[web.AbstractRouteDef]:
        return [*Feed(self.hub).routes(), *SocketFeed(self.hub).routes()]

    async def open(self, rooms: int) -> None:
        started = [Event(type=EventType.RUN_STARTED, run_id=f"r{number}", time=1) for number in range(rooms)]
        await self.hub.write(started)

    def tell(self, room: int, now: int) -> None:
        self.hub.take(Event(type=EventType.LOG, run_id=f"r{room}", time=now, message="a line of the log"))

    async def look_after(self) -> None:
        while True:
            await asyncio.sleep(1)
            await self.hub.look_after()


class Floor:
    """The smallest correct broadcast: a bounded queue and a task per viewer, each message encoded once."""

    def __init__(self) -> None:
        self.rooms: dict[str, set[asyncio.Queue[bytes]]] = {}

    def routes(self) -> Sequence[web.AbstractRouteDef]:
        return [web.get("/api/v1/runs/{id}/feed", self.sse), web.get("/api/v1/runs/{id}/ws", self.ws)]

    async def open(self, rooms: int) -> None:
        self.rooms = {f"r{number}": set() for number in range(rooms)}

    def tell(self, room: int, now: int) -> None:
        event = {"type": "log", "run_id": f"r{room}", "time": now, "message": "a line of the log"}
        data = json.dumps(event | {"padding": "x" * 560}, separators=(",", ":")).encode()
        for queue in self.rooms[f"r{room}"]:
            queue.put_nowait(data)

    async def look_after(self) -> None:
        await asyncio.Event().wait()

    async def sse(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b": hello\n\n")
        queue = self._join(request)
        while True:
            await response.write(b"event: log\ndata: %b\n\n" % await queue.get())

    async def ws(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        queue = self._join(request)
        while True:
            await socket.send_str((await queue.get()).decode())

    def _join(self, request: web.Request) -> asyncio.Queue[bytes]:
        queue: asyncio.Queue[bytes] = asyncio.Queue(4_096)
        self.rooms[request.match_info["id"]].add(queue)
        return queue


async def _no_past(_run_id: str) -> list[Event]:
    return []


async def _serve(kind: type[Ours | Floor], load: Load, pipe: Connection) -> None:
    server = kind()
    app = web.Application()
    app.add_routes(server.routes())
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4_096).start()
    garbage.quieten()  # as `stagelight up` does
    empty = _resident()
    await server.open(load.rooms)
    looking = asyncio.create_task(server.look_after())
    pipe.send((runner.addresses[0][1], empty))
    while await asyncio.to_thread(pipe.recv) == "go":  # all viewers are here
        idle = _resident()
        before = time.process_time()
        lag = await _publish(server, load)
        await asyncio.sleep(1)
        pipe.send({"idle": idle, "cpu": time.process_time() - before, "lag_ms": lag})
    looking.cancel()
    os._exit(0)


def _resident() -> int:
    """Return the resident memory of this process, in bytes (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def _publish(server: Ours | Floor, load: Load) -> float:
    """Tell each room so many events, evenly over the time; return by how much the loop was late, p99 in ms."""
    total, late = load.events * load.rooms, list[float]()
    start = time.monotonic()
    for number in range(total):
        due = start + number / (load.rate * load.rooms)
        if (wait := due - time.monotonic()) > 0.0005:
            await asyncio.sleep(wait)
        elif number % 50 == 0:
            await asyncio.sleep(0)
        late.append(max(0.0, time.monotonic() - due))
        server.tell(number % load.rooms, time.time_ns())
    return sorted(late)[len(late) * 99 // 100] * 1e3


# --- viewers ------------------------------------------------------------------------------------------------------


@dataclass
class Group(asyncio.Protocol):
    """Notes the latency of each message, of all viewers of a process."""

    latencies: list[float] = field(default_factory=list[float])

    def viewer(self, path: str, *, socket: bool) -> Callable[[], asyncio.Protocol]:
        return lambda: _Viewer(self, path, socket=socket)


class _Viewer(asyncio.Protocol):
    def __init__(self, group: Group, path: str, *, socket: bool) -> None:
        self.latencies = group.latencies
        upgrade = (
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        )
        self.request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{upgrade if socket else ''}\r\n".encode()
        self.answered = asyncio.get_running_loop().create_future()
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        if not self.answered.done():
            self.answered.set_result(None)
        now = time.time_ns()
        data = self.rest + data
        found = end = 0
        while (found := data.find(MARK, end)) >= 0 and found + len(MARK) + DIGITS <= len(data):
            end = found + len(MARK) + DIGITS
            self.latencies.append((now - int(data[found + len(MARK) : end])) / 1e6)
        self.rest = data[max(end, len(data) - len(MARK) - DIGITS) :]


async def _watch(load: Load, share: range, port: int, pipe: Connection) -> None:
    loop, group = asyncio.get_running_loop(), Group()
    suffix = "ws" if load.socket else "feed"
    places = [f"/api/v1/runs/r{number % load.rooms}/{suffix}" for number in share]
    viewers: list[_Viewer] = []
    for start in range(0, len(places), 100):
        opened = [
            loop.create_connection(group.viewer(path, socket=load.socket), "127.0.0.1", port)
            for path in places[start : start + 100]
        ]
        for _, protocol in await asyncio.gather(*opened):
            assert isinstance(protocol, _Viewer)
            viewers.append(protocol)
            await protocol.answered
    pipe.send(len(viewers))
    while await asyncio.to_thread(pipe.recv) == "tell":
        pipe.send(sorted(group.latencies))
        group.latencies.clear()
    os._exit(0)


# --- a run --------------------------------------------------------------------------------------------------------


def _child(entry: Any, *arguments: Any) -> None:
    asyncio.run(entry(*arguments))


@dataclass
class Running:
    """A server and its viewers, each in processes of their own."""

    port: int
    empty: int
    server: Connection
    groups: list[Connection]

    def round(self) -> tuple[dict[str, float], list[float]]:
        """Tell every room its events; return what it cost, and how late the messages were, in order of size."""
        self.server.send("go")
        cost = self.server.recv()
        latencies: list[float] = []
        for group in self.groups:
            group.send("tell")
            latencies += group.recv()
        return cost, sorted(latencies)

    def stop(self) -> None:
        for pipe in (*self.groups, self.server):
            pipe.send("stop")


def start(kind: type[Ours | Floor], load: Load) -> Running:
    """Start a server and let all viewers in."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    context.Process(target=_child, args=(_serve, kind, load, there), daemon=True).start()
    port, empty = here.recv()
    total = load.rooms * load.viewers
    groups: list[Connection] = []
    for number in range(GROUPS):
        ours, theirs = context.Pipe()
        share = range(total * number // GROUPS, total * (number + 1) // GROUPS)
        context.Process(target=_child, args=(_watch, load, share, port, theirs), daemon=True).start()
        groups.append(ours)
    for group in groups:
        group.recv()
    time.sleep(2)
    return Running(port, empty, here, groups)


def measure(kind: type[Ours | Floor], load: Load) -> dict[str, float]:
    """Run a load against a server; return what it cost and how late the messages were."""
    running = start(kind, load)
    server, latencies = running.round()
    running.stop()
    total = load.rooms * load.viewers
    return {
        "expected": total * load.events,
        "delivered": len(latencies),
        "p50": round(latencies[len(latencies) // 2], 2),
        "p99": round(latencies[len(latencies) * 99 // 100], 2),
        "kib_per_viewer": round((server["idle"] - running.empty) / 1024 / total, 1),
        "per_cpu_second": round(len(latencies) / server["cpu"]),
        "loop_lag_p99_ms": round(server["lag_ms"], 1),
    }


def beside_one_that_never_reads(load: Load, rounds: int) -> dict[str, Any]:
    """Tell the same viewers the same events in turns, without and with one more that never reads."""
    running = start(Ours, load)
    running.round()  # warm
    without: list[float] = []
    beside: list[float] = []
    for _ in range(rounds):
        without += running.round()[1]
        with socket.create_connection(("127.0.0.1", running.port)) as stalled:
            stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            stalled.sendall(b"GET /api/v1/runs/r0/feed HTTP/1.1\r\nHost: localhost\r\n\r\n")
            beside += running.round()[1]
    running.stop()
    p99, peer = (sorted(found)[len(found) * 99 // 100] for found in (beside, without))
    return {
        "name": "fan_out_stalled",
        "value": round(p99, 2),
        "unit": "ms p99",
        "peer": round(peer, 2),
        "ratio": round(p99 / peer, 3),
        "target": 1.1,
        "expected": load.viewers * load.events * rounds,
        "delivered": [len(without), len(beside)],
    }


def main(what: str) -> None:
    """Measure one load, ours and the floor, and print one line."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if what == "stalled":
        load = Load(rooms=1, viewers=1_000, rate=20, seconds=5)
        print(json.dumps(beside_one_that_never_reads(load, rounds=5)))
        return
    crowd = Load(rooms=100, viewers=100, rate=1, seconds=10)
    loads = {
        "sse": crowd,
        "ws": Load(rooms=100, viewers=100, rate=1, seconds=10, socket=True),
        "room": Load(rooms=1, viewers=1_000, rate=20, seconds=10),
        "rooms": Load(rooms=10_000, viewers=1, rate=1, seconds=10),
        "burst": Load(rooms=1, viewers=100, rate=5_000, seconds=1),
    }
    load = loads[what]
    ours, floor = measure(Ours, load), measure(Floor, load)
    line: dict[str, Any] = {
        "name": f"fan_out_{what}",
        "value": ours["per_cpu_second"],
        "unit": "deliveries per CPU-second",
        "peer": floor["per_cpu_second"],
        "ratio": round(ours["per_cpu_second"] / floor["per_cpu_second"], 2),
        "ours": ours,
        "floor": floor,
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "sse")
