"""The shipped files themselves: generated, complete, placeable anywhere."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from stagelight_dashboards.grafana import export, grafana_files

from .macros import Expander, Unexpanded

ROOT = Path(__file__).parents[3]
PLUGIN = "grafana-clickhouse-datasource"


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [str(ROOT / "dashboards"), *sys.path])
    return importlib.import_module("grafana.generate")


def test_the_files_are_what_the_generator_writes(generator: Any) -> None:
    shipped, made = grafana_files(), generator.files()
    assert {path: shipped.get(path) for path in made} == made, "run python dashboards/grafana/generate.py"


def test_the_page_knows_the_dashboards_as_the_generator_does(generator: Any) -> None:
    assert generator.PAGE.read_text() == generator.page_source(), "run python dashboards/grafana/generate.py"


@pytest.mark.parametrize("path", [path for path in grafana_files() if path.endswith(".json")])
def test_what_was_clicked_on_is_written_so_that_no_address_ends_in_it(path: str) -> None:
    """Grafana leaves `#`, `&`, `+` and `/` as they are unless a format is given; Airflow's run ids have them."""
    links = re.findall(r'"url": "([^"]*)"', grafana_files()[path])
    assert links
    for link in links:
        assert set(re.findall(r"\$\{__value[^}]*\}", link)) <= {"${__value.raw:percentencode}"}
        written = [part for part in link.split("?")[-1].split("&") if part.startswith("var-")]
        assert all(part.endswith(":percentencode}") for part in written), link


@pytest.mark.parametrize("path", [path for path in grafana_files() if path.endswith(".json")])
def test_a_link_leads_to_a_dashboard_that_has_its_variables(path: str) -> None:
    boards = [json.loads(text) for name, text in grafana_files().items() if name.endswith(".json")]
    known = {board["uid"]: {each["name"] for each in board["templating"]["list"]} for board in boards}
    for uid, query in re.findall(r'"url": "/d/([^?"]*)\?([^"]*)"', grafana_files()[path]):
        names = re.findall(r"var-(\w+)=|\$\{(\w+):queryparam\}", query)
        assert names
        assert {given or kept for given, kept in names} <= known[uid]


@pytest.mark.parametrize("path", [path for path in grafana_files() if path.endswith(".json")])
def test_a_dashboard_names_no_data_source_of_its_own(path: str) -> None:
    board = json.loads(grafana_files()[path])
    assert board["uid"].startswith("stagelight-")
    assert board["title"]
    for panel in board["panels"]:
        assert panel["datasource"] == {"type": PLUGIN, "uid": "${datasource}"}
        assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])
    places = [panel["gridPos"] for panel in board["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)


def test_an_export_names_its_own_place_and_the_address(tmp_path: Path) -> None:
    written = export(tmp_path / "made here", host="ch.example", port=8124, page='https://live.example/"x"/')
    assert {str(path.relative_to(tmp_path / "made here")) for path in written} == set(grafana_files())
    source = (tmp_path / "made here/provisioning/datasources/stagelight.yaml").read_text()
    assert "host: ch.example\n      port: 8124\n" in source
    for board in (tmp_path / "made here/dashboards").iterdir():
        variables = {each["name"]: each for each in json.loads(board.read_text())["templating"]["list"]}
        assert variables["stagelight"]["query"] == 'https://live.example/"x"', board.name
    provider = (tmp_path / "made here/provisioning/dashboards/stagelight.yaml").read_text()
    assert f"path: {tmp_path / 'made here' / 'dashboards'}\n" in provider


def test_a_macro_that_nobody_knows_is_not_passed_on() -> None:
    with pytest.raises(Unexpanded, match="timeFiltre"):
        Expander(0, 1).expand("SELECT 1 WHERE $__timeFiltre(x)")
    assert Expander(5, 9).expand("a $__timeFilter(f(x, (y))) b") == (
        "a f(x, (y)) >= toDateTime(5) AND f(x, (y)) <= toDateTime(9) b"
    )
