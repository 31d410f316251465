"""What a newer Python refuses and this one lets pass."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for folder in ("agent", "collector", "plugins", "dashboards")
    for path in (ROOT / folder).rglob("*.py")
)
_NUMBERED = re.compile(r"(?:VALUES|WHERE|LIMIT|SET)\b.*[\s(]\?\d")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_values_are_bound_to_sqlite_without_numbers(path: Path) -> None:
    """`?1` beside a sequence is an error from Python 3.14 on."""
    assert not [line for line in path.read_text().splitlines() if _NUMBERED.search(line)]
