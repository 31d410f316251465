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
    metrics: Mapping[str, Table] = field(default_factory=dict[str, Table])
    """Rows for `otel_metrics_gauge` and the other tables of metrics, by table; metrics tell no events."""


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

    async def publish(self, events: Sequence[Event], logs: Table | None = None) -> None:
        """Hand events to the rooms, the sinks and history, without the journal: the caller keeps them durable.

        `logs` are rows for sinks that go with them, such as the code of a workflow; history does not keep them.

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

    def gather(self, hook: str) -> Sequence[tuple[str, Any]]:
        """Call a `register_…` hook of all plugins, and return each plugin's name and answer.

        For hooks that one plugin offers to others: alerting asks for notifiers, for example.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """An entry in the page's navigation: a link in its top bar."""

    title: str
    href: str
    """Relative to the collector's base path (`-/assays/`); `#/…` is a view of the page itself."""


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

        Groups that are there already are found with `cli.get_command(click.Context(cli), name)`.

        In a command, `click.get_current_context().find_root().obj` is a `CommandLine`.
        """
        raise NotImplementedError

    @hookspec
    def register_receivers(self, collector: Collector) -> Sequence[Receiver]:
        """Called when the collector starts. Return receivers: other ways in for telemetry, started after `startup`."""
        raise NotImplementedError

    @hookspec
    def register_parsers(self) -> Mapping[str, Callable[[bytes, str], Any]]:
        """Called when diagrams are drawn. Return parsers by file suffix (`.go`): source, path -> what is in it.

        That is `{"success": True, "workflows": […]}`, each workflow as `stagelight diagram --format json` prints it, or
        `{"success": False, "error": "…"}`. A collector calls it in a process with limits of memory, time and files, so it
        must be a function at the top of an installed module. For a suffix that is read already it takes the place.
        """
        raise NotImplementedError

    @hookspec
    def register_notifiers(self) -> Mapping[str, Callable[[Mapping[str, Any]], Notifier]]:
        """Called when alerting starts. Return factories of notifiers by the `type` used in `[alerting.receivers.<name>]`.

        A factory is given the other keys of that table, and raises ValueError with a sentence about what is wrong with them.
        """
        raise NotImplementedError

    @hookspec
    def register_conditions(self) -> Mapping[str, Callable[[Mapping[str, Any]], Condition]]:
        """Called when alerting starts. Return factories of conditions by the `when` used in `[alerting.rules.<name>]`.

        A factory is given the rule's table `options`, which may have been written in the page, and raises ValueError with a
        sentence about what is wrong with it.
        """
        raise NotImplementedError

    @hookspec
    def register_actions(self, collector: Collector) -> Sequence[Actions]:
        """Called when alerting starts with action links switched on. Return what runs can be acted on with."""
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

        Also called where `startup` failed, or was never reached because another part of the start failed. May be `async`;
        5 s at most.
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


class CommandLine(Protocol):
    """What `click.get_current_context().find_root().obj` is while a command runs."""

    def url(self) -> str:
        """Return where the configured collector listens; a click exception says where that is not known."""
        ...

    def gather(self, hook: str) -> Sequence[tuple[str, Any]]:
        """Call a `register_…` hook of all plugins, and return each plugin's name and answer."""
        ...


# --- alerting -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertView:
    """One alert in a notification."""

    fingerprint: str
    """The same for the same labels, for ever; computed as Prometheus does."""
    status: str
    """`firing` or `resolved`."""
    labels: Mapping[str, str]
    """What it is: `alertname`, `severity`, `workflow`, and where it applies `step` and `run`."""
    annotations: Mapping[str, str]
    """What is said of it: `summary`, and where known `run`, `error`, `duration`, `usual`, `count`."""
    starts: float
    """Unix seconds."""
    ends: float
    """Unix seconds; 0 while it fires."""
    url: str
    """The page of its run, or of its workflow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """What one receiver is told about one group of alerts. The same notification may be sent more than once."""

    id: str
    """Stays the same over all tries."""
    receiver: str
    group: str
    """Names the group; the same for the message that it is over."""
    status: str
    """`firing` while any alert of it fires, else `resolved`."""
    title: str
    text: str
    labels: Mapping[str, str]
    """Those that the group has in common."""
    alerts: Sequence[AlertView]
    truncated: int
    """How many alerts are left out."""
    url: str
    """The page with all alerts."""
    created: float
    """Unix seconds."""
    links: Sequence[tuple[str, str]] = ()
    """Action links, words and addresses; none unless switched on."""


@runtime_checkable
class Notifier(Protocol):
    """Hands notifications to one receiver. Each receiver has a queue of its own: a slow one delays no other."""

    async def send(self, notification: Notification) -> None:
        """Return when the receiver has taken it; it is cancelled after 30 s.

        Raises:
            DeliveryFailed: It was not taken; says whether and when to try again. Any other error is tried again, too.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that a condition found to be so."""

    labels: Mapping[str, str]
    """What it is about; the same labels are the same alert."""
    text: str = ""


@runtime_checkable
class Condition(Protocol):
    """A condition that a plugin adds to the rules of alerting."""

    async def check(self) -> Sequence[Finding]:
        """Return what is so now; what is no longer returned is resolved. Called again and again; 30 s at most."""
        ...


@runtime_checkable
class Actions(Protocol):
    """What can be done to a run from an alert: offered by an engine, used by signed links."""

    async def offered(self, workflow: str, run_id: str) -> Sequence[str]:
        """Return which of `approve`, `reject`, `retry`, `skip` can be done to this run now; none for a stranger's run."""
        ...

    async def act(self, action: str, workflow: str, run_id: str, *, step: str = "", reason: str = "") -> str:
        """Do it; return one sentence that says what was done.

        Raises:
            ValueError: It cannot be done any more; the sentence says why.
        """
        ...
