"""What can be wrong with plugins, each error naming the remedy.

PluginError
├── UnknownPlugin
├── CoreBlocked
└── BrokenPlugin

NotAccepted

QueryError
├── QueryRefused
├── QueryFailed
└── HistoryAway
"""

from __future__ import annotations


class PluginError(Exception):
    """A plugin cannot be used."""


class UnknownPlugin(PluginError):
    """The configuration names a plugin that is not installed."""

    def __init__(self, name: str, installed: list[str]) -> None:
        self.name = name
        have = ", ".join(installed) or "none"
        super().__init__(
            f"plugin {name!r} is not installed (installed: {have}); install the package that provides it, "
            "or take it out of `plugins.load`"
        )


class BrokenPlugin(PluginError):
    """A plugin does not load or start, implements a hook that does not exist, or hands over something unusable."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(
            f"plugin {name!r} cannot be used: {reason}; mend it, or take it out of `plugins.load`"
        )


class CoreBlocked(PluginError):
    """The configuration blocks a part of the collector."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(
            f"{name!r} is a part of the collector and cannot be blocked; take it out of `plugins.block`"
        )


class NotAccepted(Exception):
    """The collector cannot make events durable for now; nothing was taken."""

    def __init__(self, reason: str) -> None:
        self.retry_after = 1
        """Seconds."""
        super().__init__(f"{reason}; try again in {self.retry_after} s")


class QueryError(Exception):
    """A question to history was not answered."""


class QueryRefused(QueryError):
    """The SQL is not one statement that only reads history."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        self.reason = reason
        self.remedy = remedy
        super().__init__(f"this SQL is refused: {reason}" + (f"; {remedy}" if remedy else ""))


class QueryFailed(QueryError):
    """The engine cannot answer: the SQL is wrong, or a limit of time, rows or memory was reached."""

    def __init__(self, message: str, *, code: int | None = None) -> None:
        self.code = code
        """ClickHouse's error code; None where it gave none."""
        super().__init__(message)


class HistoryAway(QueryError):
    """History cannot be reached for now, or too many questions wait; ask again."""

    def __init__(self, reason: str) -> None:
        self.retry_after = 1
        """Seconds."""
        super().__init__(f"{reason}; try again in {self.retry_after} s")
