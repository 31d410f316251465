"""LangGraph: nodes and edges of a `StateGraph`, read as the loops, branches and groups that they are."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from stagelight_plugins.diagram.builder.values import (
    UNKNOWN,
    Closure,
    Const,
    External,
    ListValue,
    ObjectValue,
    StepFunction,
    Value,
)
from stagelight_plugins.diagram.model import Draft
from stagelight_plugins.diagram.python.foreign import Foreign, draw_beside, draw_step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stagelight_plugins.diagram.python.decorators import Decorators

START: Final = "__start__"
END: Final = "__end__"
_RUNS: Final = frozenset({"invoke", "ainvoke", "stream", "astream", "batch", "abatch", "astream_events"})
_KNOWN_ROUTES: Final = {"tools_condition": ("tools", END)}
_SAME: Final = frozenset({"with_config", "with_retry", "bind"})


class Wiring(Foreign):
    """A graph that is being put together."""

    __slots__ = ("edges", "nodes", "routes")

    def __init__(self) -> None:
        self.nodes: dict[str, Value] = {}
        self.edges: dict[str, list[str]] = {}
        self.routes: dict[str, dict[str, str]] = {}
        """By node: where its conditional edges lead, by what chooses each."""

    def call(
        self,
        graph: Decorators,
        name: str,
        arguments: Sequence[Value],
        keywords: Mapping[str, Value],
        line: int,
    ) -> Value:
        """Add to the graph, or make it one that runs."""
        del graph, line
        if name == "compile":
            title = keywords.get("name")
            return Compiled(self, title.value if isinstance(title, Const) else "")
        adding = getattr(self, f"_{name}", None)
        if adding is not None:
            named_ones = [keywords[key] for key in ("node", "action", "path", "path_map") if key in keywords]
            first, second, third, *_ = [*arguments, *named_ones, UNKNOWN, UNKNOWN, UNKNOWN]
            adding(first, second, third)
        return self

    def _add_node(self, first: Value, second: Value, _: Value = UNKNOWN) -> str:
        action = first if second is UNKNOWN else second
        name = word(first) if isinstance(first, Const) else named(first)
        self.nodes[name] = action
        for target in returned_words(action):  # it says itself where it goes: `Command[Literal[…]]`
            self.routes.setdefault(name, {})[target] = target
        return name

    def _add_sequence(self, first: Value, _: Value, __: Value) -> None:
        names: list[str] = []
        for item in first.items if isinstance(first, ListValue) else ():
            pair = [*(item.items if isinstance(item, ListValue) else [item]), UNKNOWN, UNKNOWN]
            names.append(self._add_node(pair[0], pair[1]))
        for one, other in pairwise(names):
            self.edges.setdefault(one, []).append(other)

    def _add_edge(self, first: Value, second: Value, _: Value) -> None:
        for start in first.items if isinstance(first, ListValue) else [first]:
            self.edges.setdefault(word(start), []).append(word(second))

    def _set_entry_point(self, first: Value, _: Value, __: Value) -> None:
        self.edges.setdefault(START, []).append(word(first))

    def _set_finish_point(self, first: Value, _: Value, __: Value) -> None:
        self.edges.setdefault(word(first), []).append(END)

    def _set_conditional_entry_point(self, first: Value, second: Value, _: Value) -> None:
        self._add_conditional_edges(Const(START), first, second)

    def _add_conditional_edges(self, first: Value, chooser: Value, ways: Value) -> None:
        routes = self.routes.setdefault(word(first), {})
        if isinstance(ways, ObjectValue):
            routes.update({key: word(value) for key, value in ways.fields.items()})
        elif isinstance(ways, ListValue):
            routes.update({word(value): word(value) for value in ways.items})
        else:
            known = (
                _KNOWN_ROUTES.get(chooser.path.rpartition(":")[2]) if isinstance(chooser, External) else None
            )
            routes.update({target: target for target in known or returned_words(chooser)})
        if not routes:  # it may go anywhere
            routes.update({name: name for name in (*self.nodes, END)})


class Compiled(Foreign):
    """A graph that runs."""

    __slots__ = ("name", "wiring")

    def __init__(self, wiring: Wiring, name: str) -> None:
        self.wiring = wiring
        self.name = name

    def call(
        self,
        graph: Decorators,
        name: str,
        arguments: Sequence[Value],
        keywords: Mapping[str, Value],
        line: int,
    ) -> Value:
        """Run it in its place."""
        del arguments, keywords
        if name in _RUNS:
            self.draw(graph, line)
        return self if name in _SAME else UNKNOWN

    def title(self, name: str) -> str | None:
        """Return what it was given as its name, or the variable's."""
        return self.name or name

    def draw(self, graph: Decorators, line: int) -> None:
        """Draw its nodes."""
        Walk(graph, self.wiring, line).follow(START, frozenset())


class Walk:
    """Draws a wiring: what its edges lead to, with the loops, branches and groups that they make."""

    def __init__(self, graph: Decorators, wiring: Wiring, line: int) -> None:
        self._graph = graph
        self._wiring = wiring
        self._line = line
        self._back: set[tuple[str, str]] = set()
        self._find_back(START, [], set())
        self._inside: list[tuple[str, frozenset[str]]] = []
        """The loops around: where each begins, and what is in it."""

    def _next(self, name: str) -> list[str]:
        found = [*self._wiring.edges.get(name, ()), *self._wiring.routes.get(name, {}).values()]
        return list(dict.fromkeys(found))

    def _find_back(self, name: str, path: list[str], seen: set[str]) -> None:
        seen.add(name)
        for target in self._next(name):
            if target == name or target in path:
                self._back.add((name, target))
            elif target not in seen and len(path) < 200:
                self._find_back(target, [*path, name], seen)

    def _reached(self, name: str, without: str = "") -> list[str]:
        """Return what is reached forwards, the nearest first; `name` itself is the first."""
        found, waiting = [name], [name]
        for at in waiting:
            for target in self._next(at):
                if (at, target) not in self._back and target not in found and target != without:
                    found.append(target)
                    waiting.append(target)
        return found

    def _loop(self, head: str) -> frozenset[str]:
        """Return what is in the loop that begins at a node: what can come back to it."""
        ends = {one for one, other in self._back if other == head}
        return frozenset({head, *(name for name in self._reached(head) if ends & set(self._reached(name)))})

    def _meeting(self, targets: Sequence[str], until: frozenset[str]) -> str:
        """Return where ways come together again; `END` where they do not."""
        reached = [self._reached(target) for target in targets if not self._is_out(target)]
        if not reached:
            return END
        common = [name for name in reached[0] if all(name in other for other in reached[1:])]
        inside = [name for name in common if not self._is_out(name)]
        first = [
            name for name in inside if all(name in until or other in self._reached(name) for other in inside)
        ]
        return next(iter(first or inside), END) if len(targets) > 1 else targets[0]

    def _is_out(self, name: str) -> bool:
        return bool(self._inside) and (name not in self._inside[-1][1] or name == self._inside[-1][0])

    def follow(self, at: str, until: frozenset[str]) -> None:
        """Draw from a node on."""
        for _ in range(1000):
            if not at:  # the ways never meet again
                return
            if self._inside and at == self._inside[-1][0]:
                return
            if self._inside and at not in self._inside[-1][1]:
                self._graph.emit(Draft("break", {"kind": "break"}))
                return
            if at in until or at == END:
                return
            loops = any(target == at for _, target in self._back)
            if loops and at not in {head for head, _ in self._inside}:
                at = self._draw_loop(at, until)
                continue
            self._draw_node(at)
            at = self._leave(at, until)

    def _draw_node(self, name: str) -> None:
        function = self._wiring.nodes.get(name, UNKNOWN)
        if name == START:
            return
        if isinstance(function, StepFunction):
            function = function.function
        draw_step(self._graph, function, name, self._line)

    def _draw_loop(self, head: str, until: frozenset[str]) -> str:
        body = self._loop(head)
        self._inside.append((head, body))
        with self._graph.conditional(), self._graph.capture() as nodes:
            self._draw_node(head)
            rest = self._leave(head, until)
            self.follow(rest, until)
        self._inside.pop()
        self._graph.draw("loop", [("nodes", nodes)], loop={"kind": "while"})
        exits = [
            target
            for name in self._reached(head)
            if name in body
            for target in self._next(name)
            if target not in body
        ]
        ways = list(dict.fromkeys(exits))
        if len(ways) < 2:
            return ways[0] if ways else END
        return self._branch({way: way for way in ways}, until)

    def _leave(self, name: str, until: frozenset[str]) -> str:
        """Draw where the edges of a node lead until they meet; return where."""
        edges, routes = self._wiring.edges.get(name, []), self._wiring.routes.get(name, {})
        if routes and not edges:
            return self._branch(routes, until)
        if len(edges) + bool(routes) < 2:
            return edges[0] if edges else END
        meeting = self._meeting(self._next(name), until)
        stop = until | {meeting}
        parts = [partial(self.follow, target, stop) for target in edges]
        parts += [partial(self._branch_only, routes, stop)] if routes else []
        draw_beside(self._graph, parts, self._line)
        return meeting

    def _branch_only(self, routes: Mapping[str, str], until: frozenset[str]) -> None:
        self.follow(self._branch(routes, until), until)

    def _branch(self, routes: Mapping[str, str], until: frozenset[str]) -> str:
        if len(set(routes.values())) == 1:
            return next(iter(routes.values()))
        meeting = self._meeting(list(dict.fromkeys(routes.values())), until)
        parts: list[tuple[str | None, list[Draft]]] = []
        for label, target in routes.items():
            with self._graph.conditional(), self._graph.capture() as nodes:
                self.follow(target, until | {meeting})
            parts.append((label, nodes))
        self._graph.draw("if", parts)
        return "" if meeting == END else meeting


def returned_words(value: Value) -> Sequence[str]:
    """Return where a function says that it leads."""
    if isinstance(value, StepFunction):
        value = value.function
    if not isinstance(value, Closure):
        return ()
    return [END if text == "END" else text for text in value.node.words]


def word(value: Value) -> str:
    """Return the name of a node."""
    if isinstance(value, Const):
        return str(value.value)
    if isinstance(value, External):
        last = value.path.replace(":", ".").rpartition(".")[2]
        return {"START": START, "END": END}.get(last, last)
    return named(value)


def named(value: Value) -> str:
    """Return the name of a function that is a node."""
    if isinstance(value, Compiled):
        return value.name or "graph"
    return str(getattr(value, "label", "") or getattr(value, "name", "") or "node")


def made(
    graph: Decorators, path: str, arguments: Sequence[Value], keywords: Mapping[str, Value], line: int
) -> Value | None:
    """Return the graph that a call begins."""
    del graph, arguments, keywords, line
    is_graph = path.startswith("langgraph.") and path.rpartition(".")[2] in {
        "StateGraph",
        "MessageGraph",
        "Graph",
    }
    return Wiring() if is_graph else None
