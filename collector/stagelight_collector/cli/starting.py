"""What can go wrong at start-up, said in one line that names the remedy."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from stagelight_collector.bus.contract import BusUnusable
from stagelight_collector.cli.failures import UserError
from stagelight_collector.errors import ClickHousePortUnusable, DataDirUnusable, PortRefused, PortTaken
from stagelight_collector.history import HistoryError
from stagelight_collector.journal import JournalError
from stagelight_collector.security import UnsafeBind

if TYPE_CHECKING:
    from collections.abc import Generator


@contextmanager
def explained() -> Generator[None]:
    """Turn the errors that a user can mend into one line each."""
    try:
        yield
    except (
        BusUnusable,
        PortTaken,
        PortRefused,
        ClickHousePortUnusable,
        DataDirUnusable,
        HistoryError,
        JournalError,
        UnsafeBind,
    ) as error:
        raise UserError(str(error)) from error
