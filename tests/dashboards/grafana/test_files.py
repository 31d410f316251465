"""The shipped files themselves: generated, complete, placeable anywhere."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

from stagelight_dashboards.grafana import export, grafana_files

from .macros import Expander, Unexpanded

ROOT = Path(__file__).parents[3]
PLUGIN = "grafana-clickhouse-datasource"


def test_the_files_are_what_the_generator_writes() -> None:
    sys.path.insert(0, str(ROOT / "dashboards"))
    try:
        made = importlib.import_module("grafana.generate").files()
    finally:
        sys.path.remove(str(ROOT / "dashboards"))
    shipped = grafana_files()
    assert {path: shipped.get(path) for path in made} == made, "run python dashboards/grafana/generate.py"


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
    written = export(tmp_path / "made here", host="ch.example", port=8124)
    assert {str(path.relative_to(tmp_path / "made here")) for path in written} == set(grafana_files())
    source = (tmp_path / "made here/provisioning/datasources/stagelight.yaml").read_text()
    assert "host: ch.example\n      port: 8124\n" in source
    provider = (tmp_path / "made here/provisioning/dashboards/stagelight.yaml").read_text()
    assert f"path: {tmp_path / 'made here' / 'dashboards'}\n" in provider


def test_a_macro_that_nobody_knows_is_not_passed_on() -> None:
    with pytest.raises(Unexpanded, match="timeFiltre"):
        Expander(0, 1).expand("SELECT 1 WHERE $__timeFiltre(x)")
    assert Expander(5, 9).expand("a $__timeFilter(f(x, (y))) b") == (
        "a f(x, (y)) >= toDateTime(5) AND f(x, (y)) <= toDateTime(9) b"
    )
