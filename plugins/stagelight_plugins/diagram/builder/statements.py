"""Statements: branches, loops and ways out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from stagelight_plugins.diagram import tree as t
from stagelight_plugins.diagram.builder.members import Members
from stagelight_plugins.diagram.builder.scope import Scope
from stagelight_plugins.diagram.builder.values import (
    UNKNOWN,
    Const,
    Deferred,
    External,
    ListValue,
    Promise,
    Value,
    certain,
    join,
)
from stagelight_plugins.diagram.model import Draft

if TYPE_CHECKING:
    from collections.abc import Sequence


class Statements(Members):
    """Follows statements."""

    def run(self, body: Sequence[t.Node]) -> bool:
        """Follow statements; return whether what follows them is never reached."""
        for node in body:
            if isinstance(node, t.Declare) and node.hoisted:
                self.bind(node.pattern, self.value(node.value), declare=True)
        for node in body:
            self.budget.spend()
            method = getattr(self, f"_do_{type(node).__name__.lower()}", None)
            if method is None:
                self._dropped(node, self.value(node))
            elif method(node):
                return True
        return False

    def _dropped(self, node: t.Node, value: Value) -> None:
        """Look at a value that nobody takes."""
        idle = isinstance(value, Deferred)
        running = (
            not self.lazy and isinstance(value, Promise) and any(d.settled is None for d in value.drafts)
        )
        if isinstance(node, t.Call) and (idle or running):
            text = "never runs" if idle else "may be cut off when the run ends"
            self.findings.note(
                "step-not-awaited", self.line(node), f"called without await, it {text}; await it", self.source
            )

    def branch(self, body: Sequence[t.Node]) -> tuple[list[Draft], bool]:
        """Follow statements that may not happen; return their nodes, and whether they leave."""
        with self.conditional(), self.capture() as nodes, self.inside(Scope(self.scope)):
            left = self.run(body)
        return nodes, left

    def _do_declare(self, node: t.Declare) -> bool:
        if not node.hoisted:
            self.bind(node.pattern, self.value(node.value), declare=True)
        return False

    def _do_block(self, node: t.Block) -> bool:
        with self.inside(Scope(self.scope)):
            return self.run(node.body) and not node.label

    def _do_if(self, node: t.If) -> bool:
        return self._chain(node.branches)

    def _chain(self, branches: Sequence[tuple[t.Node | None, Sequence[t.Node]]]) -> bool:
        parts: list[tuple[str | None, list[Draft]]] = []
        leaves: list[bool] = []
        for index, (test, body) in enumerate(branches):
            if test is None:
                nodes, left = self.branch(body)
                parts.append((None, nodes))
                leaves.append(left)
                break
            with self.capture() as before:
                known = certain(test, self.value(test))
            if before and index:
                rest, left = self._rest(before, branches[index:])
                parts.append((None, rest))
                leaves.append(left)
                break
            self.out.extend(before)
            if known is False:
                continue
            nodes, left = self.branch(body)
            parts.append((None if known else self.text(test), nodes))
            leaves.append(left)
            if known:
                break
        else:
            leaves.append(False)
        if len(parts) == 1 and parts[0][0] is None:
            self.out.extend(parts[0][1])
        else:
            self.draw("if", parts)
        return all(leaves) and bool(parts)

    def _rest(
        self, before: list[Draft], branches: Sequence[tuple[t.Node | None, Sequence[t.Node]]]
    ) -> tuple[list[Draft], bool]:
        """Draw a chain whose test has steps as the `else` of what came before it."""
        parts: list[tuple[str | None, list[Draft]]] = []
        test, body = branches[0]
        with self.conditional(), self.capture() as nodes:
            self.out.extend(before)
            inner, left = self.branch(body)
            parts.append((self.text(test) if test is not None else None, inner))
            with self.capture() as others:
                left = self._chain(branches[1:]) and left if len(branches) > 1 else False
            if len(others) == 1 and others[0].type == "if":
                parts.extend(others[0].parts)
            elif others:
                parts.append((None, others))
            self.draw("if", parts)
        return nodes, left

    def _do_loop(self, node: t.Loop) -> bool:
        with self.inside(Scope(self.scope)):
            self.run(node.before)
            items = self.value(node.iterable) if node.iterable is not None else UNKNOWN
            self._forget([node.test, *node.body, *node.after])
            with self.conditional(), self.capture() as nodes, self.inside(Scope(self.scope)):
                if node.test is not None and node.kind != "do":
                    self.value(node.test)
                if node.target is not None:
                    self.bind(node.target, self.element(items), declare=False)
                self.run(node.body)
                if node.kind == "do":
                    self.value(node.test)
                for after in node.after:
                    self.value(after)
            self.draw("loop", [("nodes", nodes)], loop=self._kind(node))
            self._unbroken(node.finally_, nodes)
        return False

    def _forget(self, nodes: Sequence[t.Node | None]) -> None:
        """Take the constants for unknown to which something in a loop assigns: in its next round they are others."""
        for name in assigned(nodes):
            slot = self.scope.find(name)
            if slot is not None and isinstance(slot.get(), Const):
                slot.value = UNKNOWN

    def _unbroken(self, body: Sequence[t.Node], rounds: list[Draft]) -> None:
        """Draw what follows a loop that no `break` has ended."""
        if not _breaks(rounds):
            self.run(body)
            return
        nodes, _ = self.branch(body)
        self.draw("if", [("no break", nodes)])

    def _kind(self, node: t.Loop) -> dict[str, str]:
        found = {"kind": node.kind}
        if node.test is not None:
            found["condition"] = self.text(node.test)
        if node.iterable is not None:
            found["over"] = self.text(node.iterable)
        return found

    def element(self, items: Value) -> Value:
        """Return what one round of a loop gets."""
        if not isinstance(items, ListValue):
            return UNKNOWN
        found: Value = items.rest or UNKNOWN
        for item in items.items:
            found = join(found, item)
        return UNKNOWN if len(items.items) > 1 and len({type(item) for item in items.items}) > 1 else found

    def _do_switch(self, node: t.Switch) -> bool:
        self.value(node.value)
        parts: list[tuple[str | None, list[Draft]]] = []
        leaves: list[bool] = []
        with self.inside(Scope(self.scope)):
            for case in node.cases:
                if case.value is not None:
                    self.value(case.value)
                for name in case.names:
                    self.scope.declare(name, UNKNOWN, self.conditions)
                nodes, left = self.branch(case.body)
                parts.append((case.text if case.value is not None else None, nodes))
                leaves.append(left)
        self.draw("switch", parts, discriminant=self.text(node.value))
        return False

    def _do_try(self, node: t.Try) -> bool:
        body, left = self.branch(node.body)
        caught: list[Draft] = []
        handled: list[list[Draft]] = []
        for pattern, handler in node.handlers:
            with self.conditional(), self.capture() as nodes, self.inside(Scope(self.scope)):
                if pattern is not None:
                    self.bind(pattern, UNKNOWN, declare=True)
                left = self.run(handler) and left
            handled.append(nodes)
        if len(handled) > 1 and any(handled):  # each is for errors of its own, so none is sure to run
            inner = Draft("if", {}, [("another error", nodes) for nodes in handled if nodes])
            inner.began = self.tick()
            caught = [inner]
        else:
            caught = [draft for nodes in handled for draft in nodes]
        with self.capture() as final:
            ends = self.run(node.final or ())
        self.draw("try", [("try_block", body), ("catch_block", caught), ("finally_block", final)])
        return ends or left

    def _do_leave(self, node: t.Leave) -> bool:
        if node.value is not None:
            began = self.clock + 1
            value = self.value(node.value)
            if node.kind == "return":
                self.frame.returned = join(self.frame.returned, value)
            elif began > self.clock:
                pass
        kind = "return" if node.kind in {"return", "throw"} else "break"
        fields = {"kind": kind}
        if node.kind in {"throw", "continue"}:
            fields["jump"] = node.kind
        last = self.frame.counter.last
        self.emit(Draft("break", fields, line=self.line(node)))
        self.frame.counter.last = last
        return True

    def _do_with(self, node: t.With) -> bool:
        raise NotImplementedError

    def _do_import(self, node: t.Import) -> bool:
        for name, local in node.names:
            path = node.module if name == "*" else f"{node.module}:{name}"
            self.scope.declare(local, External(path), self.conditions)
        return False


def assigned(nodes: Sequence[t.Node | None]) -> set[str]:
    """Return the names that are assigned to, outside of functions."""
    found: set[str] = set()
    rest: list[Any] = list(nodes)
    while rest:
        one = rest.pop()
        if isinstance(one, (list, tuple)):
            rest.extend(cast("Sequence[Any]", one))
        elif isinstance(one, t.Node) and not isinstance(one, (t.Function, t.Class)):
            if isinstance(one, t.Assign) and isinstance(one.target, t.Name):
                found.add(one.target.id)
            elif isinstance(one, t.Unary) and one.operator in {"++", "--"} and isinstance(one.value, t.Name):
                found.add(one.value.id)
            rest.extend(getattr(one, name) for name in one.__slots__)
    return found


def _breaks(drafts: list[Draft]) -> bool:
    """Return whether a `break` for the loop around is in a body."""
    for draft in drafts:
        if draft.type == "break" and draft.fields == {"kind": "break"}:
            return True
        inner = draft.type not in {"loop", "block"} and (draft.open or draft.type != "step_do")
        if inner and any(_breaks(nodes) for _, nodes in draft.parts):
            return True
    return False
