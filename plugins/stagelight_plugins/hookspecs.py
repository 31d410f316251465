"""All that a plugin author reads: the hooks, and the types of what they hand over.

Hooks run once, at start-up: first those that register, then `startup`. They hand over objects; while events flow no
hook is called, the collector loops over the registered sinks and isolates each. A misspelt hook is refused at
start-up, and so is one that hands over something else than it should. Arguments are passed by name: leave out those
that you do not need.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, runtime_checkable

import pluggy

if TYPE_CHECKING:
    from pathlib import Path

    import click
    from aiohttp import web

    from stagelight.events import Event

hookspec: Final = pluggy.HookspecMarker("stagelight")

Table: TypeAlias = Mapping[str, Sequence[Any]]
"""Columns by name, all of one length; the names are those of the OpenTelemetry ClickHouse exporter's tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What arrived together: events, and the rows of history that they came with.

    A batch may come twice (after a restart, or because a sender tried again); sinks are idempotent.
    """

    seq: int
    """The place in the journal; increasing. 0 where the batch did not come through the journal."""
    events: Sequence[Event] = ()
    traces: Table = field(default_factory=dict[str, Sequence[Any]])
    """Rows for `otel_traces`."""
    logs: Table = field(default_factory=dict[str, Sequence[Any]])
    """Rows for `otel_logs`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryResult:
    """What history answered to a question in SQL."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    """ClickHouse's types of the columns."""
    rows: Sequence[Sequence[Any]]
    """Values as JSON has them: times are ISO 8601 text in UTC, maps and named tuples are mappings, NaN is None."""
    truncated: bool
    """Whether there were more rows than asked for."""


@runtime_checkable
class Sink(Protocol):
    """Receives every batch, in order, one at a time.

    Each sink has a bounded queue of its own: one that raises, hangs or is slow loses batches, counted in `/metrics`,
    and harms nobody else. After five faults within a minute it is benched for a minute, which `/healthz` says.
    """

    @property
    def name(self) -> str:
        """A short name for counters and logs."""
        ...

    async def write(self, batch: Batch) -> None:
        """Take a batch. Return when it has been dealt with."""
        ...


class Collector(Protocol):
    """What a plugin may use of the running collector."""

    @property
    def url(self) -> str:
        """Where the collector listens, or will: for example `http://127.0.0.1:4318`."""
        ...

    def plugin_config(self, name: str) -> Mapping[str, Any]:
        """Return the table `[plugins.<name>]` of the configuration; empty where there is none."""
        ...

    def plugin_dir(self, name: str) -> Path:
        """Return the directory in which a plugin may keep files; it exists, below the collector's data directory."""
        ...

    async def accept(self, events: Sequence[Event]) -> None:
        """Journal events, as if they had come in a request: once this returns, they survive whatever happens.

        Sinks and history receive them like everybody's.

        Raises:
            NotAccepted: The journal is full or cannot be written; try again.
            ValueError: An event has no run id; none of them was taken.
        """
        ...

    async def publish(self, events: Sequence[Event]) -> None:
        """Hand events to the rooms, the sinks and history, without the journal: the caller keeps them durable.

        Returns when history has them; call again after a failure. Sinks may lose them like any batch.
        """
        ...

    async def query(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        seconds: float = 10.0,
        rows: int = 10_000,
    ) -> QueryResult:
        """Ask history in SQL: one statement that only reads (SELECT, SHOW, DESCRIBE, EXISTS, EXPLAIN).

        `parameters` go where the text says `{name:Type}`. At most 60 seconds and 100,000 rows can be asked for; memory
        and the size of the answer are bounded, too.

        Raises:
            QueryRefused: The statement is none that only reads history.
            QueryFailed: The engine cannot answer it, or not within the limits.
            HistoryAway: History cannot be reached for now.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """An entry in the page's navigation."""

    title: str
    href: str
    """Relative to the collector's base path."""


class Hooks:
    """The hooks. Implement any of them as functions of a module or methods of an object."""

    @hookspec
    def register_routes(self, collector: Collector) -> Sequence[web.AbstractRouteDef]:
        """Called when the web application is built. Return aiohttp route definitions.

        A plugin's routes live below `/-/<plugin>/`; others are refused, except those of plugins that come with Stagelight, which
        also speak protocols of others. Two routes of one path and method are refused, too. Security checks (`Host`, `Origin`, `Sec-Fetch-Site`) have
        run before a handler is called.
        """
        raise NotImplementedError

    @hookspec
    def register_sinks(self, collector: Collector) -> Sequence[Sink]:
        """Called when the collector starts. Return sinks; each receives batches from after `startup` to `shutdown`."""
        raise NotImplementedError

    @hookspec
    def register_commands(self, cli: click.Group) -> None:
        """Called when the command line is built. Add commands with `cli.add_command`; do no other work.

        In a command, `click.get_current_context().obj["collector_url"]()` is where the configured collector listens.
        """
        raise NotImplementedError

    @hookspec
    def register_receivers(self, collector: Collector) -> Sequence[Receiver]:
        """Called when the collector starts. Return receivers: other ways in for telemetry, started after `startup`."""
        raise NotImplementedError

    @hookspec
    def register_parsers(self) -> Mapping[str, Callable[[bytes, str], Any]]:
        """Called when a diagram is asked for (no plugin asks yet). Return parsers by file suffix (`.py`): source, path -> diagram."""
        raise NotImplementedError

    @hookspec
    def register_notifiers(self) -> Mapping[str, Callable[[Mapping[str, Any]], Any]]:
        """Called by the alerting plugin (which is yet to come). Return factories of notifiers by the name used in the configuration."""
        raise NotImplementedError

    @hookspec
    def register_pages(self, collector: Collector) -> Sequence[Page]:
        """Called when the collector starts. Return entries for the page's navigation, `GET /api/v1/pages`."""
        raise NotImplementedError

    @hookspec
    async def startup(self, collector: Collector) -> None:
        """Called once after everything is registered and before the port is opened. May be `async`; 30 s at most."""
        raise NotImplementedError

    @hookspec
    async def shutdown(self, collector: Collector) -> None:
        """Called once after the port is closed and the sinks have finished, in reverse order of start-up.

        Also called where `startup` failed. May be `async`; 5 s at most.
        """
        raise NotImplementedError


@runtime_checkable
class Receiver(Protocol):
    """A way in for telemetry that is not a route: a port or a subscription of its own."""

    async def start(self) -> None:
        """Begin to receive."""
        ...

    async def stop(self) -> None:
        """Stop accepting, finish what was accepted. Safe before `start`, safe twice."""
        ...
