"""What a statement may be made of: the nodes of ClickHouse's syntax tree, as `EXPLAIN AST` prints them.

What is not known here is refused. Kinds of nodes, table functions and tables of `system` are allowed by name, because
new ones may do anything; ordinary functions are refused by name and by the category that the engine gives them, because
there are two thousand of them and nearly all only calculate.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from stagelight_plugins.errors import QueryRefused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_STATEMENTS: Final = frozenset(
    {
        "SelectWithUnionQuery", "SelectIntersectExceptQuery", "Explain", "DescribeQuery",
        "ShowTables", "ShowColumns", "ShowIndexes", "ShowFunctions",
        "ShowCreateTableQuery", "ShowCreateViewQuery", "ExistsTableQuery", "ExistsViewQuery",
    }
)  # fmt: skip

_NODES: Final = frozenset(
    {
        "SelectWithUnionQuery", "SelectIntersectExceptQuery", "SelectQuery", "Subquery", "WithElement",
        "ExpressionList", "Identifier", "Literal", "Function", "Asterisk", "QualifiedAsterisk",
        "TablesInSelectQuery", "TablesInSelectQueryElement", "TableExpression", "TableIdentifier", "TableJoin",
        "ArrayJoin", "SampleRatio", "OrderByElement", "StorageOrderByElement", "InterpolateElement",
        "WindowDefinition", "WindowListElement", "ColumnsRegexpMatcher", "ColumnsListMatcher",
        "QualifiedColumnsRegexpMatcher", "QualifiedColumnsListMatcher", "ColumnsTransformerList",
        "ColumnsExceptTransformer", "ColumnsReplaceTransformer", "ColumnsReplaceTransformer::Replacement",
        "DataType",
    }
)  # fmt: skip

_EXPLAINS: Final = ("EXPLAIN", "EXPLAIN SYNTAX", "EXPLAIN QUERY TREE", "EXPLAIN PIPELINE", "EXPLAIN ESTIMATE")  # fmt: skip

_TABLE_FUNCTIONS: Final = frozenset(
    {"numbers", "numbers_mt", "zeros", "zeros_mt", "generateseries", "generate_series", "values", "sqlstandardvalues", "null", "view"}
)  # fmt: skip

_SYSTEM_TABLES: Final = frozenset(
    {
        "columns", "data_skipping_indices", "data_type_families", "databases", "formats", "functions", "keywords",
        "numbers", "numbers_mt", "one", "parts", "settings", "table_engines", "table_functions", "tables",
        "time_zones", "zeros", "zeros_mt",
    }
)  # fmt: skip

_CATEGORIES: Final = ("AI", "Dictionary", "Embedded Dictionary", "Introspection", "Machine Learning")

_FUNCTIONS: Final = frozenset(
    {
        "file",  # reads any file
        "hascolumnintable",  # connects to other servers
        "joinget", "joingetornull",  # read tables by a name in a text
        "generateserialid",  # counts up in Keeper
        "getclienthttpheader", "showcertificate", "getserversetting",
        "sleep", "sleepeachrow",
        "catboostevaluate", "reversednsquery",
    }
)  # fmt: skip

_IN: Final = re.compile(r"(global)?(not)?(null)?in(ignoreset)?", re.IGNORECASE)
_LINE: Final = re.compile(r"( *)(\S+) ?(.*)", re.DOTALL)
_TAIL: Final = re.compile(r" ?(\(alias .*\) ?)?(\(children \d+\))?\Z", re.DOTALL)


class _Node(NamedTuple):
    kind: str
    detail: str
    above: tuple[str, ...]
    """The kinds of the nodes around it, the outermost first."""
    function: str
    """The function whose argument it is."""
    place: int
    """Which argument, from 0."""


@dataclass(frozen=True, slots=True)
class Words:
    """The functions of the engine that are refused, in small letters."""

    functions: frozenset[str]
    table_functions: frozenset[str]

    FUNCTIONS: ClassVar[str] = "SELECT name, alias_to, categories, toString(origin) FROM system.functions"
    TABLE_FUNCTIONS: ClassVar[str] = "SELECT name FROM system.table_functions"

    @classmethod
    def of(cls, functions: Iterable[Sequence[Any]], table_functions: Iterable[Sequence[Any]]) -> Words:
        """Choose them from the engine's own lists."""
        rows = [
            (name.lower(), alias.lower(), category, origin) for name, alias, category, origin in functions
        ]
        refused = set(_FUNCTIONS) | {
            name for name, _, category, origin in rows if category in _CATEGORIES or origin != "System"
        }
        refused |= {name for name, alias, _, _ in rows if alias in refused}
        # `format` is a function of texts, too.
        tables = {str(name).lower() for (name,) in table_functions} - _TABLE_FUNCTIONS - {"format"}
        return cls(frozenset(refused), frozenset(tables))


def examine(lines: Sequence[str], *, database: str, words: Words) -> None:
    """Look at every node of a syntax tree.

    Raises:
        QueryRefused: It is more than a question to the database.
    """
    nodes = list(_nodes(lines))
    if not nodes or nodes[0].kind not in _STATEMENTS:
        what = nodes[0].kind.removesuffix("Query") if nodes else "nothing"
        raise QueryRefused(
            f"it is no question ({what})", "only SELECT, SHOW, DESCRIBE, EXISTS and EXPLAIN are answered"
        )
    for number, node in enumerate(nodes):
        _statement(node, database) if number == 0 else _look(node, database, words)


def _nodes(lines: Sequence[str]) -> Iterator[_Node]:
    stack: list[tuple[str, str]] = []
    places: dict[int, int] = {}
    for line in lines:
        found = _LINE.match(line)
        if found is None:
            raise QueryRefused("it has a name that breaks the line", "use plain names")
        depth, kind, detail = len(found[1]), found[2], _TAIL.sub("", f" {found[3]}").strip()
        del stack[depth:]
        places = {each: place for each, place in places.items() if each <= depth}
        above = tuple(kind for kind, _ in stack)
        function = stack[-2][1] if len(stack) > 1 and stack[-2][0] == "Function" else ""
        yield _Node(kind, detail, above, function, places.setdefault(depth, 0))
        places[depth] += 1
        stack.append((kind, detail))


def _statement(node: _Node, database: str) -> None:
    if node.kind == "Explain" and node.detail not in _EXPLAINS:
        raise QueryRefused(f"{node.detail} is not answered")
    if node.kind.startswith(("ShowCreate", "Exists")) and len(name := node.detail.split()) > 1:
        _table(".".join(name), database)


def _look(node: _Node, database: str, words: Words) -> None:
    if node.kind == "Set":
        if node.above != ("Explain",):
            raise QueryRefused("its SETTINGS would change the limits", "leave the clause out")
    elif node.kind == "Literal" and node.above == ("SelectWithUnionQuery",):
        raise QueryRefused("INTO OUTFILE would write a file", "leave the clause out")
    elif node.kind == "ColumnsApplyTransformer":
        raise QueryRefused("APPLY hides what it calls", "write the functions out")
    elif node.kind not in _NODES:
        raise QueryRefused(f"{node.kind} is not known here", "use plain SQL")
    elif node.kind == "TableIdentifier":
        _table(node.detail, database)
    elif node.kind == "Function":
        _function(node, words)
    elif node.kind == "Identifier":
        _identifier(node, database, words)


def _function(node: _Node, words: Words) -> None:
    name = node.detail.lower()
    if node.above[-1:] == ("TableExpression",) and name not in _TABLE_FUNCTIONS:
        raise QueryRefused(
            f"the table function {node.detail} reaches beyond history", "read history's own tables"
        )
    if name in words.functions or name in words.table_functions:
        raise QueryRefused(f"the function {node.detail} does more than calculate", "leave it out")


def _identifier(node: _Node, database: str, words: Words) -> None:
    if node.detail.lower() in words.functions:  # a name stands for its function: arrayMap(file, …)
        raise QueryRefused(
            f"the name {node.detail} stands for a function that does more than calculate", "use another"
        )
    if "." in node.detail and node.place and _IN.fullmatch(node.function):  # … IN a table
        _table(node.detail, database)


def _table(name: str, database: str) -> None:
    place, _, table = name.rpartition(".")
    if place in {"", database} or (place == "system" and table in _SYSTEM_TABLES):
        return
    if place.lower() == "information_schema":
        return
    raise QueryRefused(f"{name} is no table of history", "`SHOW TABLES` lists them")
