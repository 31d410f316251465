"""Where the agent sends to, and what `stagelight.toml` may say to it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from stagelight import runtime, settings
from stagelight.exporter import HttpChannel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent.conftest import Program, Sink

WORKFLOW = "import stagelight\nwith stagelight.workflow('w'):\n    pass\n"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith(("OTEL_", "STAGELIGHT_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("stagelight.guard._said", set[str]())


def port(sink: Sink) -> str:
    """Return the sink's port."""
    return sink.url.rpartition(":")[2]


@pytest.mark.parametrize(
    ("file", "environ", "expected"),
    [
        ("", {}, None),
        ("port = 4400", {}, "http://127.0.0.1:4400"),
        ('host = "10.0.0.5"', {}, "http://10.0.0.5:4318"),
        ('host = "0.0.0.0"\nport = 4400', {}, "http://127.0.0.1:4400"),
        ('host = "::"', {}, "http://[::1]:4318"),
        ('host = "fe80::1"', {}, "http://[fe80::1]:4318"),
        ('host = "0.0.0.0"', {"STAGELIGHT_PORT": "4401"}, "http://127.0.0.1:4401"),
        ("port = 4400", {"STAGELIGHT_PORT": "4401"}, "http://127.0.0.1:4401"),
        ("port = 4400", {"STAGELIGHT_HOST": "far", "STAGELIGHT_PORT": ""}, "http://far:4400"),
        ('port = 4400\n[agent]\nendpoint = "http://a:1"', {"STAGELIGHT_PORT": "4401"}, "http://a:1"),
        ('[agent]\nendpoint = "http://a:1"', {"STAGELIGHT_ENDPOINT": "http://b:2"}, "http://b:2"),
        ('[agent]\nendpoint = "http://a:1"', {"STAGELIGHT_ENDPOINT": " "}, "http://a:1"),
        ("port = 0", {}, None),
        ('port = "many"', {}, None),
        ("port = true", {}, None),
        ("[agent]\nendpoint = 7", {}, None),
        ("agent = 7", {}, None),
        ("this is no TOML", {}, None),
    ],
)
def test_the_collector_is_where_variables_then_the_file_say(
    file: str, environ: dict[str, str], expected: str | None, tmp_path: Path
) -> None:
    (tmp_path / "stagelight.toml").write_text(file)
    assert settings.endpoint(environ) == expected


def test_the_file_is_where_the_variable_points(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "stagelight.toml").write_text("port = 1")
    (tmp_path / "other.toml").write_text("port = 4400")
    assert settings.endpoint({"STAGELIGHT_CONFIG": str(tmp_path / "other.toml")}) == "http://127.0.0.1:4400"
    assert caplog.messages == []
    assert settings.endpoint({"STAGELIGHT_CONFIG": str(tmp_path / "none.toml")}) is None
    assert "STAGELIGHT_CONFIG: there is no file" in caplog.text


def test_decorators_alone_send_where_the_file_says(sink: Sink, program: Program, tmp_path: Path) -> None:
    (tmp_path / "stagelight.toml").write_text(f"port = {port(sink)}\n")
    program(WORKFLOW)
    assert sink.names() == ["w"]
    (tmp_path / "stagelight.toml").write_text(f'port = 1\n[agent]\nendpoint = "{sink.url}"\n')
    program(WORKFLOW)
    assert sink.names() == ["w", "w"]
    (tmp_path / "stagelight.toml").unlink()
    program(WORKFLOW, STAGELIGHT_PORT=port(sink))
    assert sink.names() == ["w", "w", "w"]


def test_under_the_launcher_the_collector_s_port_counts_too(
    sink: Sink, program: Program, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere.toml").write_text(f'port = {port(sink)}\n[agent]\nsteps = "__main__:load"\n')
    code = "import os\ndef load():\n    return os.environ.get('OTEL_EXPORTER_OTLP_ENDPOINT')\nprint(load())\n"
    done = program(code, launcher=(), STAGELIGHT_CONFIG="elsewhere.toml")
    assert (done.stdout, done.stderr) == ("None\n", "")
    assert sorted(sink.names()) == ["app", "load"]


def test_the_collector_that_was_found_stays_the_one_of_child_programs(
    sink: Sink, program: Program, tmp_path: Path
) -> None:
    (tmp_path / "stagelight.toml").write_text(f"port = {port(sink)}\n")
    child = "import stagelight; stagelight.workflow('child')(lambda: 1)()"
    code = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}], cwd='/', check=True)\n"
    program(code, launcher=())
    assert "child" in sink.names()


def test_what_opentelemetry_names_wins(sink: Sink, program: Program, tmp_path: Path) -> None:
    (tmp_path / "stagelight.toml").write_text('[agent]\nendpoint = "http://127.0.0.1:1"\n')
    program(WORKFLOW, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url, STAGELIGHT_ENDPOINT="http://127.0.0.1:2")
    program(WORKFLOW, launcher=(), OTEL_EXPORTER_OTLP_ENDPOINT=sink.url)
    assert sink.names() == ["w", "w"]


def _endpoints(endpoint: str | None = None) -> list[str]:
    built = runtime.builder(endpoint, None)()
    found = [channel.endpoint for channel in (built.spans, built.logs) if isinstance(channel, HttpChannel)]
    built.close()
    return found


def test_a_signal_with_an_endpoint_of_its_own_leaves_the_other_s(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "stagelight.toml").write_text("port = 4400\n")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://logs.example/here")
    assert _endpoints() == ["http://127.0.0.1:4400/v1/traces", "http://logs.example/here"]
    assert _endpoints("http://x") == ["http://x/v1/traces", "http://x/v1/logs"]


def test_nothing_named_is_this_machine() -> None:
    assert _endpoints() == [f"{settings.DEFAULT_ENDPOINT}/v1/{signal}" for signal in ("traces", "logs")]


def test_a_child_process_keeps_what_was_found_at_set_up(tmp_path: Path) -> None:
    (tmp_path / "stagelight.toml").write_text("port = 4400\n")
    again = runtime.builder(None, None)
    (tmp_path / "stagelight.toml").write_text("port = 4401\n")
    built = again()
    assert isinstance(built.logs, HttpChannel)
    assert built.logs.endpoint == "http://127.0.0.1:4400/v1/logs"
    built.close()


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({}, []),
        ({"steps": ["a:b"], "workflows": [], "service": "s", "endpoint": "http://h:1"}, []),
        ({"steps": "a:b"}, []),
        ({"step": ["a:b"]}, ["[agent] step: there is no such key; did you mean steps?"]),
        ({"endpont": "x"}, ["[agent] endpont: there is no such key; did you mean endpoint?"]),
        (
            {"zzz": 1},
            ["[agent] zzz: there is no such key; there are endpoint, service, source, steps, workflows"],
        ),
        ({"steps": 3}, ["[agent] steps: 3 is no list of patterns; write steps = ['module.path:function']"]),
        (
            {"workflows": ["a:b", 3]},
            [
                "[agent] workflows: ['a:b', 3] is no list of patterns; write workflows = ['module.path:function']"
            ],
        ),
        ({"service": 3}, ["[agent] service: 3 is no name; write service = 'shop'"]),
        (
            {"endpoint": "host:1"},
            ["[agent] endpoint: 'host:1' is no URL; write endpoint = 'http://127.0.0.1:4318'"],
        ),
        ({"source": "no"}, ["[agent] source: 'no' is no choice; write source = false"]),
    ],
)
def test_what_is_wrong_in_the_agent_s_table_is_told_with_its_remedy(
    table: dict[str, Any], expected: list[str]
) -> None:
    assert settings.problems(table) == expected


def test_something_else_than_a_table_is_a_problem() -> None:
    assert settings.problems(7) == ["agent: 7 is no table; write [agent]"]


def test_a_wrong_key_is_said_once_by_launcher_and_by_decorators(
    sink: Sink, program: Program, tmp_path: Path
) -> None:
    (tmp_path / "stagelight.toml").write_text(f'port = {port(sink)}\n[agent]\nstep = ["x:y"]\n')
    said = "[agent] step: there is no such key; did you mean steps?"
    for launcher in (None, ()):
        done = program(WORKFLOW, launcher=launcher)
        assert done.stderr.count(said) == 1, done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert sink.names() == ["w", "w"]


def test_a_hostile_working_directory_costs_only_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise OSError

    monkeypatch.setattr("pathlib.Path.read_text", gone)
    assert settings.endpoint({}) is None


def test_a_program_that_reads_the_file_again_leaves_the_word_to_its_launcher(
    sink: Sink, program: Program, tmp_path: Path
) -> None:
    (tmp_path / "stagelight.toml").write_text('[agent]\nstep = ["x:y"]\n')
    logs = f"{sink.url}/v1/logs"
    for launcher in ((), None):
        done = program(
            WORKFLOW, launcher=launcher, OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=logs, OTEL_TRACES_EXPORTER="none"
        )
        assert len(done.stderr.splitlines()) == 1, done.stderr
