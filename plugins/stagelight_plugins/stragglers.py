"""Stragglers: tasks of users' code that go on after they were told to end. No process waits for them for ever."""

from __future__ import annotations

import asyncio
from typing import Final

PATIENCE_SECONDS: Final = 1.0


async def remain() -> bool:
    """Tell all other tasks of the loop to end; return whether some do not.

    A step that catches `CancelledError` and goes on cannot be ended, and `asyncio.run` would wait for it.
    """
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if not others:
        return False
    _, left = await asyncio.wait(others, timeout=PATIENCE_SECONDS)
    return bool(left)
