"""What can be wrong with plugins, each error naming the remedy.

PluginError
├── UnknownPlugin
├── CoreBlocked
├── BadSettings
└── BrokenPlugin

DatabaseUnusable

NotAccepted

QueryError
├── QueryRefused
├── QueryFailed
└── HistoryAway

DeliveryFailed
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Place: TypeAlias = tuple[str, ...]
"""Keys that lead to a setting within a plugin's own table: `("receivers", "ops", "url")`."""


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
            f'plugin {name!r} cannot be used: {reason}; mend it, or do without it: `plugins.block = ["{name}"]`'
        )


class DatabaseUnusable(Exception):  # a state that is found, not a fault of the program
    """A plugin's own file is damaged, or cannot be written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"the file {path} cannot be used ({reason}); move it away, and a new one is made")
        self.path = path


class CoreBlocked(PluginError):
    """The configuration blocks a part of the collector."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(
            f"{name!r} is a part of the collector and cannot be blocked; take it out of `plugins.block`"
        )


class BadSettings(PluginError):
    """A plugin's own table cannot be used. The collector adds the file and the line of each place."""

    def __init__(self, name: str, problems: Sequence[tuple[Place, str]]) -> None:
        self.name = name
        self.problems = tuple(problems)
        """Where, and what to do about it; no secret is repeated."""
        told = (f"`{'.'.join((name, *place))}`: {message}" for place, message in problems)
        super().__init__("; ".join(told))


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


class DeliveryFailed(Exception):
    """A notifier could not hand a notification over. It is tried again, unless `final` says that it is of no use."""

    def __init__(
        self,
        reason: str,
        *,
        status: int = 0,
        retry_after: float = 0.0,
        final: bool = False,
        gone: bool = False,
    ) -> None:
        self.status = status
        """The HTTP status, where there was one."""
        self.retry_after = retry_after
        """Seconds that the receiver asked to be left alone."""
        self.final = final
        """Whether this notification will never be taken."""
        self.gone = gone
        """Whether the receiver wants nothing any more."""
        super().__init__(reason)
