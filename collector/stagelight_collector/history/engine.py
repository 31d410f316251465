"""Where history lives: the one seam between chdb in this process and a ClickHouse server."""

from __future__ import annotations

import fcntl
import importlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from stagelight_collector.history.errors import HistoryError, HistoryInUse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DATABASE: Final = "stagelight"
_SERVER_SCHEMES: Final = {"clickhouse": "http", "http": "http", "clickhouses": "https", "https": "https"}


class Result(Protocol):
    """What a query returned."""

    result_rows: Sequence[Sequence[Any]]
    column_names: Sequence[str]


class Handle(Protocol):
    """What history uses of a clickhouse-connect client. One thread at a time, and never again after an error."""

    def query(
        self, query: str, parameters: Mapping[str, Any] | None = ..., settings: Mapping[str, Any] | None = ...
    ) -> Result:
        """Run a SELECT; parameters are bound by the server."""
        ...

    def raw_query(self, query: str, parameters: Mapping[str, Any] | None = ..., *, fmt: str) -> bytes:
        """Run a SELECT; return the answer in a format of ClickHouse's."""
        ...

    def command(
        self,
        cmd: str,
        parameters: Mapping[str, Any] | None = ...,
        *,
        settings: Mapping[str, Any] | None = ...,
    ) -> object:
        """Run any other statement."""
        ...

    def insert(
        self,
        table: str,
        data: Sequence[Sequence[Any]],
        column_names: Sequence[str],
        *,
        column_type_names: Sequence[str],
        column_oriented: bool,
        settings: Mapping[str, Any],
    ) -> object:
        """Insert columns."""
        ...

    def close(self) -> None:
        """Give the handle back."""
        ...


class Engine(Protocol):
    """Where history lives."""

    @property
    def database(self) -> str:
        """The database that holds the tables."""
        ...

    @property
    def description(self) -> str:
        """The engine for people; never holds a password."""
        ...

    def connect(self, *, database: str | None, settings: Mapping[str, str]) -> Handle:
        """Open a handle. Called in worker threads only.

        Raises:
            HistoryError: The engine cannot be reached, or is not installed.
            HistoryInUse: Another process has the data directory.
        """
        ...


def engine_of(dsn: str, *, data_dir: Path) -> Engine:
    """Read a DSN.

    `chdb://` keeps history in `data_dir`, `chdb:///path` in that directory, `chdb://memory` nowhere;
    `clickhouse://user:password@host:8123/database` and `https://…` use a server. `?database=` names the database.

    Raises:
        HistoryError: The DSN is none of these.
    """
    url = urlsplit(dsn)
    options = dict(parse_qsl(url.query))
    database = options.pop("database", "") or DATABASE
    if url.scheme == "chdb":
        return ChdbEngine(path=_chdb_path(dsn, url, data_dir), database=database)
    if url.scheme in _SERVER_SCHEMES and url.hostname:
        return _server(url, options, database)
    raise HistoryError(
        f"history.dsn {url.scheme}://… is not understood; use chdb:///path or clickhouse://user:password@host:8123/database"
    )


def _chdb_path(dsn: str, url: SplitResult, data_dir: Path) -> str:
    if url.netloc in {"memory", ":memory:"}:
        return ":memory:"
    if url.netloc:
        raise HistoryError(
            f"history.dsn {dsn} has a host where the path should be; write chdb:///{url.netloc}{url.path}"
        )
    path = Path(unquote(url.path)) if url.path not in {"", "/"} else data_dir / "history"
    return str(path.resolve())


def _server(url: SplitResult, options: dict[str, str], database: str) -> ServerEngine:
    named = unquote(url.path.strip("/"))
    return ServerEngine(
        scheme=_SERVER_SCHEMES[url.scheme],
        host=url.hostname or "",
        port=url.port,
        user=unquote(url.username or "default"),
        password=unquote(url.password or ""),
        options=options,
        database=named or database,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChdbEngine:
    """ClickHouse in this process. One data directory per process, one process per data directory."""

    path: str
    """An absolute path, or `:memory:`."""
    database: str

    @property
    def description(self) -> str:
        """The engine for people."""
        return f"chdb at {self.path}"

    def connect(self, *, database: str | None, settings: Mapping[str, str]) -> Handle:
        """See `Engine.connect`."""
        self._prepare()
        client = _library("clickhouse_connect")
        _library("chdb")
        try:
            opened: Handle = client.get_client(
                interface="chdb", path=self.path, database=database, settings=dict(settings)
            )
        except Exception as error:
            raise self._refusal(error) from error
        return opened

    def connection(self) -> Any:
        """Open a connection of chdb's own, which counts the rows of an answer. Called in worker threads only."""
        return _library("chdb").connect(self.path)

    def _prepare(self) -> None:
        if self.path == ":memory:":
            return
        try:
            Path(self.path).mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise HistoryError(
                f"cannot create {self.path}: {error.strerror}; choose another data directory"
            ) from error
        self._refuse_second_process()

    def _refuse_second_process(self) -> None:
        """Look at the engine's own lock first: the engine would answer with an empty message and a line on stderr."""
        status = Path(self.path, "status")
        try:
            with status.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = _owner(status)
            if owner != os.getpid():
                raise HistoryInUse(self.path, owner) from error
        except OSError:
            return

    def _refusal(self, error: Exception) -> HistoryError:
        text = str(error)
        if found := re.search(r"already initialized with path '([^']*)'", text):
            return HistoryError(
                f"this process already keeps history in {found[1]}; chdb allows one data directory per process"
            )
        if "Error initializing EmbeddedServer" in text:
            return HistoryInUse(self.path, None)
        return HistoryError(f"cannot open history at {self.path}: {text}", retryable=True)


def _owner(status: Path) -> int | None:
    try:
        found = re.search(rb"PID: (\d+)", status.read_bytes())
    except OSError:
        return None
    return int(found[1]) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerEngine:
    """A ClickHouse server, over HTTP."""

    scheme: str
    host: str
    port: int | None
    user: str
    password: str = field(repr=False)
    options: Mapping[str, str]
    database: str

    @property
    def description(self) -> str:
        """The engine for people."""
        port = f":{self.port}" if self.port else ""
        return f"ClickHouse at {self.scheme}://{self.host}{port}/{self.database}"

    def connect(self, *, database: str | None, settings: Mapping[str, str]) -> Handle:
        """See `Engine.connect`."""
        client = _library("clickhouse_connect")
        try:
            opened: Handle = client.get_client(
                interface=self.scheme,
                host=self.host,
                port=self.port or 0,
                username=self.user,
                password=self.password,
                database=database or "__default__",
                settings=dict(settings),
                generic_args=dict(self.options),
            )
        except Exception as error:
            where = f"{self.host}:{self.port}" if self.port else self.host
            raise HistoryError(
                f"cannot reach ClickHouse at {where} ({reason(error)}); start it, or mend `history` in stagelight.toml",
                retryable=True,
            ) from error
        return opened


def reason(error: BaseException) -> str:
    """Return the cause in a few words: the system's where there is one, else the first line of the server's."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        cause = cause.__cause__ or cause.__context__
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _library(name: str) -> Any:
    """Import what only whoever opens history pays for: chdb takes 200 MB, and starts its engine when imported."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise HistoryError(
            "history needs chdb and clickhouse-connect: pip install 'stagelight[collector]'"
        ) from error
