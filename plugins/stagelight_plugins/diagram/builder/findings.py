"""Findings: what a workflow's code does that a replay, or a reader of its diagram, would not expect."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Generator

_CHANGING: Final = re.compile(
    r"Date(\.now)?|performance\.now|Math\.random|crypto\.(randomUUID|getRandomValues)|random\.\w+|secrets\.\w+"
    r"|uuid\.uuid[14]|time\.(time|time_ns|monotonic|perf_counter)|datetime\.(datetime|date)\.(now|utcnow|today)"
    r"|os\.urandom"
)
_EFFECTS: Final = re.compile(
    r"(globalThis\.)?fetch|(requests|httpx|axios)\.(get|post|put|patch|delete|request|head)|urllib\.request\.urlopen"
    r"|open|time\.sleep|subprocess\.(run|call|check_call|check_output|Popen)|os\.(remove|unlink|rename|system|mkdir)"
)


class Findings:
    """The findings of one workflow; none is noted while no workflow is followed."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, str], str] = {}
        self._source: bytes | None = None
        self._steps = 0

    @contextmanager
    def of(self, source: bytes) -> Generator[None]:
        """Note what is found in this file."""
        self._found, self._source = {}, source
        try:
            yield
        finally:
            self._source = None

    @contextmanager
    def step(self) -> Generator[None]:
        """Follow the code of a step."""
        self._steps += 1
        try:
            yield
        finally:
            self._steps -= 1

    def note(self, rule: str, line: int, message: str, source: bytes) -> None:
        """Note a finding; once for each rule and line."""
        if source is self._source:
            self._found.setdefault((line, rule), message)

    def call(self, path: str, line: int, source: bytes) -> None:
        """Look at a call of something that is not in the code."""
        if self._steps:
            return
        name = path.replace(":", ".")
        if _CHANGING.fullmatch(name):
            text = f"{name} gives another value each time, also in a step's name; call it inside a step"
            self.note("changing-value", line, text, source)
        elif _EFFECTS.fullmatch(name):
            self.note(
                "effect-outside-step",
                line,
                f"{name} outside a step may happen twice; move it into one",
                source,
            )

    def sleep(self, kind: str, line: int, source: bytes) -> None:
        """Look at a step that begins."""
        if self._steps and kind in {"step_sleep", "step_sleep_until"}:
            self.note("sleep-inside-step", line, "a sleep inside a step; sleep between steps", source)

    def joined(self, kind: str, line: int, source: bytes) -> None:
        """Look at a combinator."""
        if not self._steps and kind in {"race", "any"}:
            text = "who is first may differ in a replay; put the race inside a step"
            self.note("race-outside-step", line, text, source)

    def to_json(self) -> list[dict[str, Any]]:
        """Return them in the order of their lines."""
        return [
            {"rule": rule, "line": line, "message": message}
            for (line, rule), message in sorted(self._found.items())
        ]
