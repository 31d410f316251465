"""What came in and what was refused, for `/metrics`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class ReceiverCounters:
    """Since start-up."""

    requests: int = 0
    """Requests that reached the receiver."""
    accepted: int = 0
    """Requests answered 200: stored, known already, or without content."""
    refused: Counter[str] = field(default_factory=Counter[str])
    """Requests not accepted, by reason: `Reason` has all of them."""
    bytes: int = 0
    """Decompressed bytes of what was accepted."""
    spans: int = 0
    """Of what was accepted."""
    log_records: int = 0
    """Of what was accepted."""
    in_flight: int = 0
    """Requests with a complete body and no answer yet."""
    in_flight_bytes: int = 0
    """Bodies held now."""
