"""Dialects: which decorators and calls of which library are steps. The graph builder knows none of them."""

from __future__ import annotations

from typing import Final

STEPS: Final = frozenset(
    {
        "stagelight.step", "stagelight.recording.step", "prefect.task", "prefect.tasks.task", "dbos.DBOS.step",
        "dbos.DBOS.transaction", "temporalio.activity.defn", "airflow.decorators.task", "airflow.sdk.task",
        "celery.shared_task", "celery.Celery.task", "langgraph.func.task",
    }
)  # fmt: skip
"""Decorators that make a function a step."""

_TASKS: Final = ("airflow.decorators.task.", "airflow.sdk.task.")
"""The kinds of Airflow's tasks: `task.branch`, `task.virtualenv`, …"""
_APPS: Final = frozenset({"app", "celery", "celery_app"})
"""What an app of Celery is called where it is imported from a file that is not followed."""

WORKFLOWS: Final = frozenset(
    {
        "stagelight.workflow", "stagelight.recording.workflow", "prefect.flow", "prefect.flows.flow",
        "dbos.DBOS.workflow", "airflow.decorators.dag", "airflow.sdk.dag", "temporalio.workflow.run",
        "langgraph.func.entrypoint",
    }
)  # fmt: skip
"""Decorators that make a function a workflow."""

CLASSES: Final = frozenset({"temporalio.workflow.defn"})
"""Decorators that name the workflow that a class is."""

CALLS: Final = {
    "temporalio.workflow.execute_activity": "step_do",
    "temporalio.workflow.execute_activity_method": "step_do",
    "temporalio.workflow.execute_local_activity": "step_do",
    "temporalio.workflow.start_activity": "step_do",
    "temporalio.workflow.start_local_activity": "step_do",
    "temporalio.workflow.execute_child_workflow": "step_do",
    "temporalio.workflow.start_child_workflow": "step_do",
    "temporalio.workflow.sleep": "step_sleep",
    "temporalio.workflow.wait_condition": "step_wait_for_event",
    "dbos.DBOS.sleep": "step_sleep",
    "dbos.DBOS.sleep_async": "step_sleep",
    "dbos.DBOS.recv": "step_wait_for_event",
    "dbos.DBOS.recv_async": "step_wait_for_event",
}
"""Calls that are steps."""

BLOCKS: Final = frozenset(
    {
        "stagelight.workflow",
        "stagelight.recording.workflow",
        "airflow.DAG",
        "airflow.sdk.DAG",
        "airflow.models.DAG",
        "airflow.models.dag.DAG",
    }
)
"""What makes a `with` block a workflow."""

APPROVAL: Final = "wait_for_approval"
"""A wait for an event whose type need not be said."""

METHODS: Final = {"with_rollback": "step_do", APPROVAL: APPROVAL, "child": "step_do"}
"""What the engine's step object has beside the public one's."""

ENTRIES: Final = frozenset({"WorkflowEntrypoint"})
"""Base classes of workflows."""

EAGER: Final = frozenset(
    {"asyncio.create_task", "asyncio.ensure_future", "asyncio.to_thread", "asyncio.run_coroutine_threadsafe"}
)
"""Calls that start what they are given."""

METHODS_THAT_START: Final = frozenset(
    {
        "create_task",
        "start_soon",
        "submit",
        "run_in_executor",
        "apply_async",
        "delay",
        "start_workflow",
        "spawn",
    }
)
"""Methods that start a function or coroutine beside their caller."""

METHODS_THAT_WAIT: Final = frozenset({"result", "wait", "join", "get", "get_result", "exception"})
"""Methods of what was started that wait for its end."""


def is_step(path: str) -> bool:
    """Return whether what has this full name makes a function a step."""
    owner, _, last = path.rpartition(".")
    return path in STEPS or path.startswith(_TASKS) or (last == "task" and owner.rpartition(".")[2] in _APPS)
