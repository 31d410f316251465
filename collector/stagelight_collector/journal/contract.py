"""What goes through the journal, and how it refuses."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Signal(StrEnum):
    """The kind of telemetry in one request."""

    TRACES = "traces"
    LOGS = "logs"
    METRICS = "metrics"


@dataclass(frozen=True, slots=True)
class Entry:
    """One accepted request."""

    seq: int
    """Increasing, never used twice: not after deletion, a restart or the loss of the file."""
    signal: Signal
    received: int
    """Unix nanoseconds by the collector's clock."""
    body: bytes
    """The decompressed OTLP protobuf message. Where the disk damaged an entry it is empty: decodes to nothing, keeps its place."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A batch on its way to history: the entries `first` to `last`, both included.

    The borders are durable, so the same batch is built again after a crash and the store can recognise it. Once it is in
    history its entries leave in portions: after a crash in between, `first` is the first that is left.
    Entries in between may be missing only where the file was damaged.
    """

    first: int
    last: int


class JournalError(Exception):
    """Base of all that the journal raises on purpose."""


class JournalFull(JournalError):  # a state that is raised; `JournalError` is the base
    """The entries that history has not taken yet fill the journal; nothing was stored."""

    def __init__(self, used: int, capacity: int, retry_after: int = 1) -> None:
        super().__init__(
            f"the journal is full ({used} of {capacity} bytes): history takes less than arrives;"
            f" retry in {retry_after} s"
        )
        self.used = used
        """Bytes."""
        self.capacity = capacity
        """Bytes."""
        self.retry_after = retry_after
        """Seconds."""


class JournalUnavailable(JournalError):  # a state that is raised; `JournalError` is the base
    """The disk refused; nothing was acknowledged, and the next call tries again."""

    def __init__(self, path: Path, reason: str, retry_after: int = 1) -> None:
        super().__init__(f"the journal {path} cannot be used: {reason}; check the disk's space and health")
        self.path = path
        self.reason = reason
        self.retry_after = retry_after
        """Seconds."""


class JournalLocked(JournalError):  # a state that is raised; `JournalError` is the base
    """Another process has this journal open."""

    def __init__(self, path: Path, owner: str) -> None:
        super().__init__(
            f"the journal {path} is in use by process {owner or 'unknown'}:"
            " stop that collector, or choose another data directory"
        )
        self.path = path
        self.owner = owner
        """The other process's id, as text; empty if it could not be read."""


class JournalClosed(JournalError):  # a state that is raised; `JournalError` is the base
    """The journal is not open (any more)."""

    def __init__(self) -> None:
        super().__init__("the journal is closed: the collector is starting or going down")
