"""What came in and what was refused, for `/metrics`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from stagelight_collector.journal import Signal


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
    data_points: int = 0
    """Of metrics, of what was accepted."""
    in_flight: int = 0
    """Requests with a complete body and no answer yet."""
    in_flight_bytes: int = 0
    """Bodies held now."""

    def count(self, signal: Signal, items: int, size: int) -> None:
        """Note what was accepted: spans, log records or data points, and bytes."""
        self.bytes += size
        match signal:
            case Signal.TRACES:
                self.spans += items
            case Signal.LOGS:
                self.log_records += items
            case Signal.METRICS:
                self.data_points += items
