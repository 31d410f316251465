"""Panels over the ClickHouse data source, made with Grafana's Foundation SDK, which has no query for it of its own."""

from __future__ import annotations

from typing import Any, Final

from grafana_foundation_sdk.builders import (
    dashboard as build,
    logs as logs_panel,
    stat as stat_panel,
    statetimeline as timeline_panel,
    table as table_panel,
    timeseries as series_panel,
)
from grafana_foundation_sdk.cog import builder as cog, variants
from grafana_foundation_sdk.models import common, dashboard as model

PLUGIN: Final = "grafana-clickhouse-datasource"
SOURCE: Final = common.DataSourceRef(type_val=PLUGIN, uid="${datasource}")
TIME_SERIES, TABLE, LOGS, TRACES = range(4)
"""The data source's formats (its `Format`)."""
_KINDS: Final = {TIME_SERIES: "timeseries", TABLE: "table", LOGS: "logs", TRACES: "traces"}

STATUS_COLORS: Final = {
    "completed": "green", "failed": "red", "terminated": "orange", "running": "blue", "waiting": "yellow",
    "paused": "purple", "queued": "text", "pending": "text", "skipped": "text",
}  # fmt: skip


class _Query(variants.Dataquery):
    """A target of the ClickHouse data source in its SQL editor."""

    def __init__(self, sql: str, form: int) -> None:
        self._sql = sql
        self._form = form

    def to_json(self) -> dict[str, Any]:
        """Return it as Grafana stores it; the SDK's encoder calls this."""
        return {
            "datasource": SOURCE,
            "editorType": "sql",
            "queryType": _KINDS[self._form],
            "rawSql": self._sql,
            "format": self._form,
            "refId": "A",
        }


class Query(cog.Builder[variants.Dataquery]):
    """A question, as the SDK's builders take it."""

    def __init__(self, sql: str, form: int = TABLE) -> None:
        self._query = _Query(sql, form)

    def build(self) -> variants.Dataquery:
        """Return the target."""
        return self._query


def number(title: str, sql: str, *, unit: str = "short", color: str = "text", width: int = 6) -> Any:
    """Return one large number."""
    scheme = build.FieldColor().mode(model.FieldColorModeId.FIXED).fixed_color(color)
    return (
        stat_panel.Panel().title(title).datasource(SOURCE).span(width).height(4).unit(unit).no_value("-")
        .color_scheme(scheme).with_target(Query(sql))
    )  # fmt: skip


def series(title: str, sql: str, *, unit: str = "short", bars: bool = False, width: int = 12) -> Any:
    """Return values over time."""
    panel = (
        series_panel.Panel().title(title).datasource(SOURCE).span(width).height(8).unit(unit).min(0)
        .with_target(Query(sql, TIME_SERIES))
    )  # fmt: skip
    if bars:
        panel = panel.draw_style(common.GraphDrawStyle.BARS).fill_opacity(70)
        for status, color in STATUS_COLORS.items():
            panel = panel.override_by_name(
                status, [_property("color", {"mode": "fixed", "fixedColor": color})]
            )
    return panel


def rows(
    title: str, sql: str, *, links: dict[str, str] | None = None, height: int = 10, width: int = 24
) -> Any:
    """Return a table; `links` are addresses by column, which open in a new tab."""
    panel = (
        table_panel.Panel().title(title).datasource(SOURCE).span(width).height(height).filterable(filterable=True)
        .with_target(Query(sql))
    )  # fmt: skip
    for column in ("DurationMs", "p50", "p95", "p99"):
        panel = panel.override_by_name(column, [_property("unit", "ms")])
    panel = panel.override_by_name("error_rate", [_property("unit", "percentunit")])
    panel = panel.override_by_name("bytes", [_property("unit", "bytes")])
    panel = panel.override_by_name("Status", [_property("mappings", [_status_mapping()]), *_colored()])
    for column, url in (links or {}).items():
        link = {"title": "Open", "url": url, "targetBlank": True}
        panel = panel.override_by_name(column, [_property("links", [link])])
    return panel


def logs(title: str, sql: str) -> Any:
    """Return log lines."""
    return logs_panel.Panel().title(title).datasource(SOURCE).span(24).height(9).show_time(show_time=True).with_target(Query(sql, LOGS))  # fmt: skip


def trace(title: str, sql: str) -> Any:
    """Return a trace as a waterfall."""
    return build.Panel().type("traces").title(title).datasource(SOURCE).span(24).height(12).with_target(Query(sql, TRACES))  # fmt: skip


def timeline(title: str, sql: str) -> Any:
    """Return the states of things over time."""
    return (
        timeline_panel.Panel().title(title).datasource(SOURCE).span(24).height(10).mappings([_value_map()])
        .with_target(Query(sql, TIME_SERIES))
    )  # fmt: skip


def _property(name: str, value: Any) -> model.DynamicConfigValue:
    return model.DynamicConfigValue(id_val=name, value=value)


def _status_mapping() -> dict[str, Any]:
    options = {
        status: {"color": color, "index": n} for n, (status, color) in enumerate(STATUS_COLORS.items())
    }
    return {"type": "value", "options": options}


def _colored() -> list[model.DynamicConfigValue]:
    return [_property("custom.cellOptions", {"type": "color-text"})]


def _value_map() -> Any:
    options = {
        status: model.ValueMappingResult(color=color, index=n)
        for n, (status, color) in enumerate(STATUS_COLORS.items())
    }
    return model.ValueMap(options=options)
