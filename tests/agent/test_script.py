"""The script itself, run through the import system: what it sees and what its errors look like is as ever."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.agent.conftest import SCRIPT, SCRIPT_SAYS, attributes, under

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent.conftest import Program, Sink


def test_without_patterns_a_traceback_is_the_same_to_the_letter(sink: Sink, program: Program) -> None:
    plain = program(SCRIPT, "fail", check=False)
    done = program(SCRIPT, "fail", launcher=under(sink), check=False)
    assert (done.returncode, done.stdout, done.stderr) == (plain.returncode, plain.stdout, plain.stderr)


def test_a_module_run_by_name_is_watched_too(
    sink: Sink, program: Program, environ: dict[str, str], tmp_path: Path
) -> None:
    program(SCRIPT)
    command = [
        sys.executable,
        "-c",
        "import sys; from stagelight.launcher import main; sys.exit(main(sys.argv[1:]))",
    ]
    command += [*under(sink, "--step", "__main__:load_*"), sys.executable, "-m", "app", "exit"]
    done = subprocess.run(
        command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 3, done.stderr
    assert sorted(sink.names()) == ["app", "load_rows"]
    assert attributes(next(s for s in sink.spans if s.name == "app"))["workflow.status"] == "failed"


def test_a_package_run_by_name_is_watched_too(sink: Sink, environ: dict[str, str], tmp_path: Path) -> None:
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "orders.py").write_text("def ship():\n    return 'shipped'\n")
    (package / "__main__.py").write_text(
        "from shop.orders import ship\ndef main():\n    print(ship())\nmain()\n"
    )
    command = [
        sys.executable,
        "-c",
        "import sys; from stagelight.launcher import main; sys.exit(main(sys.argv[1:]))",
    ]
    command += [
        *under(sink, "--step", "shop.orders:*", "--step", "__main__:main"),
        sys.executable,
        "-m",
        "shop",
    ]
    done = subprocess.run(
        command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "shipped\n"), done.stderr
    assert sorted(sink.names()) == ["main", "ship", "shop"]


@pytest.mark.parametrize("arguments", [("-c", "conf.yaml"), ("-m", "fast"), ("-I",)])
def test_the_program_s_own_arguments_are_the_program_s(
    arguments: tuple[str, ...], sink: Sink, program: Program
) -> None:
    done = program(SCRIPT, "exit", *arguments, launcher=under(sink, "--step", "__main__:load_*"), check=False)
    assert (done.returncode, done.stdout) == (3, SCRIPT_SAYS.format(["exit", *arguments]))
    assert [line for line in done.stderr.splitlines() if line.startswith("stagelight")] == []
    assert sorted(sink.names()) == ["app", "load_rows"]
    assert attributes(next(s for s in sink.spans if s.name == "app"))["workflow.status"] == "failed"


LAYERED = """
import functools, stagelight

def twice(function):
    @functools.wraps(function)
    def call(*arguments):
        try:
            return function(*arguments)
        except KeyError:
            return function(*arguments)
    return call

failed = []

@stagelight.step(name="by its decorator")
@twice
def layered():
    if not failed:
        failed.append(1)
        raise KeyError

@twice
def pattern():
    layered()

class Job:
    @stagelight.step
    @classmethod
    def run(cls):
        pattern()

Job.run()
"""


def test_a_decorator_in_the_code_speaks_for_a_function_that_a_pattern_names_too(
    sink: Sink, program: Program
) -> None:
    options = under(sink, "--step", "__main__:*", "--step", "__main__:Job.*")
    program(LAYERED, launcher=options)
    assert sorted(sink.names()) == ["app", "by its decorator", "pattern", "run", "twice", "twice"]
