"""Making the tables before the collector's first start: on one server, or on a cluster, which is chosen here only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stagelight_collector.history import schema
from stagelight_collector.history.engine import ServerEngine
from stagelight_collector.history.errors import HistoryError
from stagelight_collector.history.layout import Layout, found_layout, has_text_indexes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stagelight_collector.history.engine import Engine

_SIMPLE: Final = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.{}")


def script(engine: Engine, layout: Layout) -> Iterator[str]:
    """Yield the statements that make the newest schema from nothing.

    Raises:
        HistoryError: See `check`.
    """
    check(engine, layout)
    yield from schema.statements(layout, engine.database)


def check(engine: Engine, layout: Layout) -> None:
    """Look at whether an engine can have a layout.

    Raises:
        HistoryError: It cannot.
    """
    if layout.cluster and not isinstance(engine, ServerEngine):
        raise HistoryError(
            f"a cluster needs a ClickHouse server, and history is {engine.description}; "
            "set history = 'clickhouse://user:password@host:8123/database'"
        )
    if not set(layout.cluster) <= _SIMPLE:
        raise HistoryError(f"{layout.cluster!r} is no name of a cluster; SHOW CLUSTERS lists them")


def prepare(engine: Engine, cluster: str, text_indexes: bool | None = None) -> tuple[Layout, int, int]:
    """Make the tables, or bring them to the newest schema; return the layout, and the version before and after.

    `text_indexes` None means: on servers that have them. Must not be called on the main thread.

    Raises:
        HistoryError: The engine cannot be reached, or has tables in another layout.
    """
    check(engine, Layout(cluster))
    outside = engine.connect(database=None, settings={})
    try:
        version = str(outside.query("SELECT version()").result_rows[0][0])
        if text_indexes is None:
            text_indexes = isinstance(engine, ServerEngine) and has_text_indexes(version)
        layout = Layout(cluster, text_indexes)
        schema.create_database(outside, engine.database, layout)
    finally:
        outside.close()
    handle = engine.connect(database=engine.database, settings={})
    try:
        before = schema.version(handle)
        if before and (there := found_layout(handle)).cluster != cluster:
            raise HistoryError(
                f"{engine.description} has tables {_where(there.cluster)} already, not {_where(cluster)}; "
                "where they are is chosen when they are made: name another database"
            )
        schema.migrate(handle, layout)
        return layout, before, schema.VERSION
    finally:
        handle.close()


def _where(cluster: str) -> str:
    return f"on the cluster {cluster!r}" if cluster else "on one server"
