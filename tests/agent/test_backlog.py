"""The backlog: bounded, ordered by worth, and counted to the last item."""

from __future__ import annotations

from hypothesis import given, strategies as st
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

from stagelight.backlog import Backlog, Item
from stagelight.conventions import EventType
from stagelight.lines import Line
from stagelight.scope import Scope
from stagelight.settings import SignalLimits

TRACER = TracerProvider(shutdown_on_exit=False).get_tracer("test")


def start(*, ended: bool = False) -> Scope:
    """Return a scope, as a start is queued."""
    span = TRACER.start_span("s")
    if ended:
        span.end()
    return Scope("s", span=span)


def line() -> Line:
    """Return a line."""
    return Line(Scope("s"), EventType.LOG, 1)


def span() -> ReadableSpan:
    """Return a finished span."""
    return ReadableSpan("s")


def backlog_of(capacity: int) -> Backlog:
    """Return a backlog that takes as many spans, and as many records."""
    return Backlog(SignalLimits(queue=capacity), SignalLimits(queue=capacity))


def filled(items: list[Item], capacity: int) -> Backlog:
    """Return a backlog that was given items."""
    backlog = backlog_of(capacity)
    for item in items:
        backlog.add(item)
    return backlog


def test_lines_go_first_and_a_new_one_is_refused() -> None:
    starts = [start() for _ in range(4)]
    backlog = filled([starts[0], line(), line(), *starts[1:], line()], 4)
    assert backlog.take(backlog.records) == starts
    assert backlog.stats(0).dropped_by_reason == {"queue_full": 3}


def test_starts_that_the_finished_span_repeats_go_next() -> None:
    running, first, last = start(), start(), start()
    backlog = filled([running, start(ended=True), first, last], 3)
    assert backlog.take(backlog.records) == [running, first, last]
    assert backlog.stats(0).dropped_by_reason == {"superseded": 1}


def test_at_last_what_comes_is_refused() -> None:
    spans, starts = [span(), span()], [start(), start()]
    backlog = filled([*spans, *starts, span(), start()], 2)
    assert (backlog.take(backlog.spans), backlog.take(backlog.records)) == (spans, starts)
    assert backlog.stats(0).dropped_by_reason == {"queue_full": 2}


def test_no_number_of_records_costs_a_span_its_place() -> None:
    backlog = filled([*(start() for _ in range(9)), *(line() for _ in range(9))], 2)
    backlog.add(finished := span())
    assert backlog.take(backlog.spans) == [finished]


def test_room_is_looked_for_again_after_a_while() -> None:
    backlog = filled([start(), start()], 2)
    backlog.add(start())
    backlog.take(backlog.records)
    backlog.add(line())
    for _ in range(400):
        backlog.add(start())
    assert not any(isinstance(item, Line) for item in backlog.take(backlog.records))


def test_a_sleeping_worker_hears_of_the_first_item_and_of_a_full_batch() -> None:
    backlog = Backlog(SignalLimits(queue=9, batch=3), SignalLimits(queue=9, batch=2))
    assert [backlog.add(span()) for _ in range(4)] == [True, False, True, False]
    assert [backlog.add(line()) for _ in range(3)] == [True, True, False]
    backlog.take(backlog.spans)
    backlog.take(backlog.spans)
    assert backlog.add(span())


def test_what_was_taken_is_queued_until_it_is_settled() -> None:
    backlog = filled([span(), span()], 9)
    backlog.take(backlog.spans)
    assert (backlog.stats(0).queued, backlog.is_empty) == (2, False)
    backlog.settle(delivered=1, dropped=1, reason="rejected")
    assert (backlog.stats(0).queued, backlog.is_empty) == (0, True)
    assert backlog.wait_until_settled(0.0)


def test_waiting_is_for_what_is_here_now() -> None:
    backlog = filled([span()], 9)
    assert not backlog.wait_until_settled(0.0)
    backlog.take(backlog.spans)
    assert not backlog.wait_until_settled(0.0)
    backlog.settle(delivered=1)
    assert backlog.wait_until_settled(0.0)


def test_what_is_abandoned_is_counted_once() -> None:
    backlog = filled([span(), span(), span()], 9)
    backlog.take(backlog.spans)
    assert backlog.abandon("exit") == 3
    backlog.settle(delivered=1)
    stats = backlog.stats(0)
    assert (stats.dropped_by_reason, stats.delivered, stats.queued) == ({"exit": 3}, 0, 0)


MOVES = st.sampled_from(["span", "line", "start", "ended", "take", "deliver", "reject", "lend"])


@given(st.lists(MOVES, max_size=200), st.integers(1, 10))
def test_produced_is_delivered_plus_dropped_plus_queued_whatever_happens(
    moves: list[str], capacity: int
) -> None:
    backlog, taken = backlog_of(capacity), 0
    for move in moves:
        if move == "take":
            taken += len(backlog.take(backlog.spans)) + len(backlog.take(backlog.records))
        elif move == "lend":
            backlog.lend(1)
            taken += 1
        elif move in {"deliver", "reject"}:
            taken -= _settle(backlog, move) if taken else 0
        else:
            backlog.add(_made(move))
        stats = backlog.stats(0)
        assert stats.produced == stats.delivered + stats.dropped + stats.queued
        assert stats.queued - taken <= 2 * capacity


def _settle(backlog: Backlog, move: str) -> int:
    if move == "deliver":
        backlog.settle(delivered=1)
    else:
        backlog.settle(dropped=1, reason="rejected")
    return 1


def _made(kind: str) -> Item:
    if kind == "span":
        return span()
    return line() if kind == "line" else start(ended=kind == "ended")


def test_long_lines_fill_the_queue_before_their_number_does() -> None:
    backlog = backlog_of(10_000)
    for _ in range(1000):
        backlog.add(Line(Scope("s"), EventType.LOG, 1, message="x" * 32_768))
    assert len(backlog) == 512
    backlog.take(backlog.records)
    backlog.add(Line(Scope("s"), EventType.LOG, 1, message="x" * 32_768))
    assert len(backlog) == 1
