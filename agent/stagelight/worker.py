"""The worker: one daemon thread that carries the backlog to the collector."""

from __future__ import annotations

import logging
import random
import sys
import threading
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context
from opentelemetry.instrumentation.utils import suppress_http_instrumentation, suppress_instrumentation

from stagelight.conventions import RUN_ID
from stagelight.exporter import DELIVERED, Outcome, Verdict
from stagelight.guard import LOGGER, report
from stagelight.heartbeats import Heartbeats
from stagelight.lines import Line
from stagelight.scope import Run, Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk._logs import ReadableLogRecord

    from stagelight.backlog import Backlog, Item, Queue
    from stagelight.exporter import Channel, Channels
    from stagelight.records import Records
    from stagelight.settings import AgentLimits, SignalLimits

THREAD_NAME: Final = "stagelight-worker"
_UNREACHED_EXIT: Final = 2.0
_LAST_TRY: Final = 1.0
_MOMENT: Final = 0.01
"""Seconds for which it is cheaper to sleep through than to be woken; what is due within them goes along."""
_CHATTY: Final = (
    "opentelemetry.exporter.otlp.proto.common._internal",
    "opentelemetry.exporter.otlp.proto.http._log_exporter",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "urllib3.connection",
    "urllib3.connectionpool",
)


def _is_not_ours(record: logging.LogRecord) -> bool:
    """Keep the exporters quiet on the worker's thread: the worker says once what they would say each time."""
    return record.threadName != THREAD_NAME


def backoff(
    tries: int,
    asked: float | None,
    limits: AgentLimits,
    jitter: Callable[[float, float], float] = random.uniform,
) -> float:
    """Return the seconds to wait before trying again: doubling, with jitter upwards, never less than was asked for."""
    delay = min(limits.first_retry * (1 << min(tries, 16)), limits.slowest_retry)
    return max(asked or 0.0, delay * jitter(1.0, 1.3))


class _Lane:
    """One signal on its way: what waits, since when, and where it goes."""

    __slots__ = ("channel", "limits", "queue", "since")

    def __init__(self, queue: Queue[Any], limits: SignalLimits) -> None:
        self.queue = queue
        self.limits = limits
        self.channel: Channel[Any] | None = None
        self.since: float | None = None

    def __str__(self) -> str:
        return str(getattr(self.channel, "endpoint", "the collector"))

    def due_in(self, now: float) -> float:
        """Return the seconds until a batch is worth its request; a little more while much is coming; infinity for nothing."""
        waiting = len(self.queue)
        if not waiting:
            self.since = None
            return inf
        if self.since is None:
            self.since = now
        limits = self.limits
        if waiting >= limits.batch:
            return 0.0
        linger = limits.linger if waiting < limits.batch // 32 else limits.longest_linger
        return self.since + linger - now


class Worker:
    """Sends batches in order, one request at a time; keeps a batch until it is delivered or refused for good.

    Safe to close before it was started, and twice.
    """

    def __init__(
        self, backlog: Backlog, channels: Callable[[], Channels], limits: AgentLimits, records: Records
    ) -> None:
        self.idle = True
        """Whether it sleeps and wants to be woken; read by producers without a lock."""
        self._backlog = backlog
        self._open_channels = channels
        self._channels: Channels | None = None
        self._limits = limits
        self._records = records
        self._heartbeats = Heartbeats(limits.heartbeat)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._records_lane = _Lane(backlog.records, limits.records)
        self._lanes = (self._records_lane, _Lane(backlog.spans, limits.spans))
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._closing = threading.Event()
        self._deadline = float("inf")
        self._has_reached = False
        self._is_failing = False
        self._is_heard = False
        self._confessed = 0
        self._reason = ""
        """Why the last request that failed did."""
        self._said: set[str] = set()

    def wake(self) -> None:
        """Start or wake the thread; called by producers that saw it idle."""
        self.idle = False
        if self._thread is None and not self._closing.is_set():
            self._start()
        self._wake.set()

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None:
                return
            self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
            # An empty context: what the first caller was doing is no business of this thread.
            token = otel_context.attach(otel_context.Context())
            try:
                self._thread.start()
            except (
                RuntimeError
            ):  # the interpreter is going down; the end of the process will count what is left
                self._thread = None
            finally:
                otel_context.detach(token)
        self._close_with_child()

    def _close_with_child(self) -> None:
        """Have a child of `multiprocessing`, which leaves by `os._exit`, send what it has before."""
        util, process = sys.modules.get("multiprocessing.util"), sys.modules.get("multiprocessing.process")
        if util is not None and process is not None and process.parent_process() is not None:
            util.Finalize(None, self.close, (self._limits.exit,), exitpriority=0)

    def flush(self, timeout: float) -> bool:
        """Send what is here now without gathering; say whether it was settled within `timeout` seconds."""
        if self._backlog.is_empty:
            return True
        self._hurry.set()
        self.wake()
        return self._backlog.wait_until_settled(timeout)

    def close(self, timeout: float) -> None:
        """Send what is left and stop; takes `timeout` seconds at most, and hardly any when nothing is to be sent."""
        with self._lock:
            thread = self._thread
            self._deadline = monotonic() + timeout
            self._closing.set()
        self._hurry.set()
        self._wake.set()
        if thread is None and not self._backlog.is_empty:
            self._run()  # no thread can be started any more: the end of the program sends it itself
        elif thread is not None and thread is not threading.current_thread():
            thread.join(timeout if self._has_reached else min(timeout, _UNREACHED_EXIT))
        self._backlog.abandon("exit")
        if lost := self._backlog.stats(0).dropped_by_reason.get("exit"):
            reason = f" ({self._reason})" if self._reason else ""
            self._say(
                "exit",
                "%d records were not delivered: no collector answered before the program ended%s",
                lost,
                reason,
            )

    def _run(self) -> None:
        for name in _CHATTY:
            logging.getLogger(name).addFilter(_is_not_ours)
        with suppress_instrumentation(), suppress_http_instrumentation():
            try:
                while not (self._closing.is_set() and self._backlog.is_empty):
                    self._guarded_turn()
            finally:
                if self._channels is not None:
                    self._channels.close()

    def _guarded_turn(self) -> None:
        try:
            self._turn()
            if self._backlog.overflowed:
                self._say("full", "the queue is full, so records are dropped; stagelight.stats() counts them")
        except Exception as fault:  # the thread must outlive whatever happens in it
            report("worker", fault)
            self._backlog.forfeit("fault")
            self._closing.wait(0.05)

    def _turn(self) -> None:
        if self._channels is None:
            self._channels = self._open_channels()
            for lane, channel in zip(self._lanes, (self._channels.logs, self._channels.spans), strict=True):
                lane.channel = channel
        for lane in self._rest():
            self._deliver(lane)
        self._beat()

    def _rest(self) -> list[_Lane]:
        """Sleep until a signal is due; return those that are, or are so in a moment."""
        if not self._backlog and not self._closing.is_set():
            self._hurry.clear()
        while not self._hurry.is_set() and (left := self._soonest()) > 0:
            if left <= _MOMENT:
                self._hurry.wait(left)
            else:
                self._sleep()
        now = monotonic()
        return [lane for lane in self._lanes if self._hurry.is_set() or lane.due_in(now) <= _MOMENT]

    def _soonest(self) -> float:
        now = monotonic()
        return min(self._heartbeats.due_in(now), *(lane.due_in(now) for lane in self._lanes))

    def _sleep(self) -> None:
        """Sleep until a producer wakes it, or what waits is due."""
        self._wake.clear()
        self.idle = True
        left = self._soonest()  # of what came before anybody could see it idle
        if not self._hurry.is_set():
            self._wake.wait(None if left == inf else left)
        self.idle = False

    def _deliver(self, lane: _Lane) -> None:
        """Send what waits of one signal, a batch at most."""
        lane.since = None
        batch: list[Any] = self._backlog.take(lane.queue)
        if batch:
            self._send(lane, self._made(batch) if lane is self._records_lane else batch)
            if lane is self._records_lane:
                self._show_sources(batch)
            self._confess(batch)

    def _beat(self) -> None:
        """Say which runs are alive, where it is time and the program goes on. Tried once: the next says the same."""
        runs, lane = self._heartbeats.due(monotonic()), self._records_lane
        if not runs or lane.channel is None or self._closing.is_set():
            return
        records = [self._records.alive(run) for run in runs]
        self._backlog.lend(len(records))
        outcome = self._try(lane, records)
        if outcome.verdict is Verdict.RETRY:
            self._backlog.lend(-len(records))
        else:
            self._settle(lane, records, outcome)

    def _show_sources(self, batch: Sequence[Scope | Line]) -> None:
        """Send the code of workflows that run here for the first time, after what waits to be seen."""
        if self._records_lane.channel is None:
            return
        for run in batch:
            if isinstance(run, Run) and (records := self._records.sources(run)):
                self._backlog.lend(len(records))
                self._send(self._records_lane, records)

    def _made(self, batch: Sequence[Scope | Line]) -> list[ReadableLogRecord]:
        """Return the log records of starts and lines."""
        made: list[ReadableLogRecord] = []
        for item in batch:
            if isinstance(item, Run):
                self._heartbeats.watch(item, monotonic())
            try:
                made.append(
                    self._records.start(item) if isinstance(item, Scope) else self._records.line(item)
                )
            except Exception as fault:  # one strange item must not cost the others
                report("record", fault)
                self._backlog.settle(dropped=1, reason="fault")
        return made

    def _send(self, lane: _Lane, items: Sequence[Any]) -> None:
        """Send items of one signal until they are settled."""
        if not items:
            return
        tries = 0
        while (outcome := self._try(lane, items)).verdict is Verdict.RETRY:
            self._is_failing, self._is_heard = True, False
            self._reason = outcome.reason
            if self._gives_up():
                self._backlog.settle(dropped=len(items), reason="exit")
                return
            self._say("unreachable", "%s cannot be reached, trying again (%s)", lane, outcome.reason)
            self._closing.wait(backoff(tries, outcome.retry_after, self._limits))
            tries += 1
            if self._closing.is_set():
                self._closing_pause()
        self._settle(lane, items, outcome)

    def _closing_pause(self) -> None:
        """Between two tries at the end of the program; `Event.wait` on the set event no longer waits."""
        left = self._deadline - monotonic()
        if self._has_reached and left > 0:
            threading.Event().wait(min(0.2, left))

    def _gives_up(self) -> bool:
        return self._closing.is_set() and (not self._has_reached or monotonic() >= self._deadline)

    def _try(self, lane: _Lane, items: Sequence[Any]) -> Outcome:
        timeout = lane.limits.request
        if self._closing.is_set():
            timeout = max(0.05, min(timeout, self._deadline - monotonic()))
            if self._is_failing and not self._has_reached:
                timeout = min(timeout, _LAST_TRY)
        if lane.channel is None:
            return DELIVERED
        try:
            return lane.channel.send(items, timeout)
        except Exception as fault:  # an exporter may raise anything
            report("exporter", fault)
            return Outcome(verdict=Verdict.REJECTED, reason=f"the exporter raised {type(fault).__name__}")

    def _settle(self, lane: _Lane, items: Sequence[Any], outcome: Outcome) -> None:
        if outcome.verdict is Verdict.DELIVERED:
            self._has_reached = True
            self._is_failing = False
            self._is_heard = True
            self._said.discard("unreachable")
            LOGGER.debug("stagelight: %d records delivered to %s", len(items), lane)
            refused = min(outcome.rejected, len(items))
            self._backlog.settle(delivered=len(items) - refused, dropped=refused, reason="rejected")
            if refused:
                self._say("partial", "the collector refused %d records of a batch", refused)
        elif outcome.splits and len(items) > 1:
            middle = len(items) // 2
            self._send(lane, items[:middle])
            self._send(lane, items[middle:])
        else:
            self._is_heard = False
            self._backlog.settle(dropped=len(items), reason="rejected")
            self._say("rejected", "%d records were refused for good: %s", len(items), outcome.reason)

    def _confess(self, batch: Sequence[Item]) -> None:
        """Tell the collector how much was dropped, once it listens again."""
        dropped = self._backlog.dropped
        if dropped <= self._confessed or not self._is_heard or self._records_lane.channel is None:
            return
        self._confessed = dropped
        first = batch[0]
        owner = first.scope if isinstance(first, Line) else first
        span: Any = owner.span if isinstance(owner, Scope) else owner
        attributes: Any = span.attributes or {}
        run_id = str(attributes.get(RUN_ID, ""))
        self._backlog.lend(1)
        self._send(self._records_lane, [self._records.heartbeat(dropped, span.resource, run_id)])

    def _say(self, topic: str, text: str, *values: object) -> None:
        if topic not in self._said:
            self._said.add(topic)
            LOGGER.warning("stagelight: " + text, *values)
