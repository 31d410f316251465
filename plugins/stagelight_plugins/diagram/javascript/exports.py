"""Exports: what a module gives to others, as modules of both kinds say it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from stagelight_plugins.diagram import tree as t
from stagelight_plugins.diagram.builder.values import UNKNOWN, ObjectValue, Value
from stagelight_plugins.diagram.javascript.reader import CLASSES, children, text
from stagelight_plugins.diagram.javascript.statements import declared_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from tree_sitter import Node

    from stagelight_plugins.diagram.javascript.module import Module


class Exports:
    """The exports of one module, found when they are asked for.

    Args:
        module: Whose they are.
    """

    def __init__(self, module: Module) -> None:
        self._module = module
        self._names: dict[str, Callable[[], Value]] | None = None
        self.declared = False
        """Whether there is an `export`: a module of the newer kind."""

    @property
    def names(self) -> dict[str, Callable[[], Value]]:
        """What makes each exported value."""
        if self._names is None:
            self._names = {}
            older = b"exports" in self._module.source
            for node in self._module.root.named_children:
                kind = node.type
                if kind == "export_statement":
                    self.declared = True
                    self._export(node, self._names)
                elif older and kind == "expression_statement":
                    for part in in_order(node):
                        self._assigned(part, self._names)
        return self._names

    def _export(self, node: Node, found: dict[str, Callable[[], Value]]) -> None:
        default = any(child.type == "default" for child in node.children)
        inner = node.child_by_field_name("declaration") or node.child_by_field_name("value")
        source = node.child_by_field_name("source")
        module = text(source)[1:-1]
        if inner is not None and default:
            found["default"] = lambda: self._default(inner)
        elif inner is not None:
            for made in declared_names(self._module.reader, inner):
                found[made] = partial(self._named, made)
        for clause in children(node):
            for part in children(clause) if clause.type == "export_clause" else []:
                name = text(part.child_by_field_name("name"))
                alias = text(part.child_by_field_name("alias")).strip("\"'") or name
                if module:
                    found[alias] = partial(self._module.imported, module, name)
                else:
                    found[alias] = partial(self._named, name)
            if clause.type == "namespace_export" and module:
                found[text(children(clause)[0])] = partial(self._module.imported, module, "*")
        if module and any(child.type == "*" for child in node.children):
            other = self._module.other(module)
            for name, make in (other.exports if other is not None else {}).items():
                found.setdefault(name, make)

    def _default(self, node: Node) -> Value:
        if node.type in CLASSES:
            return self._module.class_value(node)
        name = text(node.child_by_field_name("name"))
        if name and self._module.scope.find(name) is not None:
            return self._module.scope.lookup(name) or UNKNOWN
        return self._module.evaluate(self._module.reader.expression(node), self._module.scope)

    def _named(self, name: str) -> Value:
        return self._module.scope.lookup(name) or UNKNOWN

    # The older kind: `module.exports = …`, `exports.name = …`

    def _assigned(self, node: Node, found: dict[str, Callable[[], Value]]) -> None:
        left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
        if node.type != "assignment_expression" or left is None or right is None:
            return
        words = text(left)
        owner, _, name = words.rpartition(".")
        if words == "module.exports":
            whole = self._evaluated(right)
            parts = whole.fields if isinstance(whole, ObjectValue) else {}
            found.update({key: partial(_itself, value) for key, value in parts.items()})
            if not parts:
                found["default"] = partial(_itself, whole)
        elif owner in {"exports", "module.exports"} and name.isidentifier():
            found[name] = partial(self._evaluated, right, name)

    def _evaluated(self, node: Node, name: str = "") -> Value:
        if node.type in CLASSES:
            return self._module.class_value(node)
        if node.type == "assignment_expression" and (right := node.child_by_field_name("right")) is not None:
            return self._evaluated(right, name)
        read = self._module.reader.expression(node)
        if isinstance(read, t.Function) and not read.name:
            read.name = name
        return self._module.evaluate(read, self._module.scope)


def _itself(value: Value) -> Value:
    return value


def in_order(node: Node) -> list[Node]:
    """Return the expressions of a statement: the parts of `a, b`, however they nest."""
    found: list[Node] = []
    rest = children(node)
    while rest:
        one = rest.pop(0)
        rest[:0] = children(one) if one.type == "sequence_expression" else []
        found += [] if one.type == "sequence_expression" else [one]
    return found
