"""Killed at any moment, the journal has every acknowledged request once and hands it to history once."""

from __future__ import annotations

import random
import secrets
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stagelight_collector.journal import Plan

if TYPE_CHECKING:
    from stagelight_collector.journal import Entry

LIVES = 14
BETWEEN = "taken by history, not yet committed\n"
PROGRAM = Path(__file__).with_name("sender_and_history.py")


def _live_and_die(path: Path, history: Path, life: int, lines: int, moment: str) -> list[str]:
    """Start the program, kill it after so many lines and then the next one of a kind; all that it acknowledged."""
    command = [sys.executable, str(PROGRAM), str(path), str(history), str(life)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline() for _ in range(lines)]
        while moment and acknowledged[-1:] not in ([moment], [""]):
            acknowledged.append(process.stdout.readline())
        process.kill()
        acknowledged += process.stdout.readlines()
    assert process.returncode == -9, f"life {life} ended by itself with {process.returncode}"
    return [line.strip() for line in acknowledged if line.endswith("\n") and line != BETWEEN]


def _batches(history: Path) -> list[tuple[int, int, list[str]]]:
    batches: list[tuple[int, int, list[str]]] = []
    for file in history.iterdir():
        if file.suffix != ".part":
            first, last = file.name.split("-")
            batches.append((int(first), int(last), file.read_text().split("\n")))
    return sorted(batches)


@pytest.mark.crash
async def test_every_acknowledged_request_is_there_once_after_any_number_of_kills(
    path: Path, tmp_path: Path, opened: Any, everything: Any
) -> None:
    seed = secrets.randbelow(2**32)
    print(f"seed {seed}")  # shown when the test fails
    rng = random.Random(seed)  # replayable by its seed
    history = tmp_path / "history"
    history.mkdir()
    acknowledged: set[str] = set()
    for life in range(1, LIVES + 1):
        acknowledged |= set(
            _live_and_die(path, history, life, rng.choice((0, 1, 50, 200, 400)), rng.choice(("", BETWEEN)))
        )

    async with opened() as journal:
        waiting: list[Entry] = await everything(journal)
        committed = journal.committed
        unfinished = await journal.unfinished()
    assert not (history / "violation").exists()
    batches = _batches(history)
    if batches and batches[-1][1] > committed:
        # Killed after history took it and before the journal let go of all of it: the plan says what is left of it.
        assert unfinished == Plan(committed + 1, batches[-1][1])
        left = [entry.body.rstrip(b"\0").decode() for entry in waiting if entry.seq <= unfinished.last]
        assert batches[-1][2][-len(left) :] == left
        del batches[-1][2][-len(left) :]
    names = [name for _, _, part in batches for name in part]
    names += [entry.body.rstrip(b"\0").decode() for entry in waiting]
    assert len(acknowledged) > 300
    assert acknowledged <= set(names)
    assert [name for name, count in Counter(names).items() if count > 1] == []
    assert [first for first, _, _ in batches[1:]] == [last + 1 for _, last, _ in batches[:-1]]
    assert [entry.seq for entry in waiting] == sorted({entry.seq for entry in waiting})
