"""`stagelight up` and `stagelight demo` as processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from stagelight_collector.cli.up import stopped

from .conftest import PATIENCE_SECONDS, collecting, command

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/stagelight"])
def test_an_unusable_data_directory_is_one_line(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    answer = command("up", "--port", "0", "--data-dir", place)

    assert answer.returncode == 2
    assert answer.stderr.startswith(f"stagelight: the data directory {place} cannot be used (")
    assert answer.stderr.endswith("choose another with --data-dir\n")
    assert answer.stderr.count("\n") == 1


def test_a_history_server_that_is_away_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    dsn = f"clickhouse://user:secret@127.0.0.1:{port}"
    answer = command("up", "--port", "0", "--data-dir", str(tmp_path / "data"), "--history", dsn)

    assert answer.returncode == 2
    assert answer.stderr == (
        f"stagelight: cannot reach ClickHouse at 127.0.0.1:{port} (connection refused); "
        "start it, or mend `history` in stagelight.toml\n"
    )


def test_up_takes_a_relative_data_directory_and_stops_with_a_true_word(tmp_path: Path) -> None:
    with collecting(tmp_path.relative_to(tmp_path.parent) / ".." / "data") as collector:
        collector.process.send_signal(signal.SIGINT)
        _, errors = collector.process.communicate(timeout=PATIENCE_SECONDS)

    assert collector.process.returncode == 0
    assert errors.endswith("Stopped; nothing was lost.\n")


def test_a_browser_of_the_terminal_sees_the_page_while_it_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = tmp_path / "browser"
    browser.write_text(
        f"#!{sys.executable}\nimport sys, time, urllib.request\n"
        f"page = urllib.request.urlopen(sys.argv[1], timeout={PATIENCE_SECONDS})\n"
        "print('seen', page.status, file=sys.stderr, flush=True)\nsys.stdin.read()\n"
    )
    browser.chmod(0o700)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    with collecting(tmp_path / "data", "--open") as collector:
        assert collector.process.stderr is not None
        said = iter(collector.process.stderr.readline, "")
        assert any(line == "seen 200\n" for line in said)
        collector.process.send_signal(signal.SIGINT)
        _, errors = collector.process.communicate(timeout=PATIENCE_SECONDS)

    assert collector.process.returncode == 0
    assert errors.endswith("Stopped; nothing was lost.\n")


@pytest.mark.parametrize(
    ("left", "word"),
    [
        (0, "Stopped; nothing was lost."),
        (1, "Stopped; 1 entry stays in the journal and is taken up at the next start."),
        (7, "Stopped; 7 entries stay in the journal and are taken up at the next start."),
    ],
)
def test_the_last_word_counts_what_stays_in_the_journal(left: int, word: str) -> None:
    assert stopped(left) == word


def test_the_demo_reads_no_settings_and_ctrl_c_is_one_word(tmp_path: Path) -> None:
    (tmp_path / "stagelight.toml").write_text(
        "history = 'clickhouse://127.0.0.1:9'\nport = 1\n[plugins]\nload = ['no']\n"
    )
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {
        **os.environ,
        "TMPDIR": str(scratch),
        "STAGELIGHT_HISTORY": "x://",
        "OTEL_SDK_DISABLED": "true",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "stagelight_collector", "demo", "--no-open", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        assert "The page is at" in demo.stdout.readline()
        demo.stderr.readline()  # the warning that the plugin is not there
        while "standard library survey" not in (line := demo.stderr.readline()):
            assert line, "the demo ended before its job began"
        demo.send_signal(signal.SIGINT)
        _, errors = demo.communicate(timeout=PATIENCE_SECONDS)

    assert (demo.returncode, errors.splitlines()[-1]) == (0, "Stopped.")
    assert "Traceback" not in errors
    assert list(scratch.iterdir()) == []


def test_the_demo_of_workflow_live_plays_its_sample_until_ctrl_c(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "stagelight_collector", "demo", "--workflow-live", "--no-open", "--port", "0",
         "--data-dir", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:  # fmt: skip
        assert demo.stdout is not None
        address = demo.stdout.readline().split()[-1] + "/workflow/"
        running: list[bool] = []
        while running != [True] * 3:
            with urllib.request.urlopen(address, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310  # our own
                running = [each["status"] == "running" for each in json.load(answer)]
        demo.send_signal(signal.SIGINT)
        _, errors = demo.communicate(timeout=PATIENCE_SECONDS)

    assert demo.returncode == 0
    assert "Traceback" not in errors
    with closing(sqlite3.connect(tmp_path / "plugins" / "workflow_live" / "workflows.sqlite")) as database:
        states = [json.loads(state) for (state,) in database.execute("SELECT state FROM workflows")]
    assert {state["name"]: state["error"] for state in states} == {
        f"Sample Workflow {number}": "Stopped" for number in (1, 2, 3)
    }


def test_a_seed_without_the_sample_is_refused_with_the_remedy() -> None:
    answer = command("demo", "--seed", "7")

    assert answer.returncode == 2
    assert "add --workflow-live" in answer.stderr
