"""Alert rules for Grafana: a run has failed, a run is stuck, too many runs fail."""

from __future__ import annotations

from typing import Any, Final

from grafana import queries as q

UID: Final = "stagelight-history"
"""The data source of `provisioning/datasources`, which rules name, because they know no variables."""


def rules() -> dict[str, Any]:
    """Return the provisioning file of the rules."""
    group = {
        "orgId": 1,
        "name": "stagelight",
        "folder": "Stagelight",
        "interval": "60s",
        "rules": [
            _rule("failed", "A run has failed", q.ALERT_FAILED, 0, "critical", "overview"),
            _rule("stuck", "A run has not been heard of for an hour", q.ALERT_STUCK, 0, "warning", "overview", seconds=86_400),
            _rule("error-rate", "More than a tenth of the runs fail", q.ALERT_ERROR_RATE, 0.1, "critical", "steps", seconds=3_600),
        ],
    }  # fmt: skip
    return {"apiVersion": 1, "groups": [group]}


def _rule(
    name: str, title: str, sql: str, above: float, severity: str, board: str, *, seconds: int = 600
) -> dict[str, Any]:
    last = {"refId": "B", "type": "reduce", "expression": "A", "reducer": "last"}
    threshold = {
        "refId": "C",
        "type": "threshold",
        "expression": "B",
        "conditions": [{"evaluator": {"type": "gt", "params": [above]}}],
    }
    return {
        "uid": f"stagelight-{name}",
        "title": title,
        "condition": "C",
        "for": "0s",
        "noDataState": "OK",
        "execErrState": "Error",
        "labels": {"severity": severity, "product": "stagelight"},
        "annotations": {"summary": title, "dashboard": f"/d/stagelight-{board}"},
        "data": [
            {
                "refId": "A",
                "datasourceUid": UID,
                "relativeTimeRange": {"from": seconds, "to": 0},
                "model": {
                    "refId": "A",
                    "editorType": "sql",
                    "queryType": "table",
                    "format": 1,
                    "rawSql": sql,
                },
            },
            {"refId": "B", "datasourceUid": "__expr__", "model": last},
            {"refId": "C", "datasourceUid": "__expr__", "model": threshold},
        ],
    }
