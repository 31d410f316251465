"""What Grafana's ClickHouse data source makes of a query before it sends it: macros and variables.

After the plugin's documentation ("Macros"); only what the shipped files use, all else is an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MACRO: Final = re.compile(r"\$__(\w+)")
_VARIABLE: Final = re.compile(r"\$\{(\w+)(?::(\w+))?\}")


class Unexpanded(Exception):
    """A macro or variable that the data source would leave in the text."""


@dataclass(frozen=True)
class Expander:
    """A range of time in Unix seconds, and the values of variables."""

    since: int
    until: int
    variables: Mapping[str, list[str]] = field(default_factory=dict[str, list[str]])
    interval: int = 60

    def expand(self, sql: str) -> str:
        """Return the SQL as it is sent."""
        return self._macros(_VARIABLE.sub(self._variable, sql))

    def _variable(self, found: re.Match[str]) -> str:
        name, form = found.groups()
        if name not in self.variables or form != "singlequote":
            raise Unexpanded(found[0])
        return ",".join("'" + value.replace("'", "\\'") + "'" for value in self.variables[name])

    def _macros(self, sql: str) -> str:
        while found := _MACRO.search(sql):
            name, end = found[1], found.end()
            argument = ""
            if sql[end : end + 1] == "(":
                closed = _closing(sql, end)
                argument, end = sql[end + 1 : closed], closed + 1
            expand = self._known().get(name)
            if expand is None:
                raise Unexpanded(found[0])
            sql = sql[: found.start()] + expand(argument) + sql[end:]
        return sql

    def _known(self) -> Mapping[str, Callable[[str], str]]:
        return {
            "fromTime": lambda _: f"toDateTime({self.since})",
            "toTime": lambda _: f"toDateTime({self.until})",
            "timeFilter": lambda column: (
                f"{column} >= toDateTime({self.since}) AND {column} <= toDateTime({self.until})"
            ),
            "timeInterval": lambda column: (
                f"toStartOfInterval(toDateTime({column}), INTERVAL {self.interval} second)"
            ),
        }


def _closing(sql: str, start: int) -> int:
    depth = 0
    for place in range(start, len(sql)):
        depth += {"(": 1, ")": -1}.get(sql[place], 0)
        if depth == 0:
            return place
    raise Unexpanded(sql[start:])
