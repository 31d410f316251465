"""Sources: the code of workflows as log rows, from which the diagram of a run's class is drawn.

The code of a version is told once by each process, with the first run of it. What looks like a credential is left out, as
the agent does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from stagelight import conventions as c
from stagelight.conventions import EventType
from stagelight.redaction import redact_source
from stagelight.sources import Source, read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from stagelight.events import Event
    from stagelight_plugins.engine.store import VersionRow
    from stagelight_plugins.engine.workflow import Workflow
    from stagelight_plugins.hookspecs import Table

FUNCTION: Final = "code.function.name"
"""On the start of a run: the class that it is of."""

_STARTED: Final = c.EVENT_NAME_PREFIX + EventType.RUN_STARTED


@dataclass(slots=True)
class Rows:
    """Log rows, column by column."""

    names: list[str] = field(default_factory=list[str])
    attributes: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    bodies: list[str] = field(default_factory=list[str])

    def add(self, name: str, attributes: dict[str, Any], body: str = "") -> None:
        """Add a row."""
        self.names.append(name)
        self.attributes.append(attributes)
        self.bodies.append(body)

    def table(self) -> Table:
        """Return them as sinks take them; nothing where there are none."""
        if not self.names:
            return {}
        return {
            "EventName": self.names,
            "LogAttributes": self.attributes,
            "Body": self.bodies,
            "TraceId": [""] * len(self.names),
        }


@dataclass(slots=True, eq=False)
class Sources:
    """Tells the code of each version once."""

    _told: set[int] = field(default_factory=set[int])

    def rows(self, events: Sequence[Event], begun: Iterable[tuple[Workflow, int]]) -> Table:
        """Return the rows that go with some events: which run is of which version, and code that was not told yet."""
        rows = Rows()
        for workflow, key in begun:
            version = workflow.version_of(key)
            if version is not None and key not in self._told:
                self._told.add(key)
                for attributes, body in _files(workflow, version):
                    rows.add(c.SOURCE_EVENT, attributes, body)
        for event in events:
            if event.type is EventType.RUN_STARTED and c.WORKFLOW_VERSION in event.attributes:
                names = {c.RUN_ID: event.run_id, c.WORKFLOW_NAME: event.workflow}
                rows.add(_STARTED, {**event.attributes, **names})
        return rows.table()

    def again(self) -> None:
        """Tell all code again: what was told last has not arrived."""
        self._told.clear()


def _files(workflow: Workflow, version: VersionRow) -> Iterator[tuple[dict[str, Any], str]]:
    source = _source(workflow, version)
    shared = {
        c.WORKFLOW_NAME: workflow.name,
        c.WORKFLOW_VERSION: version.id,
        c.SOURCE_MAIN: source.main,
        c.SOURCE_COUNT: len(source.files),
    }
    if source.omitted:
        yield {**shared, c.SOURCE_OMITTED: source.omitted}, ""
    for path, text in source.files.items():
        yield {**shared, c.SOURCE_PATH: path}, text


def _source(workflow: Workflow, version: VersionRow) -> Source:
    """Return a version's code: with the files of its project while they are what runs, else its own file alone."""
    text = redact_source(version.source)
    if workflow.known and workflow.version == version.key:
        found = read(workflow.cls.__module__)
        if found is not None and (found.omitted or found.files.get(found.main) == text):
            return found
    main = f"{version.class_name}.py"
    omitted = "" if text else "the source of its class cannot be read"
    return Source(version=version.id, main=main, files={main: text} if text else {}, omitted=omitted)
