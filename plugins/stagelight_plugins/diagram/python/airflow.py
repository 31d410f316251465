"""Airflow: tasks that are not run where they are called, but in the order of what they need."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from stagelight_plugins.diagram.builder.steps import config, named
from stagelight_plugins.diagram.builder.values import (
    UNKNOWN,
    Closure,
    Const,
    ListValue,
    ObjectValue,
    StepFunction,
    Value,
)
from stagelight_plugins.diagram.model import Draft
from stagelight_plugins.diagram.python.foreign import Foreign
from stagelight_plugins.diagram.python.order import Job, Order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stagelight_plugins.diagram.python.decorators import Decorators

DAGS: Final = frozenset(
    {
        "airflow.decorators.dag",
        "airflow.sdk.dag",
        "airflow.DAG",
        "airflow.sdk.DAG",
        "airflow.models.DAG",
        "airflow.models.dag.DAG",
    }
)
_CHOOSES: Final = ("branch", "BranchPythonOperator", "BaseBranchOperator")


class Task(Foreign):
    """A task of a DAG: what is called, put in order with `>>`, and given to other tasks."""

    __slots__ = ("job",)

    def __init__(self, job: Job) -> None:
        self.job = job

    def call(
        self,
        graph: Decorators,
        name: str,
        arguments: Sequence[Value],
        keywords: Mapping[str, Value],
        line: int,
    ) -> Value:
        """Put it before or after others; other methods change nothing."""
        del graph, keywords, line
        if name in {"set_downstream", "set_upstream"} and arguments:
            pair = (self, arguments[0]) if name == "set_downstream" else (arguments[0], self)
            _after(*pair)
        return self

    def member(self, name: str) -> Value:
        """Return its output, which stands for it."""
        return self if name == "output" else UNKNOWN

    def operate(self, graph: Decorators, operator: str, left: Value, right: Value) -> Value:
        """Return `left >> right`, `left << right`."""
        del graph
        if operator in {">>", "<<"}:
            _after(*((left, right) if operator == ">>" else (right, left)))
        return right


class Group(Foreign):
    """The tasks that are made in a `with TaskGroup(…)` block."""

    __slots__ = ("jobs",)

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def operate(self, graph: Decorators, operator: str, left: Value, right: Value) -> Value:
        """Return `left >> right`, `left << right`."""
        del graph
        if operator in {">>", "<<"}:
            _after(*((left, right) if operator == ">>" else (right, left)))
        return right


def _after(first: Value, then: Value) -> None:
    for job in _jobs(then):
        job.before += _jobs(first)


def _jobs(value: Value, depth: int = 0) -> list[Job]:
    """Return the tasks in a value."""
    if isinstance(value, Task):
        return [value.job]
    if isinstance(value, Group):
        return value.jobs
    parts: Sequence[Value] = ()
    if isinstance(value, ListValue):
        parts = [*value.items, *([value.rest] if value.rest is not None else [])]
    elif isinstance(value, ObjectValue):
        parts = list(value.fields.values())
    return [job for part in parts for job in _jobs(part, depth + 1)] if depth < 8 else []


def called(
    graph: Decorators, step: StepFunction, arguments: Sequence[Value], line: int, *, many: bool = False
) -> Value:
    """Return the task that a call of a decorated function makes."""
    with graph.capture() as nodes:
        drafts = graph.run_step(step, arguments, line).drafts
        graph.frame.counter.forget(list(drafts))
    if many:
        nodes = [Draft("loop", {"loop": {"kind": "map"}}, [("nodes", nodes)])]
    return _task(graph, nodes, arguments, chooses=step.dialect.endswith(_CHOOSES))


def _task(graph: Decorators, nodes: list[Draft], given: Sequence[Value], *, chooses: bool) -> Value:
    job = Job(nodes, [each for value in given for each in _jobs(value)], chooses)
    if graph.jobs is not None:
        graph.jobs.append(job)
    return Task(job)


def draw(graph: Decorators, jobs: Sequence[Job]) -> None:
    """Draw the tasks of a DAG."""
    for job in jobs:
        for draft in job.nodes:
            draft.began = graph.tick()
    Order(graph, jobs).draw()


def made(
    graph: Decorators, path: str, arguments: Sequence[Value], keywords: Mapping[str, Value], line: int
) -> Value | None:
    """Return the task that an operator is; put tasks in order where `chain` says so."""
    if not path.startswith("airflow.") or graph.jobs is None:
        return None
    last = path.rpartition(".")[2]
    if last in {"chain", "cross_downstream"}:
        for first, then in itertools.pairwise(arguments):
            _chained(first, then, each=last == "chain")
        return UNKNOWN
    if last == "TaskGroup":
        return Group()
    if not last.endswith(("Operator", "Sensor")):
        return None
    name = keywords.get("task_id") or (arguments[0] if arguments else Const(last))
    function = keywords.get("python_callable", UNKNOWN)
    step = StepFunction("step_do", named(name), function, config([]), dialect=last)
    given = [*arguments, *keywords.values()]
    with graph.capture() as nodes:
        graph.frame.counter.forget(list(graph.run_step(step, [], line).drafts))
    return _task(
        graph, nodes, [value for value in given if not isinstance(value, Closure)], chooses=last in _CHOOSES
    )


def _chained(first: Value, then: Value, *, each: bool) -> None:
    if each and isinstance(first, ListValue) and isinstance(then, ListValue):  # two lists go pair by pair
        for one, other in zip(first.items, then.items, strict=False):
            _after(one, other)
    else:
        _after(first, then)
