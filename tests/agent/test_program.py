"""The program's own run under `stagelight run`: when it is shown, when it fails, and what belongs to it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.agent.conftest import LAUNCH, SCRIPT, SCRIPT_SAYS, attributes, under

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent.conftest import Program, Sink


def test_a_plain_script_is_one_run_named_after_it(sink: Sink, program: Program) -> None:
    done = program(SCRIPT, "a", launcher=under(sink))
    assert done.stdout == SCRIPT_SAYS.format("['a']")
    assert [(span.name, attributes(span)["workflow.status"]) for span in sink.spans] == [("app", "completed")]
    assert [record.event_name for record in sink.logs] == ["workflow.run_started"]


def test_functions_that_patterns_name_are_steps_of_that_run(sink: Sink, program: Program) -> None:
    done = program(
        SCRIPT,
        launcher=under(sink, "--step", "__main__:load_*", "--step", "app:save", "--step", "__main__:Job.*"),
    )
    assert done.stdout == SCRIPT_SAYS.format("[]")
    assert sorted(sink.names()) == ["app", "load_rows", "prepare", "run", "save"]
    assert len({attributes(span)["workflow.run.id"] for span in sink.spans}) == 1
    steps = {span.name: attributes(span) for span in sink.spans}
    assert steps["save"]["workflow.parent.step.id"] == steps["run"]["workflow.step.id"]
    assert sink.logs[0].event_name == "workflow.run_started"


def test_a_workflow_pattern_takes_the_place_of_the_program_s_run(sink: Sink, program: Program) -> None:
    program(SCRIPT, launcher=under(sink, "--workflow", "__main__:Job.run", "--step", "__main__:s*"))
    assert sorted(sink.names()) == ["run", "save"]
    assert {attributes(span)["workflow.name"] for span in sink.spans} == {"run"}


def test_an_error_fails_the_run_and_looks_as_it_always_did(sink: Sink, program: Program) -> None:
    done = program(SCRIPT, "fail", launcher=under(sink, "--step", "__main__:*ave"), check=False)
    assert done.returncode == 1
    assert 'line 13, in save\n    raise ValueError("disk full")\nValueError: disk full\n' in done.stderr
    assert "runpy" not in done.stderr
    app = next(span for span in sink.spans if span.name == "app")
    assert attributes(app)["workflow.status"] == "failed"
    assert attributes(app)["error.type"] == "ValueError"


def test_an_exit_code_fails_the_run_and_is_passed_on(sink: Sink, program: Program) -> None:
    done = program(SCRIPT, "exit", launcher=under(sink), check=False)
    assert done.returncode == 3
    assert attributes(sink.spans[0])["error.type"] == "SystemExit"


def test_an_app_with_workflows_of_its_own_is_not_swallowed(sink: Sink, program: Program) -> None:
    code = "import stagelight\nwith stagelight.workflow('etl'), stagelight.step('load'):\n    pass\n"
    program(code, launcher=under(sink))
    assert sorted(sink.names()) == ["etl", "load"]
    assert [record.event_name for record in sink.logs] == ["workflow.run_started", "workflow.step_started"]


DECORATED = """
import sys, stagelight

@stagelight.step
def load(path):
    return path

@stagelight.workflow(name="nightly import")
def main(error=None):
    load("a.csv")
    if error:
        raise error

if True:
    END
"""


@pytest.mark.parametrize(
    ("end", "shown"),
    [
        ("main()", ["completed"]),
        ("main(); sys.exit(0)", ["completed"]),
        ("main(KeyError('x'))", ["failed"]),
        ("main(SystemExit(3))", ["failed"]),
        ("main(); raise KeyboardInterrupt", ["completed"]),
        ("main(); raise KeyError('x')", ["completed", "KeyError"]),
        ("main(); sys.exit(3)", ["completed", "SystemExit"]),
        ("raise KeyError('x')", ["KeyError"]),
    ],
)
def test_a_decorated_app_gets_no_second_run_unless_that_has_news(
    end: str, shown: list[str], sink: Sink, program: Program
) -> None:
    code = DECORATED.replace("END", end)
    program(code, launcher=under(sink, "--step", "__main__:*"), check=False)
    runs = {span.name: attributes(span) for span in sink.spans if span.name in {"app", "nightly import"}}
    found = [runs["nightly import"]["workflow.status"]] if "nightly import" in runs else []
    assert found + [runs["app"]["error.type"] for _ in range("app" in runs)] == shown
    assert sink.names().count("load") == (shown != ["KeyError"])


@pytest.mark.parametrize(
    "told", ["raise RuntimeError('wrapped') from error", "raise RuntimeError", "sys.exit(1)"]
)
def test_an_error_that_a_workflow_has_shown_is_not_shown_again_in_other_words(
    told: str, sink: Sink, program: Program
) -> None:
    code = DECORATED.replace("END", f"try: main(KeyError('x'))\n    except KeyError as error: {told}")
    program(code, launcher=under(sink), check=False)
    assert sorted(sink.names()) == ["load", "nightly import"]


def test_a_program_that_takes_its_time_is_shown_before_its_first_step(
    sink: Sink, environ: dict[str, str], tmp_path: Path
) -> None:
    script = tmp_path / "app.py"
    script.write_text("def late():\n    pass\ninput()\nlate()\n")
    options = under(sink, "--step", "__main__:late")
    command = [sys.executable, "-c", LAUNCH, *options, sys.executable, str(script)]
    with subprocess.Popen(command, env=environ, stdin=subprocess.PIPE) as running:
        sink.wait_for(lambda: bool(sink.events("run_started")), 60)
        assert sink.names() == []
        running.communicate(b"\n", timeout=60)
    assert running.returncode == 0
    assert sorted(sink.names()) == ["app", "late"]


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
    done = program(SCRIPT, launcher=under(sink, *(part for text in patterns for part in ("--step", text))))
    assert done.stdout == SCRIPT_SAYS.format("[]")
    assert [line for line in done.stderr.splitlines() if line.startswith("stagelight")] == [
        "stagelight: __main__:lod_* names no function of a module that this program has loaded",
        "stagelight: shop.orders:* names no function of a module that this program has loaded",
    ]


def test_a_child_program_says_nothing_of_patterns(sink: Sink, program: Program) -> None:
    code = "import subprocess, sys\ndef load():\n    subprocess.run([sys.executable, '-c', 'pass'])\nload()\n"
    assert program(code, launcher=under(sink, "--step", "__main__:load")).stderr == ""
