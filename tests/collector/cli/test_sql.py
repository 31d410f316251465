"""`stagelight sql` against a real collector."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from .conftest import Answer, Running

    Stagelight = Callable[..., Answer]


def test_an_answer_is_a_table_or_json(stagelight: Stagelight, shared: Running) -> None:
    query = "SELECT number AS n, concat('row\n', toString(number)) AS text, [1] AS list FROM numbers(2) WHERE number > {least:Int8}"
    table = stagelight("sql", query, "-p", "least=0", "--url", shared.url)
    assert (table.code, table.err) == (0, "")
    assert table.out.splitlines() == ["n  text   list", "1  row 1  [1]"]
    found = json.loads(stagelight("sql", query, "-p", "least=-1", "--json", "--url", shared.url).out)
    assert found["rows"] == [[0, "row\n0", [1]], [1, "row\n1", [1]]]
    assert found["columns"] == ["n", "text", "list"]


def test_more_rows_than_asked_for_are_told(stagelight: Stagelight, shared: Running) -> None:
    answer = stagelight("sql", "SELECT * FROM numbers(9)", "--rows", "2", "--url", shared.url)
    assert answer.out.split() == ["number", "0", "1"]
    assert "more than 2 rows; ask for more with --rows" in answer.err


def test_a_query_is_read_from_a_pipe(
    stagelight: Stagelight, shared: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("SELECT 1 AS one"))
    assert stagelight("sql", "-", "--url", shared.url).out.split() == ["one", "1"]


def test_what_is_refused_is_told_in_one_line(stagelight: Stagelight, shared: Running) -> None:
    for query, said in (
        ("DROP TABLE otel_logs", "This SQL is refused: it is no question (Drop). Only SELECT"),
        ("SELECT nonsense", "Unknown expression identifier"),
    ):
        answer = stagelight("sql", query, "--url", shared.url)
        assert answer.code == 2
        assert said in answer.err
        assert answer.err.count("\n") == 1
    assert "is not NAME=VALUE" in stagelight("sql", "SELECT 1", "-p", "x", "--url", shared.url).err
