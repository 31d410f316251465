"""What can go wrong with history."""

from __future__ import annotations


class HistoryError(Exception):
    """History could not do what was asked.

    `retryable` tells an engine that is down or busy (try the same batch and token again, later) from input that will
    never go in (set the batch aside).
    """

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class HistoryClosed(HistoryError):
    """History was closed; open it again."""

    def __init__(self) -> None:
        super().__init__("history is closed")


class HistoryInUse(HistoryError):
    """Another process has the data directory open."""

    def __init__(self, path: str, pid: int | None) -> None:
        who = f" (process {pid})" if pid else ""
        super().__init__(f"another collector is using {path}{who}; stop it or choose another data directory")
        self.path = path
        self.pid = pid


class BadCursor(HistoryError):
    """A cursor that this version of the collector did not hand out."""

    def __init__(self) -> None:
        super().__init__("the cursor is not one that was handed out; start again without it")


class RunTooLarge(HistoryError):
    """A run has more than fits into one answer."""

    def __init__(self, run_id: str, most: str) -> None:
        super().__init__(f"the run {run_id!r} has more than {most}")
        self.run_id = run_id
