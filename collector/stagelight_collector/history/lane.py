"""A lane: a few threads, each with a handle of its own, through which all calls of one kind go."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from stagelight_collector.history.errors import HistoryClosed, HistoryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from stagelight_collector.history.engine import Handle

T = TypeVar("T")

MAX_WAITING: Final = 256
"""Calls that may wait for a thread; more are refused, so that a flood of requests cannot pile up."""


class Lane:
    """Runs calls in its own threads.

    The rules come from chdb, and hurt no server: never on the main thread (a query would hold back signals), a handle
    per thread, and after any error a new handle, because the old one answers the next query with what is left of the
    failed one.
    """

    def __init__(self, name: str, *, threads: int, connect: Callable[[], Handle]) -> None:
        self._name = name
        self._connect = connect
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"history-{name}")
        self._local = threading.local()
        self._handles: set[Handle] = set()
        self._pid = os.getpid()
        self._waiting = 0
        self._closed = False

    async def call(self, work: Callable[[Handle], T]) -> T:
        """Run `work` with a handle.

        Raises:
            HistoryClosed: The lane was closed.
            HistoryError: This is a forked child, or too many calls wait.
        """
        self._check()
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._run, work)
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """Let the calls that run finish, then close the handles and join the threads. Safe twice."""
        if self._closed:
            return
        self._closed = True
        if self._pid == os.getpid():
            await asyncio.get_running_loop().run_in_executor(None, self._shut)

    def _check(self) -> None:
        if self._pid != os.getpid():
            raise HistoryError(
                f"history was opened by process {self._pid} and cannot be used after a fork; "
                "start child processes with `spawn` and let one process open history"
            )
        if self._closed:
            raise HistoryClosed
        if self._waiting >= MAX_WAITING:
            raise HistoryError(
                f"{MAX_WAITING} calls are waiting for history already; try again", retryable=True
            )

    def _run(self, work: Callable[[Handle], T]) -> T:
        handle: Handle | None = getattr(self._local, "handle", None)
        if handle is None:
            handle = self._local.handle = self._connect()
            self._handles.add(handle)
        try:
            return work(handle)
        except BaseException:
            self._discard(handle)
            raise

    def _discard(self, handle: Handle) -> None:
        self._local.handle = None
        self._handles.discard(handle)
        handle.close()

    def _shut(self) -> None:
        self._pool.shutdown(wait=True)
        while self._handles:
            self._handles.pop().close()
