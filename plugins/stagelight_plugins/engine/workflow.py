"""A registered workflow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stagelight_plugins.engine.account import Plane
    from stagelight_plugins.engine.entrypoint import WorkflowEntrypoint
    from stagelight_plugins.engine.store import VersionRow


@dataclass(slots=True, eq=False)
class Workflow:
    """A registered workflow."""

    key: int
    id: str
    name: str
    created: int
    plane: Plane
    cls: type[WorkflowEntrypoint]
    version: int = 0
    retention: int = 0
    concurrency: int | None = None
    schedules: tuple[str, ...] = ()
    known: bool = True
    """Whether its class is registered in this process; else its instances wait until it is."""
    counts: dict[str, int] = field(default_factory=dict[str, int])
    versions: list[VersionRow] = field(default_factory=list["VersionRow"])
    """Of its code, the oldest first."""

    def version_of(self, key: int) -> VersionRow | None:
        """Return a version of its code."""
        return next((version for version in reversed(self.versions) if version.key == key), None)
