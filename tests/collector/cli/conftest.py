"""A real collector in a process of its own, programs that report to it, and the command line as a user has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import pytest

from stagelight_collector.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

PATIENCE_SECONDS: Final = 60.0


@dataclass
class Answer:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass
class Running:
    """A collector."""

    process: subprocess.Popen[str]
    url: str

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)

    def messages(self, path: str) -> Iterator[dict[str, Any]]:
        """Yield the data of a feed."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        try:
            connection.request("GET", path)
            for raw in connection.getresponse():
                if raw.startswith(b"data: "):
                    yield json.loads(raw[6:])
        finally:
            connection.close()

    def wait_for(self, run_id: str, status: str) -> dict[str, Any]:
        """Return a run when it has reached a status."""
        for data in self.messages("/api/v1/feed?room=lobby"):
            for run in data.get("runs", [data.get("run")]):
                if run and (run["id"], run["status"]) == (run_id, status):
                    return dict(run)
        raise AssertionError(f"the feed ended before {run_id} was {status}")


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder and an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("STAGELIGHT_", "OTEL_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))


@pytest.fixture
def stagelight(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Run a command in this process."""

    def run(*arguments: str) -> Answer:
        code = main(arguments)
        out, err = capsys.readouterr()
        return Answer(code, out, err)

    return run


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "stagelight_collector", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


@contextmanager
def collecting(data_dir: Path, *options: str, port: int = 0) -> Generator[Running]:
    """Run a collector."""
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "stagelight_collector",
            "up",
            "--port",
            str(port),
            "--data-dir",
            str(data_dir),
            *options,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            assert "listening on" in line
            yield Running(process, line.split()[-1])
        finally:
            process.kill()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A collector that tests share, each with runs of its own names."""
    with collecting(tmp_path_factory.mktemp("shared")) as collector:
        yield collector


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Running]:
    """A collector that a test may kill."""
    with collecting(tmp_path / "data") as collector:
        yield collector


@pytest.fixture
def program() -> Iterator[Callable[[Running, str], subprocess.Popen[str]]]:
    """Start programs that report to a collector and wait for lines on their standard input."""
    with ExitStack() as stack:

        def start(collector: Running, source: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-c", source],
                stdin=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env={
                    **os.environ,
                    "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
                    "OTEL_SERVICE_NAME": "tests",
                },
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start
