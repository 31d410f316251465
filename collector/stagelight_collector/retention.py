"""Keeps history as long as `[retention]` says: at the start and once a day, what is older is dropped."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from stagelight_collector.history import History, Pruning, Retention

DAY_SECONDS: Final = 24 * 3600.0
AGAIN_SECONDS: Final = 600.0
"""After how long a prune that failed is tried again."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Keeper:
    """Prunes history, for ever."""

    history: History
    keep: Retention
    now: Callable[[], int] = time.time_ns
    sleep: Callable[[float], Any] = asyncio.sleep
    pruned: int | None = None
    """When history was last pruned; None while it was not since the start."""
    problem: str = ""
    """Why the last prune failed; empty while all is well."""

    async def run(self) -> None:
        """Prune until cancelled."""
        while True:
            await self.sleep(DAY_SECONDS if await self._attempt() else AGAIN_SECONDS)

    async def prune(self, *, dry_run: bool = False) -> Pruning:
        """Drop what is older than it is kept, or say what that would be.

        Raises:
            HistoryError: It could not be done.
        """
        now = self.now()
        found = await self.history.prune(self.keep, now, dry_run=dry_run)
        if not dry_run:
            self.pruned, self.problem = now, ""
            for item in found.dropped:
                _log.info("%s of %s is dropped: %d rows", item.partition, item.table, item.rows)
            if found.runs:
                _log.info("%d runs are older than %d days and forgotten", found.runs, self.keep.runs)
        return found

    async def _attempt(self) -> bool:
        try:
            await self.prune()
        except Exception as error:  # noqa: BLE001 - what fails once must not end it
            self.problem = f"history is not pruned: {error}"
            _log.warning("%s", self.problem)
            return False
        return True
