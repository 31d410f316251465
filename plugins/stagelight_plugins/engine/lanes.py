"""Threads: the lanes of the store, and those in which step functions run that are not `async`.

All are daemons: a step function that hangs must not hold up the end of the process.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    Done = Callable[[Any, BaseException | None], None]

MAX_STUCK = 256
"""Threads that may be given up, because what runs in them has timed out, before no others take their places."""


class ThreadLane:
    """One thread that does one piece of work after the other."""

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str) -> None:
        self._loop = loop
        self._queue: queue.SimpleQueue[tuple[Callable[[], Any], Done] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], Any], done: Done) -> None:
        """Run `work` in the thread, then call `done` in the loop."""
        self._queue.put((work, done))

    async def call(self, work: Callable[[], Any]) -> Any:
        """Run `work` in the thread and return its answer."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self.submit(work, lambda answer, error: _settle(future, answer, error))
        return await future

    def close(self) -> None:
        """End the thread after what was submitted."""
        self._queue.put(None)
        self._thread.join(timeout=30)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            work, done = item
            try:
                answer, error = work(), None
            except BaseException as raised:  # noqa: BLE001 - handed to the loop, the thread goes on
                answer, error = None, raised
            try:
                self._loop.call_soon_threadsafe(done, answer, error)
            except RuntimeError:  # the loop is closed
                return


def _settle(future: asyncio.Future[Any], answer: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(answer)
    elif isinstance(error, Exception) and not isinstance(error, StopIteration):
        future.set_exception(error)
    else:  # a future takes no StopIteration, and what would end the process must not leave its thread
        future.set_exception(RuntimeError(repr(error)))


@dataclass(slots=True, eq=False)
class Job:
    """One call of a step function in a thread."""

    work: Callable[[], Any]
    done: Done
    given_up: bool = False


@dataclass(slots=True, eq=False)
class Threads:
    """At most `size` threads at work; one whose work has timed out is replaced, since a thread cannot be stopped."""

    loop: asyncio.AbstractEventLoop
    size: int
    stuck: int = 0
    """Threads whose work was given up and has not ended yet."""
    _jobs: int = 0
    _threads: int = 0
    _queue: queue.SimpleQueue[Job | None] = field(default_factory=queue.SimpleQueue["Job | None"])
    _closed: bool = False

    def submit(self, work: Callable[[], Any], done: Done) -> Job:
        """Run `work` in a thread, then call `done` in the loop."""
        job = Job(work, done)
        self._queue.put(job)
        self._jobs += 1
        self._grow()
        return job

    def call(self, work: Callable[[], Any]) -> asyncio.Future[Any]:
        """Run `work` in a thread; the future has its answer, and cancelling it gives it up."""
        future: asyncio.Future[Any] = self.loop.create_future()
        job = self.submit(work, lambda answer, error: _settle(future, answer, error))
        future.add_done_callback(lambda answer: self.give_up(job) if answer.cancelled() else None)
        return future

    def give_up(self, job: Job) -> None:
        """Wait for a job no longer; its answer is not told."""
        if not job.given_up:
            job.given_up = True
            self.stuck += 1
            self._grow()

    def close(self) -> None:
        """Let idle threads end. Safe twice."""
        if not self._closed:
            self._closed = True
            for _ in range(self._threads):
                self._queue.put(None)

    def _grow(self) -> None:
        if self._threads < min(self._jobs, self.size + min(self.stuck, MAX_STUCK)):
            self._threads += 1
            threading.Thread(target=self._run, name="stagelight-step", daemon=True).start()

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            try:
                answer, error = None if job.given_up else job.work(), None
            except BaseException as raised:  # noqa: BLE001 - sys.exit in a step fails the step, not the thread
                answer, error = None, raised
            try:
                self.loop.call_soon_threadsafe(self._done, job, answer, error)
            except RuntimeError:  # the loop is closed
                return

    def _done(self, job: Job, answer: Any, error: BaseException | None) -> None:
        self._jobs -= 1
        if job.given_up:
            self.stuck -= 1
        else:
            job.done(answer, error)
