"""What real libraries sent becomes the right runs and steps: live, in history, and again after a restart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from stagelight_collector.attribution import PATIENCE_NS
from stagelight_collector.decode import aliases, decode_traces
from stagelight_collector.history import RunFilter
from stagelight_collector.journal import Signal
from stagelight_collector.receivers import Limits
from stagelight_collector.receivers.otlp_json import parse_json
from stagelight_collector.rooms import view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stagelight_collector.history import History

RECORDED: Final = Path(__file__).parent / "recorded"
OK, NO = "completed", "failed"

EXPECTED: Final[dict[str, list[Any]]] = {
    "airflow": [
        ("broken_etl", NO, [("extract", "task", NO, 1)]),
        ("nightly_etl", OK, [
            ("extract", "task", OK, 1), ("load", "task", OK, 2), ("load", "task", OK, 1), ("notify", "task", "skipped", 1),
        ]),
    ],
    "celery": [
        ("shop.charge", OK, [("shop.charge", "task", OK, 1)]),
        ("shop.refund", NO, [("shop.refund", "task", NO, 1)]),
        ("shop.ship", OK, [("shop.ship", "task", OK, 2)]),
    ],
    "dbos": [
        ("broken", NO, []),
        ("checkout", OK, [("reserve", "step", OK, 1), ("charge", "step", OK, 1)]),
        ("notify", OK, [("reserve", "step", OK, 1)]),
    ],
    "genai": [
        ("weather_agent", OK, [("chat test", "chat", OK, 1), ("execute_tool forecast", "execute_tool", OK, 1), ("chat test", "chat", OK, 1)])
    ],
    "langgraph": [
        ("LangGraph", OK, [("plan", "chain", OK, 1), ("answer", "chain", OK, 1), ("look_up", "tool", OK, 1)]),
        ("LangGraph", NO, [("plan", "chain", OK, 1), ("answer", "chain", NO, 1)]),
    ],
    "logfire": [
        ("export", NO, []),
        ("import {file}", OK, [("parse", "span", OK, 1), ("store", "span", OK, 1)]),
    ],
    "prefect": [
        ("flow 6ab2b74c-1135-4425-806f-5cb5c8651087", NO, []),
        ("flow a66f90bd-e82d-4414-b5b4-e98bcba99795", OK, [
            ("extract", "task", OK, 1),
            ("load", "task", OK, 1),
            ("flow ae932289-a6ed-48e6-bf99-ae2e9b6417aa", "flow", OK, 1),
        ]),
    ],
    "temporal": [
        ("Billing", OK, [("fetch", "activity", OK, 1), ("charge", "activity", OK, 1)]),
        ("Broken", NO, []),
    ],
    "traceloop": [
        ("bad_joke", NO, []),
        ("joke", OK, [("write_joke", "task", OK, 1), ("dictionary", "tool", OK, 1), ("rate_joke", "task", OK, 1)]),
    ],
}  # fmt: skip
"""For each recording its runs by name, and their steps in order of start: name, kind, status, attempts."""
EXPECTED["dbos_semconv"] = EXPECTED["dbos"]


def recorded(name: str) -> list[ExportTraceServiceRequest]:
    """Return the requests of a recording, in the order in which they came."""
    found: list[Any] = json.loads((RECORDED / f"{name}.json").read_text())
    return [parse_json(json.dumps(item).encode(), ExportTraceServiceRequest, Limits()) for item in found]


async def send(house: Any, requests: Sequence[ExportTraceServiceRequest]) -> None:
    async with house.running("pipeline"):
        for request in requests:
            await house.pipeline.ingest(Signal.TRACES, request.SerializeToString(), request)
        await house.pipeline.drain()


def runs_of(house: Any) -> list[dict[str, Any]]:
    """Return what viewers see of each run."""
    return sorted(
        (view.snapshot(room.run) for room in house.pipeline.hub.rooms.values()),
        key=lambda seen: (seen["run"]["workflow"], seen["run"]["started_ms"]),
    )


def told(house: Any) -> list[Any]:
    return [
        (
            seen["run"]["workflow"],
            seen["run"]["status"],
            [(step["name"], step["kind"], step["status"], step["attempt"]) for step in seen["steps"]],
        )
        for seen in runs_of(house)
    ]


@pytest.mark.parametrize("name", sorted(EXPECTED))
async def test_a_library_s_spans_are_its_runs_and_steps(
    name: str, make_house: Any, history: History, ask: Any
) -> None:
    async with make_house(history) as house:
        await send(house, recorded(name))
        assert told(house) == EXPECTED[name]
        house.now += PATIENCE_NS
        await house.pipeline.expire()
        assert told(house) == EXPECTED[name], "what was left over became a run of its own"
        await house.archive.drain()
        live = {seen["run"]["id"]: seen["run"] for seen in runs_of(house)}

    kept = {record.id: record for record in (await history.list_runs(RunFilter())).items}
    assert set(kept) == set(live)
    for run_id, record in kept.items():
        run = live[run_id]
        ended = None if record.ended is None else record.ended / 1e6
        assert (record.workflow, record.service, record.status) == (
            run["workflow"],
            run["service"],
            run["status"],
        )
        assert record.started / 1e6 == pytest.approx(run["started_ms"])
        assert ended == pytest.approx(run["ended_ms"])
        assert {
            status: count for status, count in run["steps"].items() if count and status != "total"
        } == dict(record.steps)
        assert (record.error.message if record.error else "") == (run["error"] or {"message": ""})["message"]
    named = ask("SELECT DISTINCT WorkflowRunId, WorkflowName FROM otel_traces WHERE WorkflowName != ''")
    assert {(run_id, run["workflow"]) for run_id, run in live.items()} == set(named)
    assert ask("SELECT countIf(SpanAttributes['logfire.span_type'] = 'pending_span') FROM otel_traces") == [
        (0,)
    ]


@pytest.mark.parametrize("name", sorted(EXPECTED))
async def test_after_a_restart_they_are_the_same(name: str, make_house: Any) -> None:
    async with make_house() as house:
        for request in recorded(name):
            await house.journal.append(Signal.TRACES, request.SerializeToString(), house.now)
        await house.pipeline.replay()
        assert told(house) == EXPECTED[name]


async def test_the_tries_of_a_task_that_share_one_span_id_are_both_shown(
    make_house: Any, history: History
) -> None:
    """Airflow gives a task one id for all of its tries."""
    async with make_house(history) as house:
        await send(house, recorded("airflow"))
        await house.archive.drain()
        (nightly,) = [
            seen["run"]["id"] for seen in runs_of(house) if seen["run"]["workflow"] == "nightly_etl"
        ]
    spans = [span for span in await history.run_spans(nightly) if span["name"] == "task_run.load[0]"]
    assert len({span["span_id"] for span in spans}) == 1
    assert [span["attributes"]["airflow.task_instance.state"] for span in spans] == [
        "up_for_retry",
        "success",
    ]


async def test_a_job_is_seen_while_it_runs_where_it_sends_pending_spans(make_house: Any) -> None:
    async with make_house() as house:
        await send(house, recorded("logfire")[:2])
        assert told(house) == [("import {file}", "running", [("parse", "span", "running", 1)])]


async def test_a_task_is_seen_while_it_waits_for_a_worker(make_house: Any) -> None:
    async with make_house() as house:
        await send(house, recorded("celery")[:1])
        assert told(house) == [("shop.charge", "queued", [])]


# --- what no recorded program sends: spans as their sources make them -----------------------------------------------


def span(name: str, attributes: dict[str, Any], *, id_: int = 1, parent: int = 0, **fields: Any) -> Span:
    made = Span(
        name=name,
        trace_id=bytes([7]) * 16,
        span_id=id_.to_bytes(8),
        parent_span_id=parent.to_bytes(8) if parent else b"",
        start_time_unix_nano=1_764_000_000_000_000_000 + id_,
        end_time_unix_nano=1_764_000_001_000_000_000 + id_,
        **fields,
    )
    for key, value in attributes.items():
        pair = made.attributes.add(key=key)
        if isinstance(value, int):
            pair.value.int_value = value
        else:
            pair.value.string_value = value
    return made


def request_of(*spans: Span, **resource: str) -> ExportTraceServiceRequest:
    made = ExportTraceServiceRequest()
    resource_spans = made.resource_spans.add()
    for key, value in resource.items():
        resource_spans.resource.attributes.add(key=key.replace("__", ".")).value.string_value = value
    resource_spans.scope_spans.add().spans.extend(spans)
    return made


FAILED = Status(code=Status.STATUS_CODE_ERROR)


def airflow() -> ExportTraceServiceRequest:
    """Return a run of Airflow 3 with a worker process, which the recorded `dag.test()` has not."""
    run = {"airflow.dag_id": "etl", "airflow.dag_run.run_id": "manual__1"}

    def task(number: int, name: str, state: str, tries: int = 1, **fields: Any) -> Span:
        attributes = {**run, "airflow.task_id": name, "airflow.task_instance.try_number": tries,
                      "airflow.task_instance.map_index": -1, "airflow.task_instance.state": state}  # fmt: skip
        return span(f"task_run.{name}", attributes, id_=number, parent=1, **fields)

    return request_of(
        task(2, "extract", "up_for_retry", status=FAILED),
        task(3, "extract", "success", tries=2),
        task(4, "notify", "skipped", status=FAILED),
        span("worker.extract", {**run, "airflow.task_id": "extract"}, id_=5, parent=3),
        span("dag_run.etl", run),
    )


def pipeline() -> ExportTraceServiceRequest:
    """Return a run of a CI pipeline, of which the resource says what it is."""
    task = {
        "cicd.pipeline.task.name": "test",
        "cicd.pipeline.task.run.id": "9",
        "cicd.pipeline.task.run.result": "timeout",
    }
    return request_of(
        span("test", task, id_=2, parent=1),
        span("RUN build", {"cicd.pipeline.result": "cancellation"}),
        cicd__pipeline__name="build", cicd__pipeline__run__id="42",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (airflow(), [("etl:manual__1", "etl", OK, [("extract", OK, 2), ("notify", "skipped", 1)])]),
        (pipeline(), [("07" * 16, "build", "terminated", [("test", NO, 1)])]),
    ],
    ids=["airflow", "cicd"],
)
async def test_others_say_it_in_their_attributes(
    make_house: Any, request_: ExportTraceServiceRequest, expected: Any
) -> None:
    async with make_house() as house:
        await send(house, [request_])
        assert [
            (seen["run"]["id"], seen["run"]["workflow"], seen["run"]["status"],
             [(step["name"], step["status"], step["attempt"]) for step in seen["steps"]])
            for seen in runs_of(house)
        ] == expected  # fmt: skip


# --- inside of others -----------------------------------------------------------------------------------------------

AGENT = span("invoke_agent helper", {"gen_ai.operation.name": "invoke_agent"}, id_=2, parent=1)
WEB = span("POST /chat", {"http.route": "/chat"}, kind=Span.SPAN_KIND_SERVER)


async def test_an_agent_behind_a_web_server_ends_with_the_request(make_house: Any) -> None:
    async with make_house() as house:
        await send(house, [request_of(AGENT, WEB)])
        house.now += PATIENCE_NS
        await house.pipeline.expire()
        assert told(house) == [("POST /chat", OK, [("invoke_agent helper", "agent", OK, 1)])]


@pytest.mark.parametrize("apart", [False, True])
async def test_an_agent_inside_a_run_is_a_step_of_it_and_no_second_run(make_house: Any, apart: bool) -> None:
    run = span(
        "etl",
        {"workflow.name": "etl", "workflow.run.id": "r", "workflow.status": "completed"},
        id_=5,
        parent=1,
    )
    async with make_house() as house:
        await send(
            house, [request_of(run), request_of(AGENT, WEB)] if apart else [request_of(AGENT, run, WEB)]
        )
        house.now += PATIENCE_NS
        await house.pipeline.expire()
        assert told(house) == [("etl", OK, [("invoke_agent helper", "agent", OK, 1)])]


async def test_web_requests_never_reach_the_lobby(make_house: Any) -> None:
    render = span("render", {"logfire.span_type": "span"}, id_=2, parent=1, kind=Span.SPAN_KIND_INTERNAL)
    web = span("GET /", {"logfire.span_type": "span"}, kind=Span.SPAN_KIND_SERVER)
    async with make_house() as house:
        await send(house, [request_of(render), request_of(web), request_of(WEB)])
        house.now += PATIENCE_NS
        await house.pipeline.expire()
        await house.archive.drain()
        assert (told(house), house.memory.events) == ([], [])
        assert sum(len(batch.traces["SpanName"]) for batch in house.memory.batches) == 3


# --- the table ------------------------------------------------------------------------------------------------------


def test_a_request_is_looked_at_only_where_a_key_may_be_in_it() -> None:
    for rule in aliases.RULES:
        marked = request_of(span("x", {"a": "b", rule.key: "x"})).SerializeToString()
        assert aliases.may_be_workflow(marked), rule
    assert not aliases.may_be_workflow(request_of(WEB).SerializeToString())
    assert not aliases.may_be_workflow(
        request_of(span("celery.action", {"db.system": "x"})).SerializeToString()
    )


def test_what_was_sent_stays_and_our_keys_stand_beside_it() -> None:
    (request,) = [request_of(AGENT, WEB)]
    decoded = decode_traces(request, 0, request.SerializeToString())
    agent, web = decoded.traces["SpanAttributes"]

    assert agent == {
        "gen_ai.operation.name": "invoke_agent", "workflow.step.name": "invoke_agent helper", "workflow.step.kind": "agent",
        "workflow.step.id": f"{2:016x}", "workflow.parent.step.id": f"{1:016x}", "workflow.step.attempt": "1", "workflow.status": OK,
    }  # fmt: skip
    assert web == {"http.route": "/chat"}


def test_a_number_of_attempts_that_is_none_is_one() -> None:
    for retries in ("many", -3, "99999999999"):
        odd = span("run/t", {"celery.action": "run", "celery.retries": retries, "messaging.message.id": "m"})
        found = aliases.read(
            odd, {"celery.action": "run", "celery.retries": retries, "messaging.message.id": "m"}
        )
        assert found is not None
        assert found.attributes["workflow.step.attempt"] == 1
