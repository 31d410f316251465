"""Where settings come from, and what is said of wrong ones."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stagelight_collector import config
from stagelight_collector.history.engine import ChdbEngine, engine_of

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
ROOMS = ("agent", "collector", "plugins", "dashboards")


@pytest.fixture(autouse=True)
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], int]:
    """Write stagelight.toml, in a folder and an environment without any other setting."""
    monkeypatch.chdir(tmp_path)
    for name in ("STAGELIGHT_CONFIG", "STAGELIGHT_URL", "STAGELIGHT_PORT"):
        monkeypatch.delenv(name, raising=False)
    return (tmp_path / "stagelight.toml").write_text


def test_the_command_line_beats_the_environment_which_beats_the_file(
    write: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    write("port = 1\nhost = '::1'\n[limits]\nrooms = 5\nsteps = 6\n")
    monkeypatch.setenv("STAGELIGHT_PORT", "2")
    monkeypatch.setenv("STAGELIGHT_LIMITS__ROOMS", "7")

    settings = config.load(port=3)
    assert (settings.port, config.load().port, settings.host) == (3, 2, "::1")
    assert (settings.limits.rooms, settings.limits.steps, settings.limits.viewers) == (7, 6, 1_000)
    assert settings.url == "http://[::1]:3"


def test_settings_made_by_hand_read_neither_file_nor_environment(
    write: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    write("history = 'clickhouse://elsewhere'\n")
    monkeypatch.setenv("STAGELIGHT_PORT", "2")

    assert (config.Settings().port, config.Settings().history) == (4318, "")


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        ("prot = 1", "stagelight.toml: `prot` is no setting; did you mean `port`?"),
        ("[limits]\nroom = 1", "stagelight.toml: `limits.room` is no setting; did you mean `rooms`?"),
        ("qwxz = 1", "stagelight.toml: `qwxz` is no setting; `stagelight config show` prints them all"),
        ("[plugins]\nlod = ['x']", "stagelight.toml: `plugins.lod` is neither `load` nor `block` nor the table of a plugin; did you mean `load`?"),
        ("[plugins]\nload = 'x'", "stagelight.toml: plugins.load: 'x' is not a list of names; write load = ['name']"),
        ("port = 99999", "stagelight.toml: `port` = 99999: input should be less than or equal to 65535"),
        ("allowed_hosts = [1]", "stagelight.toml: `allowed_hosts` = 1: input should be a valid string"),
        ("grafana_url = 'g:3000'", "stagelight.toml: `grafana_url` = 'g:3000': this is no address like https://grafana.example"),
        ("grafana_url = 'https://'", "stagelight.toml: `grafana_url` = 'https://': this is no address like"),
        ("grafana_url = 'javascript:alert(1)'", "stagelight.toml: `grafana_url` = 'javascript:alert(1)': this is no address"),
        ("grafana_url = 'https://a:b@g'", "stagelight.toml: `grafana_url` = 'https://a:b@g': an address without user, query and"),
        ("grafana_url = 'https://g/?orgId=2'", "stagelight.toml: `grafana_url` = 'https://g/?orgId=2': an address without user"),
        ("grafana_url = 'https://g/#/'", "stagelight.toml: `grafana_url` = 'https://g/#/': an address without user, query and"),
        ("port = ", "stagelight.toml: this is not TOML: "),
    ],
)  # fmt: skip
def test_a_problem_names_the_file_the_key_and_the_nearest_one(
    write: Callable[[str], int], file: str, problem: str
) -> None:
    write(file)

    with pytest.raises(config.ConfigError) as error:
        config.load()
    (found,) = error.value.problems
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("STAGELIGHT_PORT", "many", "STAGELIGHT_PORT: `port` = 'many': input should be a valid integer"),
        ("STAGELIGHT_LIMITS__ROOMZ", "1", "STAGELIGHT_LIMITS__ROOMZ: `limits.roomz` is no setting; did you mean `rooms`?"),
        ("STAGELIGHT_LIMITS", "{", "STAGELIGHT_LIMITS: '{' is not JSON: "),
        ("STAGELIGHT_CONFIG", "nowhere.toml", "STAGELIGHT_CONFIG: there is no file nowhere.toml"),
    ],
)  # fmt: skip
def test_a_problem_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, problem: str
) -> None:
    monkeypatch.setenv(name, value)

    (found,) = config.read().problems
    assert found.startswith(problem)


def test_what_is_right_stays_in_force_beside_what_is_wrong(write: Callable[[str], int]) -> None:
    write("prot = 1\nhost = '::1'\nport = 'x'\n[limits]\nroomz = 1\nsteps = 9\n")

    found = config.read()
    assert (found.settings.host, found.settings.port, found.settings.limits.steps) == ("::1", 4318, 9)
    assert len(found.problems) == 3


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("", ""),
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000/"),
        ("https://Grafana.example/team", "https://grafana.example/team/"),
        ("https://grafana.example/team//", "https://grafana.example/team/"),
    ],
)
def test_the_address_of_grafana_can_have_paths_put_after_it(
    monkeypatch: pytest.MonkeyPatch, written: str, read: str
) -> None:
    assert config.load().grafana_url == ""
    monkeypatch.setenv("STAGELIGHT_GRAFANA_URL", written)
    assert config.load().grafana_url == read


def test_a_list_in_the_environment_is_written_with_commas_or_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGELIGHT_ALLOWED_HOSTS", "one, two")
    monkeypatch.setenv("STAGELIGHT_ALLOWED_ORIGINS", "http://127.0.0.1:8000")
    monkeypatch.setenv("STAGELIGHT_PLUGINS__LOAD", '["three"]')

    settings = config.load()
    assert (settings.allowed_hosts, settings.plugin_names("load")) == (["one", "two"], ["three"])
    assert settings.allowed_origins == ["http://127.0.0.1:8000"]


def test_an_unknown_variable_is_noted_and_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGELIGHT_PROT", "1")

    found = config.read()
    assert found.problems == ()
    assert (
        "STAGELIGHT_PROT is no variable of Stagelight and is ignored; did you mean `STAGELIGHT_PORT`?"
        in found.notes
    )


def test_every_variable_that_the_sources_read_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    sources = [path for room in ROOMS for path in (ROOT / room).glob("*/**/*.py")]
    named = {name for path in sources for name in re.findall(r'"(STAGELIGHT_[A-Z_]+)"', path.read_text())}
    assert named
    for name in named - {"STAGELIGHT_CONFIG"}:
        monkeypatch.setenv(name, "1")

    assert config.read().notes == ()


def test_history_lies_in_the_data_directory_however_that_is_written(tmp_path: Path) -> None:
    for place in (Path("data"), Path("./a b#c?d%20"), tmp_path / "data"):
        dsn = config.Settings(data_dir=place).history_dsn
        engine = engine_of(dsn, data_dir=place)

        assert isinstance(engine, ChdbEngine)
        assert engine.path == str((tmp_path / place / "history").resolve())
