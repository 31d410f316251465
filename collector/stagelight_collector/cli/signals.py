"""Ctrl-C and SIGTERM: the first asks for a stop, the second ends the process at once."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine


class Signals:
    """Listens from now on. Use from the main thread, in a running event loop."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._take, number)

    async def before(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do something unless a stop is asked for first; then cancel it, and return False."""
        task = asyncio.create_task(work)
        stopping = asyncio.create_task(self.stop.wait())
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
            return False
        task.result()
        return True

    def _take(self, number: int) -> None:
        if self.stop.is_set():
            # Nothing accepted is lost: it is in the journal.
            os._exit(128 + number)
        self.stop.set()
