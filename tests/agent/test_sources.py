"""The code of workflows: what is sent of it, to whom, and what never is."""

from __future__ import annotations

import ast
import importlib
import sys
from typing import TYPE_CHECKING, Any

import pytest

from stagelight import runtime, settings, sources
from stagelight.redaction import redact_source

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
    from tests.agent.conftest import Program, Sink

ETL = """
import json
import stagelight
from shop import steps

@stagelight.workflow(name="etl")
def etl():
    steps.load()

for _ in range(3):
    etl()
stagelight.flush()
"""
STEPS = """
import stagelight
from shop.rates import rates

@stagelight.step
def load():
    return len(rates())
"""


@pytest.fixture
def project(tmp_path: Path) -> Generator[Callable[..., None]]:
    """Return what writes files of a project from which can be imported; forgotten at the end."""
    before = set(sys.modules)

    def write(**files: str) -> None:
        for name, text in files.items():
            path = tmp_path / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        importlib.invalidate_caches()

    sys.path.insert(0, str(tmp_path))
    yield write
    sys.path.remove(str(tmp_path))
    for name in set(sys.modules) - before:
        del sys.modules[name]


def facts(record: LogRecord) -> dict[str, Any]:
    """Return the attributes of a record as plain values."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "") for pair in record.attributes}


def test_a_workflow_s_code_is_sent_once_with_what_it_imports_and_its_runs_name_the_version(
    sink: Sink, program: Program, tmp_path: Path
) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    for name, text in {"__init__": "", "steps": STEPS, "rates": "def rates():\n    return [1]\n"}.items():
        (shop / f"{name}.py").write_text(text)
    program(ETL, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url, STAGELIGHT_SOURCE="on")
    sent = {facts(record)["workflow.source.path"]: record for record in sink.events("source")}
    assert sorted(sent) == ["app.py", "shop/rates.py", "shop/steps.py"]
    assert len(sink.events("source")) == len(sent)
    assert sent["app.py"].body.string_value == ETL
    assert sent["shop/steps.py"].body.string_value == STEPS
    main = facts(sent["app.py"])
    assert main["workflow.name"] == "etl"
    assert main["workflow.source.main"] == "app.py"
    assert main["workflow.source.count"] == len(sent)
    assert not sent["app.py"].trace_id
    assert "workflow.run.id" not in main
    versions = [facts(record)["workflow.version"] for record in sink.events("run_started")]
    assert versions == [main["workflow.version"]] * 3


def test_a_block_s_code_is_that_of_its_file(sink: Sink, program: Program) -> None:
    code = "import stagelight\nwith stagelight.workflow('etl'), stagelight.step('load'):\n    pass\n"
    program(code, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url)
    assert sink.events("source") == []
    program(code, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url, STAGELIGHT_SOURCE="on")
    (record,) = sink.events("source")
    assert record.body.string_value == code


def test_a_program_without_a_file_runs_as_ever(sink: Sink, environ: dict[str, str], program: Program) -> None:
    del environ["STAGELIGHT_SOURCE"]
    code = "import stagelight\nexec(\"with stagelight.workflow('etl'): pass\", {'stagelight': stagelight})\n"
    program(code, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url)
    (started,) = sink.events("run_started")
    assert "workflow.version" not in facts(started)
    assert sink.events("source") == []


def test_the_version_follows_the_content_of_what_is_imported_too(
    project: Callable[..., None], tmp_path: Path
) -> None:
    project(
        apart="from shop.steps import load\n", shop__steps=STEPS, shop__rates="def rates():\n    return [1]\n"
    )
    importlib.import_module("apart")
    first = sources.read("apart")
    assert first is not None
    assert first == sources.read("apart")
    (tmp_path / "shop" / "rates.py").write_text("def rates():\n    return [1, 2]\n")
    second = sources.read("apart")
    assert second is not None
    assert second.version != first.version


def test_libraries_are_nobody_s_workflow(project: Callable[..., None]) -> None:
    project(uses="import json, pytest, collections.abc\nfrom pathlib import Path\n")
    importlib.import_module("uses")
    found = sources.read("uses")
    assert found is not None
    assert list(found.files) == ["uses.py"]


def test_a_file_that_is_too_large_is_named_and_stays_home(project: Callable[..., None]) -> None:
    project(large=f"X = 1\n{'# long' * sources.MOST_BYTES}\n")
    importlib.import_module("large")
    found = sources.read("large")
    assert found is not None
    assert found.files == {}
    assert found.omitted == "large.py is larger than 256 KiB"


def test_imports_that_do_not_fit_are_left_out(project: Callable[..., None]) -> None:
    project(most="import huge, little\n", huge="#" * sources.MOST_BYTES, little="X = 1\n")
    importlib.import_module("most")
    found = sources.read("most")
    assert found is not None
    assert list(found.files) == ["most.py", "little.py"]


@pytest.mark.parametrize(
    ("environment", "endpoint", "expected"),
    [
        ({}, None, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, None, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://otlp.vendor.example"}, None, False),
        ({"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "https://otlp.vendor.example"}, None, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://otlp.vendor.example"}, "https://stagelight.example", True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://x.example", "STAGELIGHT_SOURCE": "on"}, None, True),
        ({"STAGELIGHT_SOURCE": "off"}, "http://127.0.0.1:4318", False),
        ({"STAGELIGHT_SOURCE": "maybe"}, None, False),
    ],
)
def test_code_goes_to_a_stagelight_collector_only(
    environment: dict[str, str], endpoint: str | None, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(settings.SOURCE, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert runtime.shows_sources(endpoint) is expected


def test_the_file_may_switch_it_off(tmp_path: Path) -> None:
    (tmp_path / "stagelight.toml").write_text("[agent]\nsource = false\n")
    assert settings.sends_source({"STAGELIGHT_CONFIG": str(tmp_path / "stagelight.toml")}) is False


def test_secrets_in_code_stay_home_and_the_code_stays_code() -> None:
    code = '''
PASSWORD = "hunter2-hunter2"
config = {"api_key": 'k3y-k3y-k3y', "name": "kept"}
token: str = f"tok-{1}-secret"
os.environ["DB_PASSWORD"] = "hunter3"
url = "postgres://me:hunter4@db/x"
token = get_token(password=read("file"))
if token == other or not (secret := find()):
    connect(password="hunter5", user="kept too")
PEM = """-----BEGIN RSA PRIVATE KEY-----
hunter6
-----END RSA PRIVATE KEY-----
"""
LAST = "sk-abcdefghijklmnop1234"
'''
    safe = redact_source(code)
    for secret in ("hunter", "k3y", "tok-", "sk-abc"):
        assert secret not in safe
    assert "kept too" in safe
    before, after = ast.parse(code), ast.parse(safe)
    assert [node.lineno for node in before.body] == [node.lineno for node in after.body]
    assert "get_token(password=read(" in safe


def test_a_script_whose_steps_patterns_name_is_sent_with_the_patterns(sink: Sink, program: Program) -> None:
    code = "def load(): ...\nload()\n"
    program(
        code,
        launcher=("--step", "__main__:*"),
        OTEL_EXPORTER_OTLP_ENDPOINT=sink.url,
        STAGELIGHT_SOURCE="on",
    )
    sent = {facts(one)["workflow.source.path"]: one.body.string_value for one in sink.events("source")}
    assert sent == {"app.py": code, "stagelight.toml": '[agent]\nsteps = ["__main__:*"]\n'}
    [run] = [facts(record) for record in sink.events("run_started")]
    assert run["workflow.version"] == facts(sink.events("source")[0])["workflow.version"]
