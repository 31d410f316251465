"""What must come before what, as nodes: one after the other, side by side, and both."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from stagelight_plugins.diagram.model import Draft
from stagelight_plugins.diagram.python.foreign import draw_beside

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stagelight_plugins.diagram.python.decorators import Decorators

MOST: Final = 300
"""More jobs than this are drawn in the order in which they stand: to compare each with each takes too long."""


@dataclass(eq=False)
class Job:
    """Something to be done after others."""

    nodes: list[Draft]
    before: list[Job] = field(default_factory=list["Job"])
    chooses: bool = False
    """Only some of what follows it happens."""


class Order:
    """Draws jobs.

    Args:
        graph: Draws.
        jobs: In the order of the code.
    """

    def __init__(self, graph: Decorators, jobs: Sequence[Job]) -> None:
        self._graph = graph
        self._jobs = list(jobs)
        self._above: dict[int, set[int]] = {}
        if len(self._jobs) <= MOST:
            for job in self._jobs:
                self._find_above(job, ())

    def draw(self) -> None:
        """Draw all."""
        if len(self._jobs) > MOST:
            for job in self._jobs:
                self._graph.out.extend(job.nodes)
            return
        self._arrange(self._jobs, choice=False)

    def _find_above(self, job: Job, path: tuple[int, ...]) -> set[int]:
        found = self._above.get(id(job))
        if found is None and id(job) not in path:
            found = set[int]()
            for other in job.before:
                found |= {id(other), *self._find_above(other, (*path, id(job)))}
            self._above[id(job)] = found
        return found or set()

    def _related(self, one: Job, other: Job) -> bool:
        return id(one) in self._above[id(other)] or id(other) in self._above[id(one)]

    def _arrange(self, jobs: list[Job], *, choice: bool) -> None:
        groups = self._apart(jobs)
        if len(groups) > 1:
            self._beside(groups, choice=choice)
        elif len(jobs) == 1:
            self._graph.out.extend(jobs[0].nodes)
        elif jobs:
            self._after_each_other(jobs, choice=choice)

    def _apart(self, jobs: list[Job]) -> list[list[Job]]:
        """Return the groups that have nothing to do with one another."""
        groups: list[list[Job]] = []
        for job in jobs:
            mine = [group for group in groups if any(self._related(job, other) for other in group)]
            merged = [each for group in mine for each in group]
            groups = [group for group in groups if group not in mine]
            groups.append([each for each in jobs if each in merged or each is job])
        return sorted(groups, key=lambda group: jobs.index(group[0]))

    def _beside(self, groups: list[list[Job]], *, choice: bool) -> None:
        if not choice:
            parts = [partial(self._arrange, group, choice=False) for group in groups]
            draw_beside(self._graph, parts, 0)
            return
        branches: list[tuple[str | None, list[Draft]]] = []
        for group in groups:
            with self._graph.capture() as nodes:
                self._arrange(group, choice=False)
            branches.append((str(nodes[0].fields.get("name", "")) or None, nodes))
        self._graph.draw("if", branches)

    def _after_each_other(self, jobs: list[Job], *, choice: bool) -> None:
        ordered = sorted(jobs, key=lambda job: len(self._above[id(job)]))
        for at in range(1, len(ordered)):
            first, rest = ordered[:at], ordered[at:]
            if all(id(one) in self._above[id(other)] for one in first for other in rest):
                self._arrange([job for job in jobs if job in first], choice=choice)
                chooses = len(first) == 1 and first[0].chooses
                self._arrange([job for job in jobs if job in rest], choice=chooses)
                return
        self._numbered(ordered)

    def _numbered(self, jobs: list[Job]) -> None:
        """Draw what is neither: each begins when the last of those before it has ended."""
        rows: dict[int, int] = {}
        for job in jobs:
            rows[id(job)] = 1 + max((rows[each] for each in self._above[id(job)] if each in rows), default=0)
        nodes: list[Draft] = []
        for job in jobs:
            for draft in job.nodes:
                draft.starts, draft.resolves = rows[id(job)], rows[id(job)] + 1
                nodes.append(draft)
        self._graph.emit(Draft("parallel", {"kind": "all"}, [("nodes", nodes)]))
