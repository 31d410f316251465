"""The limits, all of them settings: those of the public Workflows API, or above."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from stagelight_plugins.engine.durations import DAY
from stagelight_plugins.engine.errors import BadName

MAX_BATCH: Final = 100
_PATTERN: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_-]*")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the engine allows. Sizes in bytes of JSON, times in milliseconds."""

    slots: int = 50_000
    """Instances of all workflows that may run at once."""
    queued: int = 2_000_000
    """Instances of one workflow that may wait for a slot."""
    creates_per_second: int = 0
    """Creates of all workflows, as a mean over a second; 0 for no bound but the machine's."""
    workflow_creates_per_second: int = 0
    """Creates of one workflow; 0 for no bound of its own."""
    steps: int = 10_000
    """Steps of one instance; sleeps do not count."""
    output_bytes: int = 1 << 20
    payload_bytes: int = 1 << 20
    state_bytes: int = 1 << 30
    """All that one instance keeps."""
    waiting_events: int = 100_000
    """Events that one instance keeps for steps that do not wait yet."""
    retention: int = 7 * DAY
    """How long an instance is kept after its end."""
    shards: int = 4
    """SousChefs of one workflow."""
    cycle: int = 10
    """The time between two requests of the SousChefs for slots."""
    threads: int = 64
    """Threads for step functions that are not `async`."""
    pending: int = 100_000
    """Transitions that wait for the disk; beyond it new instances and events are refused."""


def check_workflow(name: str) -> str:
    """Return a workflow's name, or raise `BadName`."""
    return _check("workflow", name, 64)


def check_instance(name: str) -> str:
    """Return the id of a new instance, or raise `BadName`."""
    return _check("instance id", name, 100)


def check_event(name: str) -> str:
    """Return an event type, or raise `BadName`."""
    return _check("event type", name, 100)


def check_step(name: object) -> str:
    """Return a step's name, or raise `BadName`."""
    if not isinstance(name, str) or not 1 <= len(name) <= 256:
        raise BadName("step", str(name), "write 1 to 256 characters")
    if _CONTROL.search(name):
        raise BadName("step", name, "leave out control characters")
    return name


def _check(what: str, name: object, longest: int) -> str:
    if not isinstance(name, str) or len(name) > longest or not _PATTERN.fullmatch(name):
        rule = f"write 1 to {longest} of a-z A-Z 0-9 _ -, and begin with none of -"
        raise BadName(what, str(name), rule)
    return name
