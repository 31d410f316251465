"""What an attacker sends does not become memory: measured in a process of its own, on real connections."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import subprocess
import sys
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession

if TYPE_CHECKING:
    from collections.abc import Generator

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads memory from /proc")

PROGRAM = Path(__file__).with_name("receiver_under_attack.py")
MIB = 1 << 20


@dataclass
class Target:
    """The receiver under attack."""

    port: int
    stdin: IO[str]
    stdout: IO[str]

    def report(self) -> dict[str, Any]:
        """What happened since the last report."""
        self.stdin.write("report\n")
        self.stdin.flush()
        report: dict[str, Any] = json.loads(self.stdout.readline())
        return report

    async def send(self, body: bytes, encoding: str = "identity", times: int = 1) -> list[int]:
        """The answers' statuses."""
        headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": encoding}

        async def one(session: ClientSession) -> int:
            url = f"http://127.0.0.1:{self.port}/v1/traces"
            async with session.post(url, data=io.BytesIO(body), headers=headers) as response:
                await response.read()
                return response.status

        async with ClientSession() as session:
            return await asyncio.gather(*(one(session) for _ in range(times)))


@contextmanager
def _target() -> Generator[Target]:
    command = [sys.executable, str(PROGRAM)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Target(int(process.stdout.readline()), process.stdin, process.stdout)
            process.stdin.close()
            assert process.wait(30) == 0
        finally:
            process.kill()


def _bomb(size: int) -> bytes:
    """A gzip of zeros without its end; made of equal parts, since compressing that much takes seconds."""
    compressor = zlib.compressobj(9, wbits=31)
    first, part = (compressor.compress(bytes(MIB)) + compressor.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + part * (size // MIB - 1)


def _field(number: int, body: bytes) -> bytes:
    size, head = len(body), bytearray()
    while size > 127:
        head.append(size & 127 | 128)
        size >>= 7
    return bytes([number << 3 | 2, *head, size]) + body


def _attacks() -> dict[str, tuple[bytes, str, int]]:
    """What is sent, how, and the answer."""
    count = 8_000_000  # two bytes each: just under the limit of 16 MiB
    spans = _field(1, _field(2, _field(2, b"") * count))
    return {
        "a gzip of 1 GiB": (_bomb(1 << 30), "gzip", 413),
        "empty spans": (spans, "identity", 413),
        "empty spans, compressed": (gzip.compress(spans), "gzip", 413),
        "20 MB of empty spans": (_field(1, _field(2, _field(2, b"") * 10_000_000)), "identity", 413),
        "empty attributes": (_field(1, _field(1, _field(1, b"") * count)), "identity", 413),
        "empty links": (_field(1, _field(2, _field(2, _field(13, b"") * count))), "identity", 413),
        "empty resources": (_field(1, b"") * count, "identity", 413),
        "one number again and again": (_field(1, _field(2, _field(2, b"\x30\x01" * count))), "identity", 413),
        "as many spans as a small body holds": (
            _field(1, _field(2, _field(2, b"") * 130_000)),
            "identity",
            413,
        ),
        "as many resources as a small body holds": (_field(1, b"") * 130_000, "identity", 200),
        "one large text": (_field(1, _field(2, _field(2, _field(5, b"x" * 16_000_000)))), "identity", 200),
    }


async def test_no_attack_takes_more_than_64_mib() -> None:
    with _target() as target:
        await target.send(_field(1, _field(2, _field(2, b"") * 50_000)))
        target.report()
        for name, (body, encoding, status) in _attacks().items():
            assert await target.send(body, encoding) == [status], name
            report = target.report()
            print(f"{name}: {report}")  # the figures, for whoever asks
            assert report["grown"] <= 64 * MIB, name
            assert report["turns"] > 0


async def test_twenty_attacks_at_once_take_no_more_than_256_mib() -> None:
    with _target() as target:
        await target.send(_field(1, _field(2, _field(2, b"") * 50_000)))
        target.report()
        attacks = _attacks()
        for name in ("a gzip of 1 GiB", "empty spans, compressed", "empty attributes", "one large text"):
            body, encoding, status = attacks[name]
            statuses = await target.send(body, encoding, times=20)
            assert set(statuses) <= {status, 429}, name
            assert status in statuses, name
            report = target.report()
            print(f"{name}: {report}")  # the figures, for whoever asks
            assert report["grown"] <= 256 * MIB, name
