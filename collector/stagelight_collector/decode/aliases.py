"""Foreign conventions: what the spans of other instrumentations mean in our words. The table is `RULES`.

A span without our keys that a rule fits is given them (`workflow.name`, `workflow.step.name` …) beside its own, so
that rooms, history and dashboards say the same of it. To teach the collector another instrumentation, add a rule and a
recording of what it really sends (tests/collector/history/recording).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from stagelight import conventions as c
from stagelight_collector.decode.looking import Finder
from stagelight_collector.decode.values import text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Role(Enum):
    """What a span is."""

    RUN = "the run's own span"
    STEP = "a step"
    TASK = "a run of one step"
    TOP = "the run's own span at the root of its trace, else a step"


class Says(Enum):
    """What a span tells of its run or step."""

    ALL = "that it began, and how it ended"
    START = "only that it began"
    END = "only how it ended"
    QUEUED = "that it waits for a worker"
    AGAIN = "that it began, failed, and is tried again"


Templates = tuple[str, ...]
"""Texts with `{attribute}` in them; the first of which every attribute is there is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One kind of span.

    Beside attributes, templates know `{@name}` (the span's name), `{@tail}` (what follows its first colon), `{@stem}`
    (it without a random suffix), `{@trace}`, `{@span}` and `{@parent}` (ids).
    """

    system: str
    key: str
    """An attribute that every such span has."""
    values: frozenset[str] = frozenset()
    """What its value may be; anything where this is empty."""
    named: str = ""
    """How the span's name begins."""
    kinds: frozenset[int] = frozenset()
    """OTLP's kinds of span; any where this is empty."""
    role: Role
    says: Says = Says.ALL
    run: Templates = ()
    """The run's id, where its steps have it, too. A step without one belongs to the run of its trace, and a run without
    one is its trace: steps come before the run's own span, perhaps hours before."""
    inside: bool = False
    """Whether a run's span that has a parent is inside of another run, whose trace it is."""
    workflow: Templates = ("{@name}",)
    step: Templates = ("{@name}",)
    step_id: Templates = ("{@span}",)
    kind: Templates = ("do",)
    attempt: str = ""
    """The attribute with the number of the attempt, from 1."""
    retries: str = ""
    """The attribute with the number of attempts before, from 0."""
    outcome: Templates = ()
    """How it ended, in the words of `OUTCOMES`; without one the span's status says it."""


_INTERNAL: Final = frozenset({Span.SPAN_KIND_UNSPECIFIED, Span.SPAN_KIND_INTERNAL})

RULES: Final[Sequence[Rule]] = (
    # Temporal's workflows are replayed, so their spans have no length: one at the beginning, one at the end.
    Rule(system="Temporal", key="temporalRunID", named="RunWorkflow:", role=Role.RUN, says=Says.START, run=("{temporalRunID}",), workflow=("{@tail}",)),
    Rule(system="Temporal", key="temporalRunID", named="CompleteWorkflow:", role=Role.RUN, says=Says.END, run=("{temporalRunID}",), workflow=("{@tail}",)),
    Rule(system="Temporal", key="temporalRunID", named="StartActivity:", role=Role.STEP, says=Says.START, run=("{temporalRunID}",), step=("{@tail}",), kind=("activity",)),
    Rule(system="Temporal", key="temporalActivityID", named="RunActivity:", role=Role.STEP, run=("{temporalRunID}",), step=("{@tail}",), step_id=("{@parent}", "{temporalActivityID}"), kind=("activity",)),
    # Prefect says which flow it is by its id alone; the span has the name of the run, which is a new one each time.
    Rule(system="Prefect", key="prefect.run.type", values=frozenset({"flow"}), role=Role.TOP, workflow=("flow {prefect.flow.id}", "{@name}"), step=("flow {prefect.flow.id}", "{@name}"), kind=("flow",)),
    Rule(system="Prefect", key="prefect.run.type", values=frozenset({"task"}), role=Role.STEP, step=("{@stem}",), kind=("task",)),
    Rule(system="Airflow", key="airflow.task_id", named="task_run.", role=Role.STEP, run=("{airflow.dag_id}:{airflow.dag_run.run_id}",), step=("{airflow.task_id}",), step_id=("{airflow.task_id}[{airflow.task_instance.map_index}]", "{airflow.task_id}"), kind=("task",), attempt="airflow.task_instance.try_number", outcome=("{airflow.task_instance.state}",)),
    Rule(system="Airflow", key="airflow.dag_run.run_id", named="dag_run.", role=Role.RUN, run=("{airflow.dag_id}:{airflow.dag_run.run_id}", "{airflow.dag_run.dag_id}:{airflow.dag_run.run_id}"), workflow=("{airflow.dag_id}", "{airflow.dag_run.dag_id}"), outcome=("{airflow.dag_run.state}",)),
    Rule(system="Celery", key="celery.action", values=frozenset({"apply_async"}), role=Role.RUN, says=Says.QUEUED, run=("{messaging.message.id}", "{messaging.message_id}"), workflow=("{celery.task_name}",)),
    Rule(system="Celery", key="celery.action", values=frozenset({"run"}), role=Role.TASK, run=("{messaging.message.id}", "{messaging.message_id}"), workflow=("{celery.task_name}",), step=("{celery.task_name}",), step_id=("{messaging.message.id}", "{messaging.message_id}"), kind=("task",), retries="celery.retries", outcome=("{celery.state}",)),
    Rule(system="DBOS", key="operationType", values=frozenset({"workflow"}), role=Role.RUN, run=("{operationUUID}",), inside=True),
    Rule(system="DBOS", key="operationType", values=frozenset({"step", "transaction"}), role=Role.STEP, run=("{operationUUID}",), kind=("{operationType}",)),
    Rule(system="DBOS", key="dbos.operation.type", values=frozenset({"workflow"}), role=Role.RUN, run=("{dbos.operation.workflow_id}",), inside=True),
    Rule(system="DBOS", key="dbos.operation.type", values=frozenset({"step", "transaction"}), role=Role.STEP, run=("{dbos.operation.workflow_id}",), kind=("{dbos.operation.type}",)),
    Rule(system="OpenInference", key="openinference.span.kind", values=frozenset({"CHAIN", "AGENT"}), role=Role.TOP, kind=("{openinference.span.kind}",)),
    Rule(system="OpenInference", key="openinference.span.kind", role=Role.STEP, kind=("{openinference.span.kind}",)),
    Rule(system="Traceloop", key="traceloop.span.kind", values=frozenset({"workflow"}), role=Role.RUN, workflow=("{traceloop.entity.name}", "{traceloop.workflow.name}")),
    Rule(system="Traceloop", key="traceloop.span.kind", values=frozenset({"agent"}), role=Role.TOP, workflow=("{traceloop.entity.name}",), step=("{traceloop.entity.name}",), kind=("agent",)),
    Rule(system="Traceloop", key="traceloop.span.kind", role=Role.STEP, step=("{traceloop.entity.name}", "{@name}"), kind=("{traceloop.span.kind}",)),
    Rule(system="GenAI", key="gen_ai.operation.name", values=frozenset({"invoke_workflow"}), role=Role.RUN, workflow=("{gen_ai.workflow.name}", "{@name}")),
    Rule(system="GenAI", key="gen_ai.operation.name", values=frozenset({"invoke_agent"}), role=Role.TOP, workflow=("{gen_ai.agent.name}", "{@name}"), kind=("agent",)),
    Rule(system="GenAI", key="gen_ai.operation.name", role=Role.STEP, kind=("{gen_ai.operation.name}",)),
    Rule(system="CI/CD", key="cicd.pipeline.task.name", role=Role.STEP, step=("{cicd.pipeline.task.name}",), step_id=("{cicd.pipeline.task.run.id}", "{@span}"), kind=("{cicd.pipeline.task.type}", "task"), outcome=("{cicd.pipeline.task.run.result}",)),
    Rule(system="CI/CD", key="cicd.pipeline.run.id", role=Role.RUN, workflow=("{cicd.pipeline.name}", "{@name}"), outcome=("{cicd.pipeline.result}",)),
    # A kind of its own: such a step is one only where its trace is a run already, so a web server's requests are none.
    Rule(system="Logfire", key="logfire.span_type", values=frozenset({"span", "pending_span"}), kinds=_INTERNAL, role=Role.TOP, kind=(c.StepKind.SPAN,)),
)  # fmt: skip
"""The first that fits is taken."""

OUTCOMES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("success", "ok", "completed"), "completed"),
    **dict.fromkeys(("failure", "failed", "error", "timeout", "upstream_failed"), "failed"),
    **dict.fromkeys(("cancellation", "cancelled", "canceled", "revoked", "removed"), "terminated"),
    **dict.fromkeys(("skip", "skipped"), "skipped"),
    **dict.fromkeys(("retry", "up_for_retry", "up_for_reschedule"), "again"),
}
"""The words of others for how something ended, and ours."""

PLACEHOLDER: Final = "pending_span"
"""The value of `logfire.span_type` on spans that only say that another one, their parent, has begun."""

_FAMILIES: Final = sorted({"".join(rule.key.partition(".")[:2]) for rule in RULES} | {c.PREFIX})
may_be_workflow: Final = Finder(
    rb"\n.(?:" + b"|".join(re.escape(family.encode()) for family in _FAMILIES) + rb")"
)
"""Whether a request may hold anything of a run; one that may not is looked at no further. What is looked for is a key on the wire: its
tag, its length, and how the keys of rules begin."""
_FIELD: Final = re.compile(r"\{([^}]+)\}")
_SUFFIX: Final = re.compile(r"-[0-9a-f]{3,}\Z")


@dataclass(slots=True)
class Reading:
    """What a foreign span means."""

    span: Span
    """It, or the span that it stands for."""
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])
    """Our keys."""
    says: Says = Says.ALL
    alone: bool = False
    """Whether it is a run of one step."""


def read(span: Span, attributes: Mapping[str, Any]) -> Reading | None:
    """Return what a span means; None where no rule fits."""
    pending = attributes.get("logfire.span_type") == PLACEHOLDER
    meant = _real(span, attributes) if pending else span
    rule = next((rule for rule in RULES if _fits(rule, meant, attributes)), None)
    if rule is None:
        return None
    fill = _Filler(meant, attributes)
    outcome = OUTCOMES.get(fill(rule.outcome).lower(), "")
    says = Says.START if pending else Says.AGAIN if outcome == "again" else rule.says
    reading = Reading(meant, says=says, alone=rule.role is Role.TASK)
    top = rule.role is Role.RUN or (rule.role is Role.TOP and not meant.parent_span_id)
    ours = _run(rule, fill) if top or reading.alone else {c.RUN_ID: fill(rule.run)}
    if rule.inside:
        ours[c.PARENT_STEP_ID] = fill(("{@parent}",))
    if not top:
        ours |= _step(rule, fill, attributes)
    if says in {Says.ALL, Says.END}:
        ours[c.STATUS] = outcome or ("failed" if _has_failed(meant, says) else "completed")
    reading.attributes = {key: value for key, value in ours.items() if value != ""}
    return reading


def _has_failed(span: Span, says: Says) -> bool:
    """Whether a span says so; one that is only an end (Temporal's) has an exception and no status."""
    if span.status.code == Status.STATUS_CODE_ERROR:
        return True
    return says is Says.END and any(event.name == "exception" for event in span.events)


def _run(rule: Rule, fill: Callable[[Templates], str]) -> dict[str, Any]:
    return {c.RUN_ID: fill((*rule.run, "{@trace}")), c.WORKFLOW_NAME: fill(rule.workflow)}


def _step(rule: Rule, fill: Callable[[Templates], str], attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        c.STEP_NAME: fill(rule.step),
        c.STEP_ID: fill(rule.step_id),
        c.STEP_KIND: fill(rule.kind).lower(),
        c.PARENT_STEP_ID: "" if rule.role is Role.TASK else fill(("{@parent}",)),
        c.STEP_ATTEMPT: _attempt(rule, attributes),
    }


def _attempt(rule: Rule, attributes: Mapping[str, Any]) -> int:
    number = attributes.get(rule.attempt or rule.retries)
    if isinstance(number, str) and number.isdecimal() and len(number) < 9:
        number = int(number)
    if not isinstance(number, int):
        return 1
    return max(number + bool(rule.retries), 1)


def _fits(rule: Rule, span: Span, attributes: Mapping[str, Any]) -> bool:
    return (
        rule.key in attributes
        and (not rule.values or attributes[rule.key] in rule.values)
        and span.name.startswith(rule.named)
        and (not rule.kinds or span.kind in rule.kinds)
    )


def _real(placeholder: Span, attributes: Mapping[str, Any]) -> Span:
    """Return the span that a placeholder stands for, as far as it is known."""
    span = Span()
    span.CopyFrom(placeholder)
    span.name = placeholder.name.removesuffix(" (pending)")
    span.span_id = placeholder.parent_span_id
    try:
        parent = bytes.fromhex(text(attributes.get("logfire.pending_parent_id")))
    except ValueError:
        parent = b""
    span.parent_span_id = parent if any(parent) else b""
    return span


class _Filler:
    """Fills templates."""

    def __init__(self, span: Span, attributes: Mapping[str, Any]) -> None:
        self._span = span
        self._attributes = attributes

    def __call__(self, templates: Templates) -> str:
        """Return the first that can be filled; "" if none can."""
        for template in templates:
            found = [self._value(name) for name in _FIELD.findall(template)]
            if all(found):
                return _FIELD.sub("{}", template).format(*found)
        return ""

    def _value(self, name: str) -> str:
        span = self._span
        match name:
            case "@name":
                return span.name
            case "@tail":
                return span.name.partition(":")[2]
            case "@stem":
                return _SUFFIX.sub("", span.name)
            case "@trace":
                return span.trace_id.hex()
            case "@span":
                return span.span_id.hex()
            case "@parent":
                return span.parent_span_id.hex()
            case _:
                return text(self._attributes.get(name))
