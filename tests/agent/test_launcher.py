"""`stagelight run`: any program, without a change to its code."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.agent.conftest import SCRIPT, under

from stagelight import launcher

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent.conftest import Program, Sink


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["ls"], "ls is no Python program; only Python that it starts is recorded"),
        (
            ["python3", "-I", "app.py"],
            "python3: python -I keeps the agent out, nothing is recorded; run it without -I",
        ),
        (["python", "-um", "x"], ""),
        (["env", "python3", "app.py"], ""),
        (["sh", "-c", "exec python app.py"], ""),
        (["uv", "run", "app.py"], ""),
        (["SCRIPT", "-I"], ""),
        (["DEAF"], "deaf: python -E keeps the agent out, nothing is recorded; run it without -E"),
        (["LONG"], ""),
        (["SHELL"], "shell is no Python program; only Python that it starts is recorded"),
    ],
)
def test_that_nothing_can_be_recorded_is_said_beforehand(
    command: list[str], said: str, tmp_path: Path
) -> None:
    scripts = {
        "SCRIPT": "#!/venv/bin/python3.12\n",
        "DEAF": "#!/usr/bin/python3 -E\n",
        "LONG": "#!/bin/sh\n'''exec' /a/very/long/path/python3 \"$0\" \"$@\"\n",
        "SHELL": "#!/bin/sh\nls\n",
    }
    if text := scripts.get(command[0]):
        file = tmp_path / command[0].lower()
        file.write_text(text)
        command = [str(file), *command[1:]]
    assert launcher.deafness(command) == said


def test_what_cannot_be_recorded_runs_all_the_same(environ: dict[str, str]) -> None:
    done = launched(environ, sys.executable, "-I", "-c", "print('fine')")
    assert (done.returncode, done.stdout) == (0, "fine\n")
    assert done.stderr.count("\n") == 1
    assert "-I keeps the agent out" in done.stderr
    assert launched(environ, "true").stderr == (
        "stagelight run: true is no Python program; only Python that it starts is recorded\n"
    )


def test_the_file_s_patterns_hold_where_the_command_names_none(
    sink: Sink, program: Program, tmp_path: Path
) -> None:
    (tmp_path / "stagelight.toml").write_text('[agent]\nsteps = ["__main__:load_*"]\nservice = "billing"\n')
    program(SCRIPT, launcher=under(sink))
    assert sorted(sink.names()) == ["app", "load_rows"]
    assert b"billing" in sink.requests[0].body


def test_the_user_s_python_path_stays(
    sink: Sink, program: Program, environ: dict[str, str], tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "kept.py").write_text("WORD = 'kept'\n")
    path = os.pathsep.join([environ["PYTHONPATH"], str(theirs)])
    assert program("import kept; print(kept.WORD)", launcher=under(sink), PYTHONPATH=path).stdout == "kept\n"


def test_the_user_s_sitecustomize_still_runs(
    sink: Sink, program: Program, environ: dict[str, str], tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "sitecustomize.py").write_text("import builtins\nbuiltins.customized = 'yes'\n")
    path = os.pathsep.join([environ["PYTHONPATH"], str(theirs)])
    assert program("print(customized)", launcher=under(sink), PYTHONPATH=path).stdout == "yes\n"


def test_opentelemetry_instrument_finds_the_agent(
    sink: Sink, environ: dict[str, str], tmp_path: Path
) -> None:
    script = tmp_path / "app.py"
    script.write_text("import stagelight\nwith stagelight.workflow('w'):\n    pass\n")
    run = "from opentelemetry.instrumentation.auto_instrumentation import run; run()"
    env = environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": sink.url, "OTEL_SERVICE_NAME": "x"}
    env |= {
        "OTEL_PYTHON_DISTRO": "stagelight",
        "OTEL_PYTHON_CONFIGURATOR": "stagelight",
        "OTEL_TRACES_EXPORTER": "otlp",
    }
    command = [sys.executable, "-c", run, sys.executable, str(script)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert sink.names() == ["w"]


def test_an_unknown_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert launcher.main(["no-such-command-here"]) == 127
    assert "no-such-command-here: command not found" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["nosuch.py", "./nosuch", "dir/nosuch.py"])
def test_a_file_that_is_not_there_is_said_to_be_none(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert launcher.main([name]) == 127
    assert capsys.readouterr().err == f"stagelight run: there is no file {name}\n"


def test_a_path_that_cannot_be_executed_is_told_from_one_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").write_text("")
    assert launcher.main([str(tmp_path / "data")]) == 126
    assert "is there, but cannot be executed" in capsys.readouterr().err


def interpreter(directory: Path, options: str) -> Path:
    """Make a `python` that is this one with options of its own."""
    directory.mkdir()
    made = directory / "python"
    made.write_text(f'#!/bin/sh\nexec {sys.executable} {options} "$@"\n')
    made.chmod(0o755)
    return made


def launched(environ: dict[str, str], *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command under the launcher."""
    start = [
        sys.executable,
        "-c",
        "import sys; from stagelight.launcher import main; sys.exit(main(sys.argv[1:]))",
    ]
    return subprocess.run(
        [*start, *command], env=environ | variables, capture_output=True, text=True, timeout=60, check=False
    )


def test_another_python_without_the_agent_is_named_and_runs_the_program_all_the_same(
    environ: dict[str, str], tmp_path: Path
) -> None:
    other = interpreter(tmp_path / "other", "-E -S")
    code = "import os, sys; print(os.environ.get('PYTHONPATH')); sys.exit(3)"
    path = os.pathsep.join([str(other.parent), environ["PATH"]])
    for command in ("python", str(other)):
        done = launched(environ, command, "-c", code, PATH=path)
        assert (done.returncode, done.stdout) == (3, f"{environ['PYTHONPATH']}\n")
        assert done.stderr == f"stagelight run: {other} has no stagelight; use {sys.executable}\n"


def test_another_python_with_the_agent_is_nothing_to_talk_about(
    environ: dict[str, str], sink: Sink, tmp_path: Path
) -> None:
    other = interpreter(tmp_path / "other", "")
    done = launched(environ, *under(sink), str(other), "-c", "print('fine')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "fine\n", "")
    assert len(sink.spans) == 1


def test_a_python_that_cannot_even_start_is_left_to_say_so_itself(
    environ: dict[str, str], tmp_path: Path
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 9\n")
    broken.chmod(0o755)
    assert launched(environ, str(broken), "-c", "pass").returncode == 9


def test_this_environment_s_own_python_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.run", None)
    assert not launcher.is_foreign(sys.executable)
    assert not launcher.is_foreign("/somewhere/else/celery")


def test_patterns_may_have_wildcards_on_both_sides(
    sink: Sink, environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "orders.py").write_text("def ship():\n    return 1\ndef bill():\n    return 2\n")
    script = tmp_path / "app.py"
    script.write_text("import orders\norders.ship()\norders.bill()\n")
    done = launched(environ, *under(sink, "--step", "or?er*:s*"), sys.executable, str(script))
    assert done.returncode == 0, done.stderr
    assert sorted(sink.names()) == ["app", "ship"]


def test_nothing_to_run_and_wrong_options_are_usage_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert launcher.main([]) == 2
    assert launcher.main(["--step"]) == 2
    assert "stagelight run python app.py" in capsys.readouterr().err


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert launcher.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert "stagelight run python app.py" in shown
    assert "* and ? on both sides of the colon" in shown
    assert "'__main__:*' is every top-level function of the script" in shown


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["python", "app.py"], "app"),
        (["python3.11", "-X", "dev", "-u", "dir/etl.py", "--fast"], "etl"),
        (["python", "-m", "shop.worker"], "worker"),
        (["python", "-c", "pass"], "python"),
        (["/usr/bin/celery", "worker"], "celery"),
        (["./job.py"], "job"),
    ],
)
def test_the_service_is_named_after_what_runs(command: list[str], name: str) -> None:
    assert launcher.program_name(command) == name
