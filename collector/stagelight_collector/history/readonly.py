"""Questions in SQL from outside: one statement that only reads history, within limits.

The engine's own parser decides, not a pattern: `formatQuery` takes the text as data and gives back one statement or
an error, and `EXPLAIN AST` says what that statement is made of. What is examined is the same text that is run, on a
handle with `readonly = 1`. Read-only alone is not enough: chdb then still runs several statements in a row, writes
`INTO OUTFILE`, and reads any file with the function `file`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stagelight_collector.history.engine import reason
from stagelight_collector.history.syntax import Words, examine
from stagelight_plugins.errors import HistoryAway, QueryFailed, QueryRefused
from stagelight_plugins.hookspecs import QueryResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stagelight_collector.history.engine import Handle

MAX_SQL: Final = 64 << 10
"""Characters of a question."""
MAX_BYTES: Final = 32 << 20
"""Bytes of an answer."""
MAX_SECONDS: Final = 60.0
MAX_ROWS: Final = 100_000
MAX_MEMORY: Final = 512 << 20

BOUNDS: Final[Mapping[str, str]] = {
    "max_execution_time": f"{MAX_SECONDS:g}",
    "max_memory_usage": str(MAX_MEMORY),
    "max_bytes_ratio_before_external_group_by": "0",
    "max_bytes_ratio_before_external_sort": "0",
    "max_result_bytes": str(MAX_BYTES),
    "function_range_max_elements_in_block": "10000000",
    "max_threads": "2",
}
"""Settings of the engine that no question may go beyond."""

_FORMAT: Final = re.compile(r"\nFORMAT `?(\w+)`?\Z")
"""In backquotes where the format is named like a word of the language: `Null`."""
_SETTINGS: Final = re.compile(r"\nSETTINGS [^\n]*\Z")
_PLACEHOLDER: Final = re.compile(r"\{(\w+):[^}]+\}")
_CODE: Final = re.compile(r"^Code: (\d+)\. ")


@dataclass(frozen=True, slots=True)
class Question:
    """A statement that was examined and may be run."""

    sql: str
    """As the engine's parser writes it, without its `FORMAT`."""
    parameters: Mapping[str, Any]
    format: str
    """The format that it asks for; empty where it asks for none."""


def settings(seconds: float, rows: int) -> dict[str, str]:
    """Return the settings of a handle that questions are run on; the last one forbids changing any of them."""
    return {
        **BOUNDS,
        "max_execution_time": f"{min(max(seconds, 0.001), MAX_SECONDS):.3f}",
        "limit": str(min(max(rows, 1), MAX_ROWS) + 1),
        "result_overflow_mode": "throw",
        "output_format_json_quote_64bit_integers": "0",
        "output_format_json_quote_denormals": "0",
        "date_time_output_format": "iso",
        "readonly": "1",
    }


def words(handle: Handle) -> Words:
    """Ask the engine which functions it has that do more than calculate.

    Raises:
        QueryFailed: The engine does not say.
    """
    return Words.of(_rows(handle, Words.FUNCTIONS), _rows(handle, Words.TABLE_FUNCTIONS))


def question(
    handle: Handle, sql: str, parameters: Mapping[str, Any] | None, *, database: str, words: Words
) -> Question:
    """Examine a statement. The handle may be any with `readonly = 1`.

    Raises:
        QueryRefused: It is not one statement that only reads history.
        QueryFailed: The engine cannot read it.
    """
    if len(sql) > MAX_SQL:
        raise QueryRefused(f"it is longer than {MAX_SQL} characters")
    statement = _one(handle, sql)
    found = _FORMAT.search(statement)
    if found:
        statement = _one(handle, statement[: found.start()])
    if _SETTINGS.search(statement):
        raise QueryRefused("its SETTINGS would change the limits", "leave the clause out")
    given = dict(parameters or {})
    if unknown := sorted(given.keys() - set(_PLACEHOLDER.findall(statement))):
        raise QueryRefused(
            f"it has no place for the parameter {unknown[0]}", "write {name:Type} where it goes"
        )
    examine(_tree(handle, statement, given), database=database, words=words)
    return Question(statement, given, found[1] if found else "")


def answer(handle: Handle, asked: Question, rows: int) -> QueryResult:
    """Run a question on a handle with `settings`; return at most so many rows.

    Raises:
        QueryFailed: The engine refuses it, or a limit was reached.
    """
    body = raw(handle, asked, "JSONCompact")
    try:
        data = json.loads(body)
    except ValueError as error:
        raise QueryFailed(f"the engine's answer cannot be read: {error}") from error
    columns = data["meta"]
    limit = min(max(rows, 1), MAX_ROWS)
    return QueryResult(
        columns=tuple(column["name"] for column in columns),
        types=tuple(column["type"] for column in columns),
        rows=data["data"][:limit],
        truncated=len(data["data"]) > limit,
    )


def raw(handle: Handle, asked: Question, form: str) -> bytes:
    """Run a question on a handle with `settings`; return the answer in a format of ClickHouse's.

    Raises:
        QueryFailed: The engine refuses it, or a limit was reached.
    """
    return bounded(told(lambda: handle.raw_query(asked.sql, asked.parameters or None, fmt=form)))


def bounded(body: bytes) -> bytes:
    """Return an answer, unless it is too large.

    Raises:
        QueryFailed: It is.
    """
    if len(body) > MAX_BYTES:
        raise QueryFailed(f"the answer has {len(body)} bytes, more than {MAX_BYTES}; ask for less", code=396)
    return body


def _one(handle: Handle, sql: str) -> str:
    """Return the one statement that the text is, as the parser writes it; lone surrogates are replaced."""
    text = sql.encode("utf-8", "replace").decode()
    ((statement,),) = _rows(handle, "SELECT formatQuery({sql:String})", {"sql": text})
    if not isinstance(statement, str):
        raise QueryRefused("it is not text in UTF-8")
    ((again,),) = _rows(handle, "SELECT formatQuery({sql:String})", {"sql": statement})
    if again != statement:
        raise QueryRefused("the engine's parser reads it in two ways", "write it more plainly")
    return statement


def _tree(handle: Handle, statement: str, parameters: Mapping[str, Any]) -> list[str]:
    return [str(row[0]) for row in _rows(handle, f"EXPLAIN AST {statement}", parameters)]


def _rows(handle: Handle, sql: str, parameters: Mapping[str, Any] | None = None) -> Any:
    return told(lambda: handle.query(sql, parameters or None).result_rows)


def told(call: Callable[[], Any]) -> Any:
    """Call the engine; say what it says in one line.

    Raises:
        QueryFailed, HistoryAway: What went wrong.
    """
    try:
        return call()
    except Exception as error:
        text = str(error)
        code = getattr(error, "code", None) or (int(found[1]) if (found := _CODE.match(text)) else None)
        if (
            code is None and type(error).__name__ == "OperationalError"
        ):  # the client's: it was not the engine that spoke
            raise HistoryAway(f"history cannot be reached ({reason(error)})") from error
        raise QueryFailed(_line(text), code=code) from error


def _line(text: str) -> str:
    """Return an error of the engine without its prefixes, in one line."""
    said = " ".join(text.split())
    while found := re.match(r"^(Code: \d+\. |DB::Exception: )", said):
        said = said[found.end() :]
    return said[:500]
