"""The inbox: picks from every batch the code of workflows, and which run is of which version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stagelight import conventions as c
from stagelight.conventions import EventType
from stagelight_plugins.diagram.artist import is_inside
from stagelight_plugins.diagram.store import File, Start

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stagelight_plugins.diagram.artist import Artist
    from stagelight_plugins.diagram.store import Store
    from stagelight_plugins.hookspecs import Batch, Table

MOST_CHARACTERS: Final = 4 * 1024 * 1024
"""Of one file."""

_STARTED: Final = c.EVENT_NAME_PREFIX + EventType.RUN_STARTED
_FUNCTION: Final = "code.function.name"


class Inbox:
    """A sink: what it does not know it leaves alone."""

    name = "diagram"

    def __init__(self, store: Store, artist: Artist) -> None:
        self._store = store
        self._artist = artist

    async def write(self, batch: Batch) -> None:
        """Keep what the batch says of code."""
        files, starts = files_of(batch.logs), starts_of(batch.logs)
        if (files or starts) and await self._store.take(files, starts):
            self._artist.wake()


def files_of(logs: Table) -> list[File]:
    """Return the files of code in some log rows; what is incomplete is left out."""
    found: list[File] = []
    for index, name in enumerate(logs.get("EventName", ())):
        if name == c.SOURCE_EVENT:
            attributes = logs["LogAttributes"][index]
            count = str(attributes.get(c.SOURCE_COUNT, ""))
            text, omitted = str(logs["Body"][index]), _text(attributes, c.SOURCE_OMITTED)
            if len(text) > MOST_CHARACTERS:
                text, omitted = "", f"the code is larger than {MOST_CHARACTERS >> 20} MiB"
            file = File(
                version=_text(attributes, c.WORKFLOW_VERSION),
                main=_text(attributes, c.SOURCE_MAIN),
                count=int(count) if count.isdecimal() and len(count) < 6 else 1,
                path=_text(attributes, c.SOURCE_PATH),
                text=text,
                omitted=omitted,
            )
            if file.version and file.main and (omitted or is_inside(file.path)):
                found.append(file)
    return found


def starts_of(logs: Table) -> list[Start]:
    """Return the runs in some log rows that say which version they are of."""
    found: list[Start] = []
    for index, name in enumerate(logs.get("EventName", ())):
        if name == _STARTED and c.WORKFLOW_VERSION in (attributes := logs["LogAttributes"][index]):
            start = Start(
                run_id=_text(attributes, c.RUN_ID) or str(logs["TraceId"][index]),
                workflow=_text(attributes, c.WORKFLOW_NAME),
                version=_text(attributes, c.WORKFLOW_VERSION),
                function=_text(attributes, _FUNCTION).rpartition(".")[2],
            )
            if start.run_id and start.workflow and start.version:
                found.append(start)
    return found


def _text(attributes: Mapping[str, Any], key: str) -> str:
    return str(attributes.get(key, ""))[:512]
