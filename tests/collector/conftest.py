"""A collector without its doors: journal, pipeline and archive, and a history that fails on demand."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from stagelight import conventions as c
from stagelight_collector.archive import Archive
from stagelight_collector.attribution import Attribution
from stagelight_collector.journal import Journal, Signal
from stagelight_collector.pipeline import Pipeline, decode
from stagelight_collector.rooms.hub import Hub

if TYPE_CHECKING:
    from pathlib import Path

    from stagelight.events import Event
    from stagelight_plugins.hookspecs import Batch

SECOND = 1_000_000_000
NOW = 1_764_000_000 * SECOND
_DEADLINE_SECONDS = 20


@dataclass
class MemoryHistory:
    """History's writing half, in memory."""

    batches: list[Batch] = field(default_factory=list["Batch"])
    faults: list[Exception] = field(default_factory=list[Exception])
    """Raised by the next inserts, one each."""
    refuses: Callable[[Batch], Exception | None] = lambda _batch: None
    watch: Callable[[Batch], None] = lambda _batch: None
    decodes_spans: bool = True

    async def insert(self, batch: Batch, token: str, *, again: bool = False) -> None:
        """Take a batch, or fail as told."""
        del token, again
        self.watch(batch)
        if self.faults:
            raise self.faults.pop(0)
        if error := self.refuses(batch):
            raise error
        self.batches.append(batch)

    @property
    def events(self) -> list[tuple[str, str]]:
        """What is here: run and type."""
        return [(event.run_id, str(event.type)) for batch in self.batches for event in batch.events]

    @property
    def bodies(self) -> list[str]:
        """The texts of the log rows."""
        return [text for batch in self.batches for text in batch.logs.get("Body", ())]


def line(
    body: str, trace: int = 1, time: int = NOW, attributes: Mapping[str, str] | None = None
) -> ExportLogsServiceRequest:
    """Return a request with one log record."""
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add()
    record.time_unix_nano = time
    record.trace_id = trace.to_bytes(16, "big") if trace else b""
    record.body.string_value = body
    for key, value in (attributes or {}).items():
        record.attributes.add(key=key).value.string_value = value
    return request


def step(name: str, trace: int = 1) -> ExportLogsServiceRequest:
    """Return the start of a step that does not know its run."""
    request = line("", trace, attributes={c.STEP_NAME: name})
    _record(request).event_name = "workflow.step_started"
    return request


def started(run_id: str, trace: int = 1) -> ExportLogsServiceRequest:
    """Return the start of a run."""
    request = line("", trace, attributes={c.RUN_ID: run_id, c.WORKFLOW_NAME: "etl"})
    _record(request).event_name = "workflow.run_started"
    return request


def _record(request: ExportLogsServiceRequest) -> Any:
    return request.resource_logs[0].scope_logs[0].log_records[0]


async def _nothing(_run_id: str) -> list[Event]:
    return []


class House:
    """The parts, wired as the collector wires them; the test says when each runs."""

    line, step, started = staticmethod(line), staticmethod(step), staticmethod(started)

    def __init__(self, path: Path, history: Any = None) -> None:
        self.path = path
        self.now = NOW
        self.slept: list[float] = []
        self.elapsed = 0.0
        """What the archive's clock says: time passes as it sleeps."""
        self.memory = MemoryHistory()
        writing: Any = history or self.memory
        self.journal = Journal(path / "journal.sqlite")
        attribution = Attribution()
        self.archive = Archive(
            journal=self.journal,
            history=writing,
            attribution=attribution,
            decode=decode,
            aside=path / "refused",
            sleep=self._sleep,
            clock=lambda: self.elapsed,
        )
        self.pipeline = Pipeline(
            self.journal, Hub(_nothing, "e"), attribution, self.archive, now=lambda: self.now
        )

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.elapsed += seconds
        await asyncio.sleep(0)

    async def send(self, *requests: ExportLogsServiceRequest) -> None:
        """Have requests acknowledged and decoded."""
        async with self.running("pipeline"):
            for request in requests:
                await self.pipeline.ingest(Signal.LOGS, request.SerializeToString(), request)
            await self.pipeline.drain()

    async def journal_only(self, *requests: ExportLogsServiceRequest, received: int = NOW) -> list[int]:
        """Have requests journaled, as if the process was killed before they were decoded."""
        entries = [
            await self.journal.append(Signal.LOGS, request.SerializeToString(), received)
            for request in requests
        ]
        return [entry.seq for entry in entries if entry]

    @contextlib.asynccontextmanager
    async def running(self, *names: str) -> AsyncGenerator[None]:
        """Run the pipeline, the archive, or both."""
        parts = {"pipeline": self.pipeline.run, "archive": self.archive.run}
        tasks = [asyncio.create_task(parts[name](), name=name) for name in names or parts]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def until(self, condition: Callable[[], object]) -> None:
        """Let the parts run until something holds."""
        async with asyncio.timeout(_DEADLINE_SECONDS):
            while not condition():  # noqa: ASYNC110 - of anything, in parts that know no test
                await asyncio.sleep(0)

    async def until_archived(self) -> None:
        """Let the parts run until the journal is empty."""
        await self.until(lambda: self.journal.entries == 0)

    @property
    def set_aside(self) -> list[str]:
        """The names of the refused requests' files."""
        return sorted(file.name for file in (self.path / "refused").glob("*"))


HouseMaker = Callable[..., contextlib.AbstractAsyncContextManager[House]]


@contextlib.asynccontextmanager
async def _house(path: Path, history: Any = None) -> AsyncGenerator[House]:
    house = House(path, history)
    await house.journal.open()
    try:
        yield house
    finally:
        await house.journal.close()


@pytest.fixture
def make_house(tmp_path: Path) -> HouseMaker:
    """Make houses on one and the same journal, one after the other."""
    return partial(_house, tmp_path)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """One house."""
    async with _house(tmp_path) as made:
        yield made
