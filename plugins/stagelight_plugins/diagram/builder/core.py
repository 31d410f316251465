"""What all parts of the builder share: where it is, and what it has drawn so far."""

from __future__ import annotations

import re
from bisect import bisect_left
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from stagelight_plugins.diagram.builder.findings import Findings
from stagelight_plugins.diagram.builder.frame import Counter, Frame
from stagelight_plugins.diagram.builder.scope import Scope
from stagelight_plugins.diagram.builder.values import (
    UNKNOWN,
    Choice,
    External,
    ListValue,
    ObjectValue,
    Promise,
    Value,
)
from stagelight_plugins.diagram.model import Draft

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from stagelight_plugins.diagram import tree as t
    from stagelight_plugins.diagram.builder.functions import Key, Known
    from stagelight_plugins.diagram.builder.values import Closure
    from stagelight_plugins.diagram.limits import Budget

_MAX_TEXT: Final = 200
_LINE_END: Final = re.compile(rb"\n")


class Core:
    """The state of one build.

    Args:
        source: The file, for the text of conditions and for lines.
        budget: What may be spent.
    """

    lazy = False
    """Whether calling an asynchronous function does nothing until it is awaited."""

    def __init__(self, source: bytes, budget: Budget) -> None:
        self.source = source
        self.budget = budget
        self._lines: tuple[bytes, list[int]] = (b"", [])
        self.clock = 0
        self.out: list[Draft] = []
        self.frame = Frame()
        self.frames: list[Frame] = []
        self.scope = Scope()
        self.conditions = 0
        self.nesting = 0
        self.known: dict[Key, Known] = {}
        self.made: list[Closure] = []
        self.inlining: list[int] = []
        self.findings = Findings()
        self.required: Callable[[str], Value] = External
        """Returns what `require` gives."""
        self.files: dict[int, str] = {}
        """The paths of the files that were imported, by the id of their source."""

    # What the other parts do

    def value(self, node: t.Node | None) -> Value:
        """Evaluate an expression."""
        raise NotImplementedError

    def run(self, body: Sequence[t.Node]) -> bool:
        """Follow statements; return whether what follows them is never reached."""
        raise NotImplementedError

    def bind(self, pattern: t.Node, value: Value, *, declare: bool) -> None:
        """Give a pattern's names their values."""
        raise NotImplementedError

    def put_at(self, owner: Value, key: Value, value: Value) -> None:
        """Assign a member whose name may not be known."""
        raise NotImplementedError

    def invoke(
        self, callee: Value, arguments: Sequence[Value], *, inline: bool = False, line: int = 0
    ) -> Value:
        """Call a value."""
        raise NotImplementedError

    def get(self, value: Value, name: str) -> Value:
        """Read a member."""
        raise NotImplementedError

    # Places

    def tick(self) -> int:
        """Return the next moment."""
        self.clock += 1
        return self.clock

    def line(self, node: t.Node) -> int:
        """Return the line of a node, the first being 1."""
        if self._lines[0] is not self.source:
            self._lines = (self.source, [match.start() for match in _LINE_END.finditer(self.source)])
        return bisect_left(self._lines[1], node.start) + 1

    def text(self, node: t.Node) -> str:
        """Return the source of a node in one line."""
        found = " ".join(self.source[node.start : node.end].decode("utf-8", "replace").split())
        return found if len(found) <= _MAX_TEXT else found[: _MAX_TEXT - 1] + "…"

    # Drawing

    def emit(self, draft: Draft) -> Draft:
        """Draw a node."""
        self.budget.node(self.nesting)
        draft.began = self.tick()
        draft.file = self.files.get(id(self.source), "")
        self.frame.counter.last = draft.began
        self.out.append(draft)
        return draft

    def emit_pending(self, draft: Draft, result: Value = UNKNOWN) -> Promise:
        """Draw a node that nobody waits for yet."""
        self.emit(draft)
        self.frame.counter.emit(draft, self.clock)
        return Promise((draft,), result)

    @contextmanager
    def capture(self) -> Generator[list[Draft]]:
        """Draw into a list of its own."""
        kept, self.out = self.out, []
        self.nesting += 1
        try:
            yield self.out
        finally:
            self.nesting -= 1
            self.out = kept

    @contextmanager
    def conditional(self) -> Generator[None]:
        """Follow what may not happen."""
        self.conditions += 1
        try:
            yield
        finally:
            self.conditions -= 1

    @contextmanager
    def reading(self, source: bytes | None) -> Generator[None]:
        """Take texts and lines from a file."""
        kept, self.source = self.source, self.source if source is None else source
        try:
            yield
        finally:
            self.source = kept

    @contextmanager
    def inside(self, scope: Scope) -> Generator[Scope]:
        """Resolve names in a scope."""
        kept, self.scope = self.scope, scope
        try:
            yield scope
        finally:
            self.scope = kept

    @contextmanager
    def entering(self, frame: Frame) -> Generator[Frame]:
        """Follow a function body."""
        self.frames.append(self.frame)
        self.frame = frame
        try:
            yield frame
        finally:
            self.frame = self.frames.pop()

    def draw(self, kind: str, parts: Sequence[tuple[Any, list[Draft]]], **fields: Any) -> Draft | None:
        """Draw a node of several blocks, if there is anything in one of them."""
        if not any(nodes for _, nodes in parts):
            return None
        began = self.frame.counter.last
        made = self.emit(Draft(kind, fields, list(parts)))
        if kind != "loop":
            self.frame.counter.last = (
                began  # what is pending in a loop outlives its round: waiting for it is not at once
            )
        return made

    def aside(self, make: Callable[[], Value]) -> Value:
        """Evaluate what belongs to no place of the graph."""
        with self.capture(), self.entering(Frame(counter=Counter())):
            kept, self.conditions = self.conditions, 0
            try:
                return make()
            finally:
                self.conditions = kept

    # Waiting

    def settle(self, value: Value, began: int, kind: str = "") -> None:
        """Wait for what a value promises."""
        drafts = promised(value)
        self.frame.counter.waits = True
        counters = {id(frame.counter): frame.counter for frame in (self.frame, *self.frames)}
        for counter in counters.values():
            counter.settle(drafts, began, self.tick(), kind)


def promised(value: Value, depth: int = 0) -> list[Draft]:
    """Return the nodes that a value stands for."""
    if depth > 8:
        return []
    if isinstance(value, Promise):
        return [*value.drafts, *promised(value.result, depth + 1)]
    parts: list[Value] = []
    if isinstance(value, ListValue):
        parts = [*value.items, *([value.rest] if value.rest is not None else [])]
    elif isinstance(value, Choice):
        parts = [option for _, option in value.options]
    elif isinstance(value, ObjectValue):
        parts = list(value.fields.values())
    found: list[Draft] = []
    for part in parts:
        found.extend(draft for draft in promised(part, depth + 1) if draft not in found)
    return found
