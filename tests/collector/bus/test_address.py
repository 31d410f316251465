"""How the bus's DSN is read, and what is said of wrong ones."""

from __future__ import annotations

import sys

import pytest

from stagelight_collector.bus.address import address_of, open_bus
from stagelight_collector.bus.contract import BusUnusable
from stagelight_collector.bus.memory import MemoryBus


def test_a_dsn_is_taken_apart() -> None:
    found = address_of("nats://me:pw@a:4000,b/shop?replicas=3&keep_seconds=600")

    assert found.servers == ("nats://me:pw@a:4000", "nats://b")
    assert found.place == "nats://a:4000,b:4222"
    assert (found.stream, found.replicas, found.keep_seconds, found.keep_bytes) == ("shop", 3, 600, 1 << 30)


@pytest.mark.parametrize(
    ("dsn", "problem"),
    [
        ("redis://secret@host", "no address like nats://host:4222"),
        ("host:4222", "no address like nats://host:4222"),
        ("nats://", "no host"),
        ("nats://secret@", "no host"),
        ("nats://secret@host:port", "a port that is none"),
        ("nats://host:99999", "a port that is none"),
        ("nats://host/a.b", "stream 'a.b' may have letters"),
        ("nats://host?copies=3", "no option 'copies'; possible are replicas, keep_seconds, keep_bytes"),
        ("nats://host?replicas=9", "replicas is no number from 1 to 5"),
        ("nats://host?keep_seconds=x", "keep_seconds is no number from 60 to 604800"),
    ],
)
def test_a_wrong_dsn_is_told_in_one_line(dsn: str, problem: str) -> None:
    with pytest.raises(BusUnusable) as caught:
        address_of(dsn)

    assert problem in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_without_a_dsn_the_bus_is_in_memory() -> None:
    assert isinstance(await open_bus("", name="t", kept=int), MemoryBus)


async def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stagelight_collector.bus.nats", None)
    with pytest.raises(BusUnusable, match=r"pip install 'stagelight\[nats\]'"):
        await open_bus("nats://host", name="t", kept=int)
