"""Text of runs and lengths of time."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from stagelight_collector.cli import lines, tables

PAGES_TABLE = Path(__file__).parents[3] / "dashboards" / "ui" / "src" / "view" / "view.test.ts"
LONG = "a" * 400


def test_lengths_of_time_are_spelt_as_in_the_page() -> None:
    block = PAGES_TABLE.read_text().partition("'%d ms reads %s'")[0]
    table = re.findall(r"\[(-?[\d_.]+), '([^']+)'\]", block)

    assert len(table) > 10
    assert [lines.duration(float(ms)) for ms, _ in table] == [text for _, text in table]


def test_a_name_cannot_command_the_terminal() -> None:
    assert lines.plain("a\x1b[2Jb\r\nc\u202e") == "a [2Jb  c "


@pytest.mark.parametrize(
    ("current", "total", "message", "text"),
    [(1.0, 3.0, "part", "1/3 part"), (1_234_567.0, None, "", "1234567"), (None, None, "soon", "soon"), (0.5, 1.0, "", "0.5/1")],
)  # fmt: skip
def test_progress_reads_as_it_is_spoken(
    current: float | None, total: float | None, message: str, text: str
) -> None:
    assert lines.progress({"current": current, "total": total, "message": message}) == text


def test_nothing_of_a_table_is_cut_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    tables.print_table(("Run", "Error"), [(LONG, Text(LONG)), ("b", "")])

    assert capsys.readouterr().out.splitlines()[1:] == [f"{LONG}  {LONG}", "b"]


def test_only_the_last_column_is_cut_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=60, color_system=None, soft_wrap=True)

    def made(*, soft_wrap: bool) -> Console:
        assert soft_wrap
        return terminal

    monkeypatch.setattr(tables, "Console", made)
    tables.print_table(("Run", "Error"), [("b" * 40, LONG), ("c" * 70, LONG)])

    assert isinstance(terminal.file, io.StringIO)
    found = terminal.file.getvalue().splitlines()
    assert found[1].startswith("b" * 40 + " ")
    assert found[2].split()[0] == "c" * 70
    assert found[1].endswith("…")
    assert capsys.readouterr().out == ""
