"""A sink in its own room: bounded queue, time limit, and a bench for one that keeps failing (invariant I6)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from stagelight_plugins.hookspecs import Batch, Sink

QUEUE: Final = 256
"""How many batches wait for one sink."""
PATIENCE_SECONDS: Final = 30.0
"""How long a sink may take for one batch."""
FAULTS: Final = 5
"""So many faults within a minute bench a sink for a minute."""
MINUTE: Final = 60.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class SinkRunner:
    """Feeds one sink, and takes its faults on itself."""

    sink: Sink
    clock: Callable[[], float] = time.monotonic
    patience: float = PATIENCE_SECONDS
    written: int = 0
    dropped: int = 0
    faults: int = 0
    reason: str = ""
    """What the last fault was."""
    benched_until: float = float("-inf")
    _recent: deque[float] = field(default_factory=lambda: deque[float](maxlen=FAULTS))
    _queue: asyncio.Queue[Batch] = field(default_factory=lambda: asyncio.Queue["Batch"](QUEUE))

    @property
    def benched(self) -> bool:
        """Whether the sink sits out."""
        return self.clock() < self.benched_until

    @property
    def queued(self) -> int:
        """How many batches wait."""
        return self._queue.qsize()

    def offer(self, batch: Batch) -> None:
        """Queue a batch; drop and count it where the queue is full or the sink is benched."""
        if self.benched or self._queue.full():
            self.dropped += 1
        else:
            self._queue.put_nowait(batch)

    async def run(self) -> None:
        """Feed the sink until cancelled."""
        while True:
            batch = await self._queue.get()
            try:
                await self._write(batch)
            finally:
                self._queue.task_done()

    async def _write(self, batch: Batch) -> None:
        """Give the sink one batch, in a task of its own: what it does to that task is its own affair."""
        task = asyncio.create_task(self._contained(batch), name=f"sink-{self.sink.name}-write")
        try:
            done, _ = await asyncio.wait({task}, timeout=self.patience)
        finally:
            task.cancel()  # one that is done is not touched; one that swallows this is left behind
        if not done:
            self._fault(f"took more than {self.patience:g} s")
        elif task.cancelled():
            self._fault("cancelled itself")

    async def _contained(self, batch: Batch) -> None:
        try:
            await self.sink.write(batch)
            self.written += 1
        except (SystemExit, KeyboardInterrupt, Exception) as error:  # noqa: BLE001 - even `sys.exit` in a plugin
            self._fault(f"{type(error).__name__}: {error}", error)

    async def catches_up(self, seconds: float) -> bool:
        """Wait for room in the queue; return whether there is some after at most so long."""
        if self._queue.full():
            await self.drain(seconds)
        return not self._queue.full()

    async def drain(self, seconds: float) -> None:
        """Wait until everything queued is written, at most so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._queue.join()
        except TimeoutError:
            _log.warning("sink %s did not finish in %g s", self.sink.name, seconds)

    def _fault(self, reason: str, error: BaseException | None = None) -> None:
        now = self.clock()
        self.reason = reason
        self.faults += 1
        self.dropped += 1
        self._recent.append(now)
        _log.warning("sink %s failed: %s", self.sink.name, reason, exc_info=error)
        if len(self._recent) == FAULTS and now - self._recent[0] <= MINUTE:
            self.benched_until = now + MINUTE
            self._recent.clear()
            _log.error(
                "sink %s failed %d times within a minute and is benched for one", self.sink.name, FAULTS
            )
