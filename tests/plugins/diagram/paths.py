"""Paths: whether what a run did is a way through its diagram.

A diagram is read as the set of the traces that it allows. A trace is a list of marks: `+name` a step began, `-name` it completed,
`!name` it failed. A term is what may still happen; `moves` gives what may happen next, `ways_out` how a term may end at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Ways: TypeAlias = frozenset[str]
Moves: TypeAlias = "Iterator[tuple[str, Term]]"

ON = "on"


class Term:
    """What may still happen. Ways out: `on`, `break`, `continue`, `return` and `throw`."""

    def moves(self) -> Moves:
        """Return the marks that may come next (a name may have holes), and what may follow each."""
        return iter(())

    def ways_out(self) -> Ways:
        """Return how it may end without another mark."""
        return frozenset()


@dataclass(frozen=True)
class End(Term):
    """Nothing more."""

    way: str = ON

    def ways_out(self) -> Ways:
        return frozenset({self.way})


@dataclass(frozen=True)
class Then(Term):
    """One after the other."""

    first: Term
    second: Term

    def moves(self) -> Moves:
        for mark, left in self.first.moves():
            yield mark, then(left, self.second)
        if ON in self.first.ways_out():
            yield from self.second.moves()

    def ways_out(self) -> Ways:
        ways = self.first.ways_out()
        return (ways - {ON}) | self.second.ways_out() if ON in ways else ways


@dataclass(frozen=True)
class Either(Term):
    """One of several."""

    options: tuple[Term, ...]

    def moves(self) -> Moves:
        for option in self.options:
            yield from option.moves()

    def ways_out(self) -> Ways:
        return frozenset[str]().union(*(option.ways_out() for option in self.options))


@dataclass(frozen=True)
class Round(Term):
    """The rest of a round of a loop, and any number of rounds after it."""

    left: Term
    body: Term

    def moves(self) -> Moves:
        for mark, left in self.left.moves():
            yield mark, Round(left, self.body)
        if self.left.ways_out() & {ON, "continue"}:
            for mark, left in self.body.moves():
                yield mark, Round(left, self.body)

    def ways_out(self) -> Ways:
        ways = self.left.ways_out()
        if ways & {ON, "continue"}:
            ways |= self.body.ways_out() | {ON}
        return (ways - {"break", "continue"}) | ({ON} if "break" in ways else set[str]())


@dataclass(frozen=True)
class Call(Term):
    """A function's body: a `return` ends it. What it raises at its end is not drawn, so that may happen, too."""

    left: Term
    raises: bool = True

    def moves(self) -> Moves:
        for mark, left in self.left.moves():
            yield mark, Call(left, self.raises)

    def ways_out(self) -> Ways:
        ways = self.left.ways_out()
        if ways & {ON, "return"}:
            ways = (ways - {"return"}) | {ON} | ({"throw"} if self.raises else set[str]())
        return ways


@dataclass(frozen=True)
class Step(Term):
    """A step that has not begun."""

    name: str
    body: Term

    def moves(self) -> Moves:
        yield f"+{self.name}", Open(self.name, self.body)


@dataclass(frozen=True)
class Open(Term):
    """A step that has begun."""

    name: str
    left: Term

    def moves(self) -> Moves:
        for mark, left in self.left.moves():
            yield mark, Open(self.name, left)
        ways = self.left.ways_out()
        for way in ways - {"throw"}:
            yield f"-{self.name}", End(way)
        if ways:
            yield f"!{self.name}", End("throw")


@dataclass(frozen=True)
class Beside(Term):
    """All of several, side by side."""

    parts: tuple[Term, ...]

    def moves(self) -> Moves:
        for index, part in enumerate(self.parts):
            for mark, left in part.moves():
                yield mark, Beside(_without(self.parts, index, left))

    def ways_out(self) -> Ways:
        each = [part.ways_out() for part in self.parts]
        return frozenset({ON}).union(*each) if all(each) else frozenset()


@dataclass(frozen=True)
class Many(Term):
    """A loop that starts its rounds side by side: those under way, and any number more."""

    rounds: tuple[Term, ...]
    body: Term

    def moves(self) -> Moves:
        for index, one in enumerate(self.rounds):
            for mark, left in one.moves():
                yield mark, Many(_without(self.rounds, index, left), self.body)
        for mark, left in self.body.moves():
            yield mark, Many((*self.rounds, left), self.body)

    def ways_out(self) -> Ways:
        return frozenset({ON}) if all(one.ways_out() for one in self.rounds) else frozenset()


@dataclass(frozen=True)
class Try(Term):
    """The rest of a try block, its handlers and its last block."""

    left: Term
    caught: Term | None
    final: Term

    @cached_property
    def _afterwards(self) -> tuple[Term, ...]:
        ways = self.left.ways_out()
        after: list[Term] = [Finally(End(way), self.final) for way in ways]
        if ways & {ON, "throw"}:  # a `raise` at the end of the block is not drawn
            after.append(Finally(End("throw"), self.final))
            after.append(Finally(self.caught or End(), self.final))
        return tuple(after)

    def moves(self) -> Moves:
        for mark, left in self.left.moves():
            yield mark, Try(left, self.caught, self.final)
        for term in self._afterwards:
            yield from term.moves()

    def ways_out(self) -> Ways:
        return frozenset[str]().union(*(term.ways_out() for term in self._afterwards))


@dataclass(frozen=True)
class Finally(Term):
    """The rest of what stands before a last block: a `raise` at its end is not drawn, so that may happen, too."""

    left: Term
    final: Term

    @cached_property
    def _afterwards(self) -> tuple[Term, ...]:
        ways = self.left.ways_out()
        if ON in ways and self.left != End():
            ways |= {"throw"}
        return tuple(then(self.final, End(way)) for way in ways)

    def moves(self) -> Moves:
        for mark, left in self.left.moves():
            yield mark, Finally(left, self.final)
        for term in self._afterwards:
            yield from term.moves()

    def ways_out(self) -> Ways:
        return frozenset[str]().union(*(term.ways_out() for term in self._afterwards))


def _without(parts: tuple[Term, ...], index: int, left: Term) -> tuple[Term, ...]:
    """Return what is left of parts whose order does not matter."""
    rest = (*parts[:index], left, *parts[index + 1 :])
    return tuple(sorted((part for part in rest if part != End()), key=hash))


def then(first: Term, second: Term) -> Term:
    """Return one after the other."""
    return second if first == End() else first if second == End() else Then(first, second)


class Diagram:
    """A workflow's diagram.

    Args:
        workflow: As `parse` answers.
    """

    def __init__(self, workflow: Mapping[str, Any]) -> None:
        self._functions = workflow["functions"]
        self.start = Call(self._sequence(workflow["nodes"]))

    def _sequence(self, nodes: Sequence[Mapping[str, Any]]) -> Term:
        made: Term = End()
        for node in reversed(nodes):
            made = then(self._term(node), made)
        return made

    def _term(self, node: Mapping[str, Any]) -> Term:
        inner = node.get("nodes", ())
        match node["type"]:
            case "step_do":
                return Step(node["name"], self._sequence(inner))
            case "function_call":
                return Call(self._sequence(self._functions[node["name"]]["nodes"]))
            case "block":
                return Call(self._sequence(inner))
            case "loop":
                return Round(End(), self._sequence(inner))
            case "parallel":
                return Beside(tuple(map(self._started, inner)))
            case "break":
                return End(node.get("jump", node["kind"]))
            case "if" | "switch":
                return self._branches(node)
            case "try":
                return self._try(node)
            case other:
                raise AssertionError(other)

    def _started(self, node: Mapping[str, Any]) -> Term:
        return Many((), self._sequence(node["nodes"])) if node["type"] == "loop" else self._term(node)

    def _branches(self, node: Mapping[str, Any]) -> Term:
        options = [self._sequence(branch["nodes"]) for branch in node["branches"]]
        if all(branch["condition"] is not None for branch in node["branches"]):
            options.append(End())
        return Either(tuple(options))

    def _try(self, node: Mapping[str, Any]) -> Term:
        body, caught, final = (node[key] and self._sequence(node[key]["nodes"]) for key in _BLOCKS)
        return Try(body or End(), caught, final or End())

    def allows(self, trace: Sequence[str]) -> int | None:
        """Return None if a trace is a way through; else how many of its marks are."""
        terms: set[Term] = {self.start}
        for index, mark in enumerate(trace):
            terms = {left for term in terms for expected, left in term.moves() if fits(expected, mark)}
            if not terms:
                return index
        return None if any(term.ways_out() for term in terms) else len(trace)


_BLOCKS = ("try_block", "catch_block", "finally_block")


def fits(expected: str, mark: str) -> bool:
    """Return whether a mark is what a node says: its holes may hold anything."""
    if "${...}" not in expected:
        return expected == mark
    return re.fullmatch(".*".join(map(re.escape, expected.split("${...}"))), mark, re.DOTALL) is not None
