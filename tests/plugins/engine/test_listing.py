"""Lists are of one moment: an instance that changes its status meanwhile is neither left out nor there twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stagelight_plugins.engine import WorkflowEntrypoint, WorkflowEvent
from stagelight_plugins.engine.store import Batch, Row, Slice
from stagelight_plugins.engine.store.sqlite import STATUSES, SqliteStore

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugins.engine.conftest import Bench

    from stagelight_plugins.engine.step import Step
else:
    Bench = Any


class Doze(WorkflowEntrypoint):
    """Sleeps."""

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        await step.sleep("nap", "1 day")


class Moving(SqliteStore):
    """A store in which an instance changes its status while a list is read: after its `after`th status."""

    def __init__(self, path: Path, after: int, status: str) -> None:
        super().__init__(path)
        self.left, self.status = after, status

    def _of_status(self, part: Slice, status: str) -> list[Row]:
        found = super()._of_status(part, status)
        self.left -= 1
        if self.left == 0:
            batch = Batch()
            batch.changes[1] = {"status": self.status}
            self.write(batch)
        return found


@pytest.mark.parametrize(("before", "after"), [("waiting", "queued"), ("queued", "waiting")])
async def test_a_page_is_of_one_moment(bench: Bench, before: str, after: str) -> None:
    plane = await bench.open(Doze)
    for name in ("one", "two"):
        await plane.create("Doze", id=name)
        await bench.until("Doze", name, lambda info: info.status == "waiting")
    await bench.close()
    store = Moving(bench.path, 1, after)
    batch = Batch()
    batch.changes[1] = {"status": before}
    store.write(batch)
    store.left = 3
    found = store.page(Slice(1, STATUSES, 0, 0, 0, 0, descending=False, limit=10))
    store.close()

    assert [row.id for row in found] == ["one", "two"]
    assert found[0].status == before
