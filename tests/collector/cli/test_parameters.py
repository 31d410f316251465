"""Points in time on the command line."""

from __future__ import annotations

import click
import pytest

from stagelight_collector.cli.parameters import Moment

NOW = 1_764_000_000.0


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("2h", NOW - 7_200),
        ("1.5s", NOW - 1.5),
        ("2026-01-02T03:04:05Z", 1_767_323_045),
        ("2026-01-02T03:04:05.25+02:00", 1_767_315_845.25),
    ],
)
def test_a_moment_is_so_long_ago_or_a_date(written: str, seconds: float) -> None:
    assert Moment(lambda: NOW).convert(written, None, None) == pytest.approx(seconds * 1e3, abs=0.5)


def test_a_date_alone_is_its_midnight_here() -> None:
    assert Moment().convert("2026-01-02", None, None) == Moment().convert("2026-01-02T00:00", None, None)


@pytest.mark.parametrize("written", ["", "yesterday", "2 h", "-1h", "2026-13-01"])
def test_what_is_no_moment_is_refused_with_an_example(written: str) -> None:
    with pytest.raises(click.BadParameter, match="write 2h for two hours ago"):
        Moment().convert(written, None, None)
