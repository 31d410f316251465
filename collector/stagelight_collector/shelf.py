"""Decoded batches on their way to history, and what many of them make together."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import compress
from typing import TYPE_CHECKING, Any, Final

from stagelight_collector.decode.metrics import SECOND
from stagelight_collector.decode.spans import Spans, height, joined
from stagelight_plugins.hookspecs import Batch, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from stagelight.events import Event

MAX_BYTES: Final = 4 << 20
MAX_ROWS: Final = 20_000
DECODED: Final = 20
"""What a request takes decoded, in times of its bytes."""
"""What is on the shelf at most: decoded, journal bytes take twenty times their room (measured), so about 80 MiB."""
DAY_NS: Final = 86_400_000_000_000


@dataclass(slots=True)
class _Kept:
    batch: Batch
    size: int
    """Bytes in the journal."""
    weight: int
    """Bytes of the journal that would take as much room decoded."""
    rows: int
    late: list[Event] = field(default_factory=list["Event"])
    """Events of this batch that found their run after it was taken."""


@dataclass(slots=True)
class Shelf:
    """Keeps decoded batches by their number in the journal; what does not fit has to be decoded again."""

    max_bytes: int = MAX_BYTES
    """Of journal."""
    max_rows: int = MAX_ROWS
    overflowed: bool = False
    """Whether something did not fit since the last was let go."""
    _kept: dict[int, _Kept] = field(default_factory=dict[int, _Kept])
    _bytes: int = 0
    _rows: int = 0

    def put(self, batch: Batch, size: int) -> None:
        """Keep a batch, `size` bytes in the journal, if there is room."""
        weight, decoded = size, rows(batch)
        if isinstance(batch.traces, Spans) and batch.traces.bodies:
            weight, decoded = size // DECODED, len(batch.events)
        if self._bytes + weight <= self.max_bytes and self._rows + decoded <= self.max_rows:
            self._kept[batch.seq] = _Kept(batch, size, weight, decoded)
            self._bytes += weight
            self._rows += decoded
        else:
            self.overflowed = True

    def add(self, seq: int, event: Event) -> None:
        """Add an event to its batch. One that is not here finds the event's run when it is decoded again."""
        if kept := self._kept.get(seq):
            kept.late.append(event)

    def get(self, seq: int) -> tuple[Batch, int] | None:
        """Return a batch with all its events, and its bytes in the journal; None if it is not here."""
        kept = self._kept.get(seq)
        if kept is None:
            return None
        late = kept.late
        return replace(kept.batch, events=[*kept.batch.events, *late]) if late else kept.batch, kept.size

    def drop(self, last: int) -> None:
        """Let go of the batches up to `last`."""
        self.overflowed = False
        for seq in [seq for seq in self._kept if seq <= last]:
            kept = self._kept.pop(seq)
            self._bytes -= kept.weight
            self._rows -= kept.rows


def rows(batch: Batch) -> int:
    """Return how many rows of history a batch makes."""
    points = sum(height(table) for table in batch.metrics.values())
    return height(batch.traces) + height(batch.logs) + points + len(batch.events)


def share(batch: Batch, count: int) -> int:
    """Return for how many rows or bytes a batch counts that has so many, where the engine decodes spans: half, if it is as it came."""
    as_it_came = isinstance(batch.traces, Spans) and not batch.traces.rest
    return (count + 1) // 2 if as_it_came and not (batch.events or batch.logs or batch.metrics) else count


def days(batch: Batch) -> set[int]:
    """Return the UTC days of a batch's rows, as days since 1970; but for spans that only the engine decodes.

    Should those be of too many days, the engine refuses them, and they are cut up by columns.
    """
    found = {event.time // DAY_NS for event in batch.events}
    traces = batch.traces.rest if isinstance(batch.traces, Spans) else batch.traces
    for table in (traces, batch.logs):
        found.update(time // DAY_NS for time in table.get("Timestamp", ()))
    for table in batch.metrics.values():
        found.update(time * SECOND // DAY_NS for time in table.get("TimeUnix", ()))
    return found


def by_days(batch: Batch, most: int) -> Iterator[Batch]:
    """Cut a batch into batches of at most so many days."""
    batch = replace(batch, traces=dict(batch.traces))  # as columns
    dates = sorted(days(batch))
    for start in range(0, len(dates), most):
        chosen = set(dates[start : start + most])
        yield Batch(
            seq=batch.seq,
            events=[event for event in batch.events if event.time // DAY_NS in chosen],
            traces=_of_days(batch.traces, chosen),
            logs=_of_days(batch.logs, chosen),
            metrics={name: _of_days(table, chosen) for name, table in batch.metrics.items()},
        )


def _of_days(table: Table, chosen: set[int]) -> Table:
    nanoseconds = table.get("Timestamp") or [time * SECOND for time in table.get("TimeUnix", ())]
    keep = [time // DAY_NS in chosen for time in nanoseconds]
    return {name: list(compress(column, keep)) for name, column in table.items()}


def merge(seq: int, batches: Sequence[Batch]) -> Batch:
    """Make one batch of several."""
    return Batch(
        seq=seq,
        events=[event for batch in batches for event in batch.events],
        traces=joined([batch.traces for batch in batches]),
        logs=concatenate(batch.logs for batch in batches),
        metrics={
            name: concatenate(batch.metrics.get(name, {}) for batch in batches)
            for name in dict.fromkeys(name for batch in batches for name in batch.metrics)
        },
    )


def concatenate(tables: Iterable[Table]) -> dict[str, list[Any]]:
    """Join tables that have the same columns, or none."""
    joined: dict[str, list[Any]] = {}
    for table in tables:
        for column, values in table.items():
            joined.setdefault(column, []).extend(values)
    return joined
