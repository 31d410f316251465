"""What runs beside the requests: tasks that live as long as the collector."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from contextlib import AsyncExitStack

END_SECONDS: Final = 0.5
"""How long a task may take to end when it is told to."""

_log = logging.getLogger(__name__)


async def task(stack: AsyncExitStack, work: Coroutine[Any, Any, None], name: str) -> None:
    """Run something until the stack is closed; where it fails before, the log says so."""
    running = asyncio.create_task(work, name=name)

    async def end() -> None:
        running.cancel()
        await asyncio.wait([running], timeout=END_SECONDS)

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.critical(
                "%s has ended: restart the collector; nothing accepted is lost", name, exc_info=error
            )

    running.add_done_callback(ended)
    stack.push_async_callback(end)


async def again_and_again(work: Callable[[], Awaitable[None]], pause: float) -> None:
    """Do something for ever; a failure is logged, and the pause after it grows to half a minute."""
    failures = 0
    while True:
        await asyncio.sleep(min(30.0, pause * 2**failures))
        try:
            await work()
            failures = 0
        except Exception:  # noqa: BLE001 - what fails once must not end it
            failures += 1
            _log.exception("housekeeping failed; it goes on")
