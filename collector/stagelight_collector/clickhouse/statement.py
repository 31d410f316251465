"""What a client of the HTTP interface asks for: the statement, its parameters and settings, the form of the answer."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from aiohttp import web

from stagelight_collector.clickhouse.errors import Refused
from stagelight_collector.history import readonly

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BODY: Final = 256 << 10
"""Bytes of a request's body, decompressed."""

_TRANSPORT: Final = frozenset(
    {
        "add_http_cors_header", "buffer_size", "cancel_http_readonly_queries_on_client_close",
        "client_protocol_version", "compress", "database", "default_format", "enable_http_compression",
        "http_headers_progress_interval_ms", "http_response_buffer_size", "http_zlib_compression_level", "network_compression_method",
        "password", "query", "query_id", "quota_key", "role", "send_progress_in_http_headers", "session_check",
        "session_id", "session_timeout", "stacktrace", "user", "wait_end_of_query",
    }
)  # fmt: skip
"""Parameters of the transport: they are no settings of the engine. Sessions, roles and quotas have no meaning here."""

_IGNORED: Final = frozenset(
    {"async_insert", "wait_for_async_insert", "log_comment", "log_queries", "readonly"}
)
"""Settings that many clients send with everything; they change nothing in what is only read."""

_LOWERED: Final = frozenset({"max_execution_time", "max_memory_usage", "max_result_bytes", "max_threads"})
"""Settings that a client may lower, never raise."""

_ALLOWED: Final = re.compile(
    r"output_format_(?!schema)\w+|date_time_(?:in|out)put_format|format_(?:csv|tsv|json|custom)_\w+|extremes|totals_mode"
    r"|join_(?:use_nulls|algorithm)|group_by_use_nulls|union_default_mode|except_default_mode|intersect_default_mode"
    r"|max_(?:result_rows|block_size|rows_to_read|bytes_to_read|rows_to_group_by)|(?:result|read|timeout)_overflow_mode"
    r"|session_timezone|cast_\w+|input_format_\w+|(?:allow_experimental|enable)_\w+_type|aggregate_functions_null_for_empty|prefer_column_name_to_alias|final"
    r"|(?:allow_experimental_|enable_)analyzer"
)
_INSERT: Final = re.compile(r"\s*insert\b", re.IGNORECASE)
"""Its data would be read as a part of the statement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A statement and how it is to be answered."""

    sql: str
    database: str
    default_format: str
    """The format of the answer where the statement names none."""
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    revision: int = 0
    """The revision of the native protocol that the client reads."""
    blocks: bool = False
    """Whether the answer is to be cut into compressed blocks (`compress=1`)."""


async def read(request: web.Request) -> Statement:
    """Read a request.

    Raises:
        Refused: It is too large, or asks for what is not done here.
    """
    query = request.query
    return Statement(
        sql=await _sql(request),
        database=request.headers.get("X-ClickHouse-Database") or query.get("database", ""),
        default_format=request.headers.get("X-ClickHouse-Format")
        or query.get("default_format", "TabSeparated"),
        parameters={
            name.removeprefix("param_"): value for name, value in query.items() if name.startswith("param_")
        },
        settings=_settings(query),
        revision=int(found) if (found := query.get("client_protocol_version", "")).isdecimal() else 0,
        blocks=query.get("compress", "0") not in {"0", ""},
    )


async def _sql(request: web.Request) -> str:
    if request.content_type.startswith("multipart/"):
        raise Refused(
            48, "NOT_IMPLEMENTED", "External tables are not supported here; send the statement as the body"
        )
    if request.query.get("decompress", "0") not in {"0", ""}:
        raise Refused(
            48, "NOT_IMPLEMENTED", "decompress=1 is not supported here; send the statement as it is"
        )
    try:
        body = (await request.read()).decode("utf-8", "replace")
    except web.HTTPRequestEntityTooLarge as error:
        raise Refused(
            307, "TOO_MANY_BYTES", f"The request is larger than {MAX_BODY} bytes; shorten the statement"
        ) from error
    encoded = request.headers.get("Content-Encoding", "").lower() not in {"", "identity", "gzip", "deflate"}
    if encoded or _INSERT.match(request.query.get("query", "")):
        raise Refused(
            164, "READONLY", "Nothing can be written here; send questions, as they are or with gzip"
        )
    sql = "\n".join(filter(None, (request.query.get("query", ""), body))).strip()
    if not sql:
        raise Refused(62, "SYNTAX_ERROR", "Empty query; send a statement as the body or as ?query=")
    return sql


def _settings(query: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in query.items():
        if name in _TRANSPORT or name in _IGNORED or name.startswith("param_") or name == "decompress":
            continue
        if name in _LOWERED:
            found[name] = _lowered(name, value)
        elif _ALLOWED.fullmatch(name):
            found[name] = value
        else:
            raise Refused(
                452,
                "SETTING_CONSTRAINT_VIOLATION",
                f"Setting {name} should not be changed here; leave it out",
            )
    return found


def _lowered(name: str, value: str) -> str:
    """Return what a client asks for, but no more than the bound; 0 means no bound in ClickHouse, here the bound."""
    try:
        asked = float(value)
    except ValueError as error:
        raise Refused(
            27, "CANNOT_PARSE_INPUT_ASSERTION_FAILED", f"Setting {name} is a number, not {value[:50]!r}"
        ) from error
    bound = float(readonly.BOUNDS[name])
    lower = asked if 0 < asked < bound else bound
    return f"{lower:g}" if name == "max_execution_time" else f"{lower:.0f}"
