"""How much one request, and all of them together, may take."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a sender may ask of a receiver; past it the answer is 400, 408, 413 or 429."""

    body_bytes: int = 16 << 20
    """Of one body, both as sent and decompressed. OTLP suggests 64 MiB; parsed messages take a multiple of that."""
    body_seconds: float = 30.0
    """From the end of the headers to the end of the body."""
    items: int = 50_000
    """Spans, log records, attributes, events, links, array values… of one request."""
    depth: int = 32
    """Messages within messages; a list takes two, a map takes three."""
    requests: int = 256
    """Requests whose body is complete and whose answer is not."""
    bytes_in_flight: int = 64 << 20
    """Bodies held for all unanswered requests."""


RUNNER_OPTIONS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        # The receiver inflates by itself: aiohttp does it on the event loop and takes a cut-off stream for a whole one.
        "auto_decompress": False,
        # From connecting, or the last answer, to the end of the next headers. aiohttp has no header timeout of its own.
        "keepalive_timeout": 30.0,
        # How long a refused body is read on, so that its sender sees the answer and not a reset connection.
        "lingering_time": 2.0,
    }
)
"""What `aiohttp.web.AppRunner` must be given for the receiver's promises to hold."""
