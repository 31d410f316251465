"""Where the bus is: `nats://[user:password@]host:4222[,host2…][/stream][?replicas=3&keep_seconds=3600&keep_bytes=…]`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit

from stagelight_collector.bus.contract import BusUnusable
from stagelight_collector.bus.memory import MemoryBus

if TYPE_CHECKING:
    from collections.abc import Callable

    from stagelight_collector.bus.contract import Bus

STREAM: Final = "stagelight"
SCHEMES: Final = frozenset({"nats", "tls"})
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NO_HOST: Final = "the bus has no host, or a port that is none; write `bus` like nats://host:4222"
_OPTIONS: Final = {"replicas": (1, 5), "keep_seconds": (60, 7 * 86_400), "keep_bytes": (1 << 20, 1 << 40)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A DSN, taken apart."""

    servers: tuple[str, ...]
    """With credentials: for connecting only."""
    place: str
    """Without credentials: for people."""
    stream: str = STREAM
    replicas: int = 1
    keep_seconds: int = 3_600
    """How long the stream keeps events for those who come back, and for collectors that were away."""
    keep_bytes: int = 1 << 30

    @property
    def control(self) -> str:
        """The subject of what collectors say to each other beside events."""
        return f"{self.stream}.control"


def address_of(dsn: str) -> Address:
    """Read a DSN.

    Raises:
        BusUnusable: It is not understood; what is said has no credentials.
    """
    scheme, _, _ = dsn.partition("://")
    if scheme not in SCHEMES:
        raise BusUnusable("the bus is no address like nats://host:4222; mend `bus`, or leave it out")
    try:
        parts = urlsplit(dsn)
        hosts = [urlsplit(f"{scheme}://{host}") for host in parts.netloc.split(",")]
        places = [f"{host.hostname}:{host.port or 4222}" for host in hosts if host.hostname]
    except ValueError:
        raise BusUnusable(_NO_HOST) from None  # what it says may have the password
    if not places or len(places) != len(hosts):
        raise BusUnusable(_NO_HOST)
    stream = parts.path.strip("/") or STREAM
    if not _NAME.fullmatch(stream):
        raise BusUnusable(f"the bus's stream {stream!r} may have letters, digits, - and _ only; mend `bus`")
    return Address(
        servers=tuple(f"{scheme}://{host.netloc}" for host in hosts),
        place=f"{scheme}://{','.join(places)}",
        stream=stream,
        **_options(parts.query),
    )


def _options(query: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for key, text in parse_qsl(query, keep_blank_values=True):
        if key not in _OPTIONS:
            raise BusUnusable(f"the bus has no option {key!r}; possible are {', '.join(_OPTIONS)}")
        least, most = _OPTIONS[key]
        if not text.isdecimal() or len(text) > 15 or not least <= int(text) <= most:
            raise BusUnusable(f"the bus's {key} is no number from {least} to {most}; mend `bus`")
        found[key] = int(text)
    return found


async def open_bus(dsn: str, *, name: str, kept: Callable[[], int]) -> Bus:
    """Open the bus; the one in memory where the DSN is empty.

    `name`: what tells this process from others. `kept`: up to which batch history has everything.

    Raises:
        BusUnusable: The DSN is not understood, nats-py is not installed, or nobody answers there.
    """
    if not dsn:
        return MemoryBus(name)
    address = address_of(dsn)
    try:
        from stagelight_collector.bus.nats import NatsBus  # noqa: PLC0415 - needs the extra
    except ImportError as error:
        raise BusUnusable("a bus at nats:// needs nats-py: pip install 'stagelight[nats]'") from error
    return await NatsBus.open(address, name=name, kept=kept)
