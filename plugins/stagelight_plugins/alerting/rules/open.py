"""What is open: runs and steps that have begun and not ended, and what is known of each workflow and step by name."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from stagelight_plugins.alerting.rules.baselines import Baseline, Cadence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from stagelight_plugins.alerting.rules.rule import Rule

MOST_RUNS: Final = 20_000
MOST_STEPS: Final = 100_000
MOST_NAMES: Final = 5_000
"""Names of workflows, and of steps: what is known of the least recently seen goes."""
ENDED: Final = 50_000
"""Ends that are remembered: a start that comes late does not open what has ended."""


@dataclass(slots=True)
class OpenRun:
    """A run that has not ended. Times are Unix seconds, by the collector's clock but for `started`."""

    id: str
    known: KnownWorkflow
    started: float
    last: float
    """When anything was last heard of it."""
    service: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    longest_silence: float = 0.0
    waits: bool = False
    """Whether it sleeps, waits or is paused: then silence means nothing."""
    asks: bool = False
    """Whether it waits for an event: somebody's answer, for example."""
    steps: dict[str, KnownStep] = field(default_factory=dict[str, "KnownStep"])
    failed: list[KnownStep] = field(default_factory=list["KnownStep"])
    """Steps that failed, and may be tried again while it goes on."""
    told: set[str] = field(default_factory=set[str])
    """Rules that have said something of it."""
    told_quiet: bool = False
    """Whether one of them said that it is silent, or waits."""
    look_at: float = 0.0
    """Before then nothing of it can be overdue."""


@dataclass(slots=True)
class OpenStep:
    """A step that has not ended."""

    id: str
    run: str
    started: float
    attempt: int
    told: set[str] = field(default_factory=set[str])


@dataclass(slots=True)
class KnownStep:
    """A step by its name."""

    workflow: str
    name: str
    failed: Sequence[Rule]
    too_long: Sequence[Rule]
    usual: Baseline = field(default_factory=Baseline)
    open: dict[str, OpenStep] = field(default_factory=dict[str, OpenStep])
    """In the order in which they began."""


@dataclass(slots=True)
class KnownWorkflow:
    """A workflow by its name."""

    name: str
    rules: Mapping[str, Sequence[Rule]]
    """Those whose names fit, by kind."""
    seen: float
    last: float = 0.0
    """When anything was last heard of it."""
    silence: Baseline = field(default_factory=Baseline)
    length: Baseline = field(default_factory=Baseline)
    cadence: Cadence = field(default_factory=Cadence)
    rates: dict[float, Rate] = field(default_factory=dict[float, "Rate"])
    """By their windows."""

    def of(self, kind: str) -> Sequence[Rule]:
        """Return the rules of a kind."""
        return self.rules.get(kind, ())


@dataclass(slots=True)
class Rate:
    """How many runs failed within a window, in thirty parts."""

    window: float
    _parts: deque[list[float]] = field(default_factory=deque["list[float]"])

    def add(self, at: float, failed: bool) -> None:
        """Count a run."""
        part = at // (self.window / 30)
        if not self._parts or self._parts[-1][0] < part:
            self._parts.append([part, 0, 0])
        self._parts[-1][1] += 1
        self._parts[-1][2] += failed

    def counts(self, now: float) -> tuple[int, int]:
        """Return how many runs ended within the window, and how many of them failed."""
        oldest = (now - self.window) // (self.window / 30)
        while self._parts and self._parts[0][0] < oldest:
            self._parts.popleft()
        return int(sum(part[1] for part in self._parts)), int(sum(part[2] for part in self._parts))


class Ended:
    """Ids of what has ended lately."""

    def __init__(self, most: int = ENDED) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._most = most

    def __contains__(self, identity: str) -> bool:
        return identity in self._ids

    def add(self, identity: str) -> None:
        """Remember an id; the oldest is forgotten."""
        self._ids[identity] = None
        if len(self._ids) > self._most:
            self._ids.popitem(last=False)


def by_kind(rules: Iterable[Rule]) -> dict[str, list[Rule]]:
    """Return rules by what they wait for."""
    found: dict[str, list[Rule]] = {}
    for rule in rules:
        found.setdefault(rule.when, []).append(rule)
    return found
