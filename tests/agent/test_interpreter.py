"""The interpreter's own options, as apart from those of the program that it runs."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from stagelight.interpreter import Target, target

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent.conftest import Sink

LINES = [
    ("app.py -c conf.yaml", "script", "app.py"),
    ("app.py -m fast", "script", "app.py"),
    ("/venv/bin/pytest -m slow", "script", "/venv/bin/pytest"),
    ("-u -X dev -W error -Xutf8 -Wd app.py -m x", "script", "app.py"),
    ("-bBdOOq app.py", "script", "app.py"),
    ("-uW error app.py", "script", "app.py"),
    ("--check-hash-based-pycs always app.py", "script", "app.py"),
    ("-- -odd.py -m x", "script", "-odd.py"),
    ("-m shop.worker -m other -c x", "module", "shop.worker"),
    ("-um shop app.py", "module", "shop"),
    ("-mshop", "module", "shop"),
    ("-c pass app.py -m x", "code", ""),
    ("-uc pass", "code", ""),
    ("- app.py", "input", ""),
    ("-i", "input", ""),
    ("", "input", ""),
    ("-m", "module", ""),
]


@pytest.mark.parametrize(("line", "kind", "name"), LINES)
def test_what_runs_is_told_from_what_is_handed_on(line: str, kind: str, name: str) -> None:
    assert target(line.split())[:2] == (kind, name)


@pytest.mark.parametrize(
    ("line", "deaf"),
    [
        ("-I app.py", "-I"),
        ("-uE app.py", "-E"),
        ("-Im shop", "-I"),
        ("-S -c pass", "-S"),
        ("-XI app.py", ""),
        ("-s app.py -I", ""),
        ("-cI", ""),
    ],
)
def test_options_that_keep_the_agent_out_are_known(line: str, deaf: str) -> None:
    assert target(line.split()).deaf == deaf


@pytest.mark.parametrize(
    ("of", "title"),
    [
        (Target("script", "jobs/etl.py"), "etl"),
        (Target("module", "shop.worker"), "worker"),
        (Target("code"), "python"),
        (Target("input"), "python"),
        (Target("module"), "python"),
    ],
)
def test_what_runs_has_a_name_for_people(of: Target, title: str) -> None:
    assert of.title == title


@pytest.mark.parametrize("options", ["-u", "-X dev", "-Wignore -u", "-uW ignore"])
def test_it_reads_options_as_python_does(options: str, tmp_path: Path) -> None:
    script = tmp_path / "app.py"
    script.write_text("import sys; print(len(sys.argv)); print(*sys.orig_argv, sep='\\n')")
    command = [sys.executable, *options.split(), str(script), "-m", "x"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert shown[0] == "3"
    assert target(shown[2:]) == Target("script", str(script))


def test_code_with_decorators_is_named_python(sink: Sink, environ: dict[str, str], tmp_path: Path) -> None:
    code = "import stagelight\nwith stagelight.workflow('w'):\n    pass"
    environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = sink.url
    subprocess.run([sys.executable, "-c", code], env=environ, cwd=tmp_path, check=True, timeout=60)
    (body,) = (request.body for request in sink.requests if request.path == "/v1/traces")
    assert b"\x12\x08\n\x06python" in body
