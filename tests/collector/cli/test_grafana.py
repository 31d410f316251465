"""`stagelight grafana export`, as a user has it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from .conftest import Answer


def test_the_dashboards_lead_to_the_configured_collector(
    stagelight: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("STAGELIGHT_ENDPOINT", "STAGELIGHT_URL", "STAGELIGHT_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STAGELIGHT_PORT", "5005")
    answer = stagelight("grafana", "export", str(tmp_path / "made"), "--json")
    assert answer.code == 0
    written = [path for path in json.loads(answer.out) if path.endswith("run.json")]
    variables = json.loads((tmp_path / "made/dashboards/run.json").read_text())["templating"]["list"]
    assert written == [str(tmp_path / "made/dashboards/run.json")]
    assert [each["query"] for each in variables if each["name"] == "stagelight"] == ["http://127.0.0.1:5005"]


def test_it_is_said_how_to_start_grafana_and_to_link_back(
    stagelight: Callable[..., Answer], tmp_path: Path
) -> None:
    answer = stagelight("grafana", "export", str(tmp_path / "made"))
    assert f"GF_PATHS_PROVISIONING={tmp_path / 'made' / 'provisioning'}" in answer.err
    assert "Set grafana_url in stagelight.toml" in answer.err
