"""The workflow of three steps for Temporal, in a module of its own, because its sandbox imports it again."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity, workflow

TASK_QUEUE = "bench"


@activity.defn
async def add(number: int) -> int:
    """Add one."""
    return number + 1


@workflow.defn
class Three:
    """Three steps."""

    @workflow.run
    async def run(self, number: int) -> int:
        """Do them."""
        for _ in range(3):
            number = await workflow.execute_activity(
                add, number, start_to_close_timeout=timedelta(minutes=10)
            )
        return number
