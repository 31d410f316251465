"""The dashboards: Overview, Workflow, Run, Steps & errors, Collector health."""

from __future__ import annotations

from typing import Final, cast

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog import builder as cog
from grafana_foundation_sdk.models import dashboard as model

from grafana import panels, queries as q
from grafana.panels import SOURCE

TAG: Final = "stagelight"
_CLICKED: Final = "${__value.raw:percentencode}"
"""What was clicked on. Without a format Grafana leaves `#`, `&`, `+` and `/` as they are, which mean something in an address."""
_KEPT: Final = "${__url_time_range}&${datasource:queryparam}&${stagelight:queryparam}"
RUN_IN_GRAFANA: Final = f"/d/stagelight-run?var-run={_CLICKED}&{_KEPT}"
RUN_IN_PAGE: Final = f"${{stagelight}}/#/runs/{_CLICKED}"
WORKFLOW_IN_GRAFANA: Final = f"/d/stagelight-workflow?var-workflow={_CLICKED}&{_KEPT}"


def all_boards() -> dict[str, model.Dashboard]:
    """Return the dashboards by the name of their file."""
    return {
        "overview": _overview().build(),
        "workflow": _workflow().build(),
        "run": _run().build(),
        "steps": _steps().build(),
        "collector": _collector().build(),
    }


def _overview() -> build.Dashboard:
    board = _board("Overview", "overview", "All workflows at a glance", several=True)
    for panel in (
        panels.number("Runs", q.RUNS), panels.number("Failed", q.FAILED, color="red"),
        panels.number("In progress", q.RUNNING, color="blue"), panels.number("Success", q.SUCCESS, unit="percentunit", color="green"),
        panels.series("Runs by status", q.BY_STATUS, bars=True), panels.series("Duration", q.DURATION, unit="ms"),
        panels.rows("Workflows", q.BY_WORKFLOW, links={"Workflow": WORKFLOW_IN_GRAFANA}),
        panels.rows("Latest runs", q.LATEST, links={"RunId": RUN_IN_GRAFANA}),
    ):  # fmt: skip
        board = board.with_panel(panel)
    return board.annotation(_Failures())


def _workflow() -> build.Dashboard:
    board = _board("Workflow", "workflow", "One workflow: how often, how long, how well", several=False)
    for panel in (
        panels.number("Runs", q.RUNS), panels.number("Failed", q.FAILED, color="red"),
        panels.number("In progress", q.RUNNING, color="blue"), panels.number("Success", q.SUCCESS, unit="percentunit", color="green"),
        panels.series("Runs by status", q.BY_STATUS, bars=True), panels.series("Duration", q.DURATION, unit="ms"),
        panels.rows("Steps", q.STEPS), panels.rows("Runs", q.LATEST, links={"RunId": RUN_IN_GRAFANA}),
    ):  # fmt: skip
        board = board.with_panel(panel)
    return board.annotation(_Failures())


def _run() -> build.Dashboard:
    board = _frame("Run", "run", "One run: its steps, trace and logs").with_variable(
        build.TextBoxVariable("run").label("Run").default_value("")
    )
    for panel in (
        panels.rows("Run", q.RUN, links={"RunId": RUN_IN_PAGE, "ParentRunId": RUN_IN_GRAFANA}, height=4),
        panels.timeline("Timeline", q.RUN_TIMELINE),
        panels.rows("Steps", q.RUN_STEPS),
        panels.trace("Trace", q.RUN_TRACE),
        panels.logs("Logs", q.RUN_LOGS),
    ):
        board = board.with_panel(panel)
    return board


def _steps() -> build.Dashboard:
    board = _board("Steps & errors", "steps", "Which steps are slow, which fail, and with what", several=True)
    for panel in (
        panels.series("Duration, p95 by step", q.STEP_DURATION, unit="ms"),
        panels.series("Retries", q.RETRIES),
        panels.rows("Steps", q.STEPS),
        panels.rows("Errors", q.STEP_ERRORS, links={"run": RUN_IN_GRAFANA}),
        panels.rows("Failed runs", q.LATEST_FAILED, links={"RunId": RUN_IN_GRAFANA}),
    ):
        board = board.with_panel(panel)
    return board


def _collector() -> build.Dashboard:
    board = _frame("Collector health", "collector", "What comes in, how late, and what it takes on disk")
    for panel in (
        panels.series("Spans by service", q.SPANS_RATE),
        panels.series("Log records", q.LOGS_RATE),
        panels.series("Events by type", q.EVENTS),
        panels.series("From the event to its receipt", q.DELAY, unit="ms"),
        panels.rows("Tables", q.DISK),
    ):
        board = board.with_panel(panel)
    return board


def _frame(title: str, name: str, description: str) -> build.Dashboard:
    """Return a dashboard with what all of them have."""
    return (
        build.Dashboard(f"Stagelight: {title}")
        .uid(f"stagelight-{name}")
        .description(description)
        .tags([TAG])
        .refresh("30s")
        .time("now-24h", "now")
        .link(build.DashboardLink("Stagelight").type(model.DashboardLinkType.DASHBOARDS).tags([TAG]).as_dropdown(as_dropdown=True).keep_time(keep_time=True).include_vars(include_vars=True))
        .link(build.DashboardLink("Live page").type(model.DashboardLinkType.LINK).url("${stagelight}").target_blank(target_blank=True))
        .with_variable(build.DatasourceVariable("datasource").label("Data source").type(panels.PLUGIN))
        .with_variable(build.TextBoxVariable("stagelight").label("Stagelight").default_value("http://127.0.0.1:4318"))
    )  # fmt: skip


def _board(title: str, name: str, description: str, *, several: bool) -> build.Dashboard:
    """Return a dashboard about the workflows that are chosen."""
    variable = build.QueryVariable("workflow").label("Workflow").datasource(SOURCE).query(q.WORKFLOWS)
    variable = variable.refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
    if several:
        variable = variable.multi(multi=True).include_all(include_all=True)
    return _frame(title, name, description).with_variable(variable)


class _Failures(cog.Builder[model.AnnotationQuery]):
    """Failed runs as marks in every panel over time; the SDK's own target is for other data sources."""

    def build(self) -> model.AnnotationQuery:
        """Return the annotation."""
        query = model.AnnotationQuery(name="Failed runs", datasource=SOURCE, enable=True, icon_color="red")
        query.target = cast("model.AnnotationTarget", panels.Query(q.FAILURES).build())
        return query
