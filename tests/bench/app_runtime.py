"""What an app notices of a collector that is down, slow or answers garbage: its own run time.

The app computes in steps of some milliseconds and times itself. The conditions run in turn for many short rounds, in an
order that changes: other load on the machine only ever adds time, so the fastest round of a condition is what the condition itself
costs. The peer is the same app with a collector that answers at once. Prints one JSON line; `value` is the largest ratio
of a bad condition to the peer; `disabled` is the app without the agent, `medians` are there to judge the machine's noise.

    python tests/bench/app_runtime.py
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import sys
from contextlib import suppress
from typing import Final

ROUNDS: Final = 25
STEPS: Final = 150
TARGET: Final = 1.02

APP: Final = f"""
import json, time, stagelight

@stagelight.step
def work(number):
    for _ in range(8):
        sum(value * value for value in range(20_000))

@stagelight.workflow(name="work")
def main():
    for number in range({STEPS}):
        work(number)

begin = time.perf_counter()
main()
print(json.dumps(time.perf_counter() - begin))
"""


async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take the request, and answer a byte a second."""
    with suppress(ConnectionError):
        await reader.read(65_536)
        for byte in b"HTTP/1.1 200 OK\r\n\r\n" * 100:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(1)


async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer what is no HTTP."""
    with suppress(ConnectionError):
        await reader.read(65_536)
        writer.write(os.urandom(4_096))
        await writer.drain()
        writer.close()


async def errors(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer 503."""
    with suppress(ConnectionError):
        await reader.read(65_536)
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()


async def up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer 200 to every request, at once."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            writer.write(answer)
            await writer.drain()


async def seconds(**environment: str) -> float:
    """Run the app once; return its own run time."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", APP, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, **environment},
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, "the app noticed"
    return float(output)


async def main() -> None:
    """Measure and print the line."""
    servers = {
        kind.__name__: await asyncio.start_server(kind, "127.0.0.1", 0)
        for kind in (up, slow, garbage, errors)
    }
    conditions = {
        "disabled": {"OTEL_SDK_DISABLED": "true"},
        "down": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"},
    }
    for name, server in servers.items():
        port = server.sockets[0].getsockname()[1]
        conditions[name] = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
    times: dict[str, list[float]] = {name: [] for name in conditions}
    for _ in range(ROUNDS):
        for name in random.sample(list(conditions), len(conditions)):
            times[name].append(await seconds(**conditions[name]))
    fastest = {name: min(values) for name, values in times.items()}
    ratios = {name: round(least / fastest["up"], 4) for name, least in fastest.items() if name != "up"}
    disabled = ratios.pop("disabled")
    line = {
        "name": "app_runtime",
        "value": max(ratios.values()),
        "unit": "ratio",
        "ratio": max(ratios.values()),
        "ratios": ratios,
        "disabled": disabled,
        "medians": {name: round(statistics.median(values), 4) for name, values in times.items()},
        "rounds": ROUNDS,
        "peer": round(fastest["up"], 4),
        "peer_unit": "s with a collector that answers",
        "target": TARGET,
    }
    sys.stdout.write(json.dumps(line) + "\n")
    os._exit(0)  # the slow server's connections would hold the loop


if __name__ == "__main__":
    asyncio.run(main())
