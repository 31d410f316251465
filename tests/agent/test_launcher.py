"""`stagelight run`: any program, without a change to its code."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from stagelight import launcher

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent.conftest import Program, Sink

APP = '''\
"""The pipeline."""
from __future__ import annotations

import logging
import sys

def load_rows(count):
    logging.getLogger("app").warning("loading %s", count)
    return count

def save(rows):
    if "fail" in sys.argv:
        raise ValueError("disk full")
    return rows

class Job:
    @staticmethod
    def prepare():
        return 1

    def run(self):
        return save(load_rows(Job.prepare()))

if __name__ == "__main__":
    print(Job().run(), sys.argv[1:], __name__, __spec__, __doc__, sys.path[0] == __file__.rpartition("/")[0])
    if "exit" in sys.argv:
        raise SystemExit(3)
'''
SHOWN = "1 {} __main__ None The pipeline. True\n"


def attributes(item: Any) -> dict[str, Any]:
    """Return the attributes of a span or log record as plain values."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in item.attributes}


def under(sink: Sink, *options: str) -> tuple[str, ...]:
    """Return the launcher's options that send to the sink."""
    return ("--endpoint", sink.url, *options)


def test_a_plain_script_is_one_run_named_after_it(sink: Sink, program: Program) -> None:
    done = program(APP, "a", launcher=under(sink))
    assert done.stdout == SHOWN.format("['a']")
    assert [(span.name, attributes(span)["workflow.status"]) for span in sink.spans] == [("app", "completed")]
    assert [record.event_name for record in sink.logs] == ["workflow.run_started"]


def test_functions_that_patterns_name_are_steps_of_that_run(sink: Sink, program: Program) -> None:
    done = program(
        APP,
        launcher=under(sink, "--step", "__main__:load_*", "--step", "app:save", "--step", "__main__:Job.*"),
    )
    assert done.stdout == SHOWN.format("[]")
    assert sorted(sink.names()) == ["app", "load_rows", "prepare", "run", "save"]
    assert len({attributes(span)["workflow.run.id"] for span in sink.spans}) == 1
    steps = {span.name: attributes(span) for span in sink.spans}
    assert steps["save"]["workflow.parent.step.id"] == steps["run"]["workflow.step.id"]
    assert sink.logs[0].event_name == "workflow.run_started"


def test_a_workflow_pattern_takes_the_place_of_the_program_s_run(sink: Sink, program: Program) -> None:
    program(APP, launcher=under(sink, "--workflow", "__main__:Job.run", "--step", "__main__:s*"))
    assert sorted(sink.names()) == ["run", "save"]
    assert {attributes(span)["workflow.name"] for span in sink.spans} == {"run"}


def test_an_error_fails_the_run_and_looks_as_it_always_did(sink: Sink, program: Program) -> None:
    done = program(APP, "fail", launcher=under(sink, "--step", "__main__:*ave"), check=False)
    assert done.returncode == 1
    assert 'line 13, in save\n    raise ValueError("disk full")\nValueError: disk full\n' in done.stderr
    assert "runpy" not in done.stderr
    app = next(span for span in sink.spans if span.name == "app")
    assert attributes(app)["workflow.status"] == "failed"
    assert attributes(app)["error.type"] == "ValueError"


def test_without_patterns_a_traceback_is_the_same_to_the_letter(sink: Sink, program: Program) -> None:
    plain = program(APP, "fail", check=False)
    done = program(APP, "fail", launcher=under(sink), check=False)
    assert (done.returncode, done.stdout, done.stderr) == (plain.returncode, plain.stdout, plain.stderr)


def test_an_exit_code_fails_the_run_and_is_passed_on(sink: Sink, program: Program) -> None:
    done = program(APP, "exit", launcher=under(sink), check=False)
    assert done.returncode == 3
    assert attributes(sink.spans[0])["error.type"] == "SystemExit"


def test_a_module_run_by_name_is_watched_too(
    sink: Sink, program: Program, environ: dict[str, str], tmp_path: Path
) -> None:
    program(APP)
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
    done = program(APP, "exit", *arguments, launcher=under(sink, "--step", "__main__:load_*"), check=False)
    assert (done.returncode, done.stdout) == (3, SHOWN.format(["exit", *arguments]))
    assert [line for line in done.stderr.splitlines() if line.startswith("stagelight")] == []
    assert sorted(sink.names()) == ["app", "load_rows"]
    assert attributes(next(s for s in sink.spans if s.name == "app"))["workflow.status"] == "failed"


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


def test_an_app_with_workflows_of_its_own_is_not_swallowed(sink: Sink, program: Program) -> None:
    code = "import stagelight\nwith stagelight.workflow('etl'), stagelight.step('load'):\n    pass\n"
    program(code, launcher=under(sink))
    assert sorted(sink.names()) == ["etl", "load"]
    assert [record.event_name for record in sink.logs] == ["workflow.run_started", "workflow.step_started"]


def test_steps_outside_any_workflow_share_the_program_s_run(sink: Sink, program: Program) -> None:
    code = "import stagelight\nfor name in 'ab':\n    with stagelight.step(name):\n        stagelight.log(name)\n"
    program(code, launcher=under(sink))
    assert sorted(sink.names()) == ["a", "app", "b"]
    assert len({span.trace_id for span in sink.spans}) == 1


def test_looking_and_setting_do_not_open_the_program_s_run(sink: Sink, program: Program) -> None:
    code = """
import stagelight
stagelight.set(early=1)
print(stagelight.current_run_id())
with stagelight.workflow("etl"):
    pass
"""
    assert program(code, launcher=under(sink)).stdout == "None\n"
    assert sink.names() == ["etl"]


def test_once_the_program_s_run_is_open_it_is_seen(sink: Sink, program: Program) -> None:
    code = """
import stagelight
stagelight.progress(1, 2)
stagelight.set(owner="me")
print(stagelight.current_run_id())
"""
    done = program(code, launcher=under(sink))
    (run,) = sink.spans
    assert attributes(run)["workflow.run.id"] == done.stdout.strip()
    assert attributes(run)["owner"] == "me"


def test_logging_becomes_lines_of_the_step_and_prints_what_it_always_did(
    sink: Sink, program: Program
) -> None:
    code = """
import logging, stagelight
logging.basicConfig(level=logging.DEBUG, format="%(message)s")
with stagelight.workflow("w"), stagelight.step("s"):
    logging.getLogger("app").info("with token=%s", "abc123")
    logging.getLogger("app").debug("too fine")
    logging.getLogger("stagelight.x").error("ours")
    logging.getLogger("urllib3.x").error("theirs")
logging.info("outside")
"""
    done = program(code, launcher=under(sink))
    assert done.stderr == "with token=abc123\ntoo fine\nours\ntheirs\noutside\n"
    assert [(r.body.string_value, r.severity_text) for r in sink.events("log")] == [
        ("with token=[redacted]", "INFO")
    ]
    program(code, launcher=under(sink), STAGELIGHT_LOG_LEVEL="off")
    assert len(sink.events("log")) == 1


def test_a_pattern_that_names_no_function_is_said_at_the_end_and_others_are_not(
    sink: Sink, program: Program
) -> None:
    patterns = ("__main__:lod_*", "shop.orders:*", "__main__:load_*", "app:load_rows")
    done = program(APP, launcher=under(sink, *(part for text in patterns for part in ("--step", text))))
    assert done.stdout == SHOWN.format("[]")
    assert [line for line in done.stderr.splitlines() if line.startswith("stagelight")] == [
        "stagelight: __main__:lod_* names no function of a module that this program has loaded",
        "stagelight: shop.orders:* names no function of a module that this program has loaded",
    ]


def test_a_child_program_says_nothing_of_patterns(sink: Sink, program: Program) -> None:
    code = "import subprocess, sys\ndef load():\n    subprocess.run([sys.executable, '-c', 'pass'])\nload()\n"
    assert program(code, launcher=under(sink, "--step", "__main__:load")).stderr == ""


def test_the_file_s_patterns_hold_where_the_command_names_none(
    sink: Sink, program: Program, tmp_path: Path
) -> None:
    (tmp_path / "stagelight.toml").write_text('[agent]\nsteps = ["__main__:load_*"]\nservice = "billing"\n')
    program(APP, launcher=under(sink))
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
