"""One workflow: from the function that starts it to the nodes of its diagram."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stagelight_plugins.diagram import tree as t
from stagelight_plugins.diagram.builder.calls import Calls
from stagelight_plugins.diagram.builder.core import promised
from stagelight_plugins.diagram.builder.frame import Counter, Frame
from stagelight_plugins.diagram.builder.functions import Known, known_key
from stagelight_plugins.diagram.builder.grouping import Finisher, with_steps
from stagelight_plugins.diagram.builder.values import UNKNOWN, Carrier, Closure, Shape, Value
from stagelight_plugins.diagram.model import Draft, to_json

if TYPE_CHECKING:
    from collections.abc import Sequence


class Graph(Calls):
    """Builds the graph of one workflow."""

    def build(
        self, name: str, start: Closure, arguments: Sequence[Value], payload: Shape | None
    ) -> dict[str, Any] | None:
        """Return the workflow in the API's form; None where it has no step."""
        self.conditions = 0
        frame = Frame(start.this, start.home, Counter())
        self.made.clear()
        with self.capture() as nodes, self.findings.of(self.source):
            self.inlining.append(id(start.node))
            result = self._follow(start, arguments, frame)
            self.inlining.pop()
            result = self.finish(result)
        frame.counter.hand_back([d for d in promised(result) if d in frame.counter.pending], self.tick())
        self._uncalled()
        keep = with_steps(self.known.values())
        finisher = Finisher(keep)
        body = finisher.body(nodes, waits=frame.counter.waits)
        functions = [known for known in self.known.values() if id(known) in keep]
        if not body and not functions:
            return None
        self._label_all(functions)
        made: dict[str, Any] = {"class_name": name, "functions": {}, "nodes": []}
        for known in functions:
            inner = finisher.body(known.drafts, waits=known.counter.waits)
            nodes_json = to_json(_plain(inner), known.name)
            definition = {"type": "function_def", "name": known.name, "nodes": nodes_json}
            if title := getattr(known.closure, "title", ""):  # a workflow of its own: its call is a child run
                definition["workflow"] = title
            made["functions"].setdefault(known.name, definition)
        made["nodes"] = to_json(_plain(body))
        if found := self.findings.to_json():
            made["findings"] = found
        if payload is not None and (payload.read or payload.fields):
            made["payload"] = payload.to_json()
        return made

    def finish(self, result: Value) -> Value:
        """Run what the start returns without having run it."""
        return result

    def _uncalled(self) -> None:
        """Follow the functions that were made and never called: they stay in the map."""
        for closure in self.made[:500]:
            if all(id(closure.node) != key[0] for key in self.known) and closure.node.name:
                known = self.known[known_key(closure)] = Known(
                    closure, arguments=[UNKNOWN] * len(closure.node.parameters)
                )
                self._learn(known)

    def _label_all(self, functions: Sequence[Known]) -> None:
        """Give each function a name of its own; what does the same under another key is the same."""
        taken: dict[str, Known] = {}
        for known in functions:
            name = label = known.closure.label or "anonymous"
            number = 1
            while name in taken and not _alike(known, taken[name]):
                number += 1
                name = f"{label}_{number}"
            taken.setdefault(name, known)
            known.name = name


def _alike(one: Known, other: Known) -> bool:
    return one.closure.node is other.closure.node and _same(one.drafts, other.drafts)


def _same(one: Sequence[Draft], other: Sequence[Draft]) -> bool:
    return len(one) == len(other) and all(map(_same_node, one, other))


def _same_node(one: Draft, other: Draft) -> bool:
    """Say whether two nodes show the same. A call of a function may be one of itself, and then both are."""
    if one.type != other.type or len(one.parts) != len(other.parts):
        return False
    if isinstance(one.function, Known) and isinstance(other.function, Known):
        return one.function.closure.node is other.function.closure.node
    shown = [{key: value for key, value in each.fields.items() if key != "payload"} for each in (one, other)]
    if shown[0] != shown[1]:
        return False
    pairs = zip(one.parts, other.parts, strict=True)
    return all(key == theirs and _same(nodes, more) for (key, nodes), (theirs, more) in pairs)


def _plain(drafts: list[Draft]) -> list[Draft]:
    """Write what is only known at the end into the nodes: names of functions, shapes of payloads."""
    for draft in drafts:
        if isinstance(draft.function, Known):
            draft.fields["name"] = draft.function.name
        payload = draft.fields.get("payload")
        if isinstance(payload, Shape):
            if payload.read or payload.fields:
                draft.fields["payload"] = payload.to_json()
            else:
                del draft.fields["payload"]
        for _, nodes in draft.parts:
            _plain(nodes)
    return drafts


def event() -> tuple[Carrier, Shape]:
    """Return the event that starts a workflow, and its payload."""
    shape = Shape()
    return Carrier(shape), shape


__all__ = ["Graph", "event", "t"]
