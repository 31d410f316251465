"""A module: the names of a file, found when they are asked for."""

from __future__ import annotations

import re
from bisect import bisect_left
from functools import partial
from typing import TYPE_CHECKING, Final

from stagelight_plugins.diagram import tree as t
from stagelight_plugins.diagram.builder.scope import Scope, Slot
from stagelight_plugins.diagram.builder.values import (
    UNKNOWN,
    ClassValue,
    Closure,
    External,
    ObjectValue,
    Value,
)
from stagelight_plugins.diagram.errors import MissingExtra
from stagelight_plugins.diagram.javascript.exports import Exports, in_order
from stagelight_plugins.diagram.javascript.reader import CLASSES, children, text
from stagelight_plugins.diagram.javascript.statements import Statements, names_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tree_sitter import Node

    from stagelight_plugins.diagram.javascript.modules import Modules

_CLASS: Final = re.compile(rb"\bclass\b(?:\s+(?!extends\b)[\w$]+)?(?:\s*extends\s+([\w$]+)\s*\{|\s*(\{))?")
_RUN: Final = re.compile(rb"\brun\b")
_NEAR: Final = 256 * 1024
"""Bytes after its beginning within which a class has its `run`."""
_GLOBALS: Final = frozenset(
    b"AbortController Array ArrayBuffer Blob Date Error Event EventTarget File FormData Function Headers Map Number Object "
    b"Promise Proxy RangeError ReadableStream RegExp Request Response Set String SyntaxError TransformStream TypeError URL "
    b"Uint8Array WeakMap WritableStream".split()
)
"""Classes of the language, which have no `run`."""
_CREATED: Final = frozenset(
    {"binary_expression", "augmented_assignment_expression", "parenthesized_expression"}
)
_SCOPES: Final = frozenset({"program", "statement_block", "class_static_block"})


def grammar(path: str) -> object:
    """Return the grammar for a file.

    Raises:
        MissingExtra: It is not installed.
    """
    try:
        import tree_sitter as ts  # noqa: PLC0415 - optional

        if path.endswith((".ts", ".mts", ".cts", ".tsx")):
            import tree_sitter_typescript as typescript  # noqa: PLC0415 - optional

            tsx = path.endswith(".tsx")
            return ts.Language(typescript.language_tsx() if tsx else typescript.language_typescript())
        import tree_sitter_javascript as javascript  # noqa: PLC0415 - optional, and where it is enough, alone
    except ImportError as error:
        raise MissingExtra from error
    return ts.Language(javascript.language())


class Module:
    """One file: its scope and its exports."""

    def __init__(self, source: bytes, path: str, modules: Modules) -> None:
        import tree_sitter as ts  # noqa: PLC0415 - optional

        language = grammar(path)
        assert isinstance(language, ts.Language)  # noqa: S101 - for the type checker
        self.source = source
        self.path = path
        self._modules = modules
        self.graph = modules.graph
        self._tree = ts.Parser(language).parse(source)
        self.root: Node = self._tree.root_node
        self.reader = Statements()
        self._scopes: dict[int, Scope] = {}
        self._classes: dict[int, ClassValue] = {}
        self._exports = Exports(self)
        self._changes: dict[tuple[int, str], list[tuple[str, Node]]] = {}
        self._mutations: dict[tuple[int, str], list[Node]] = {}
        self.scope = self._static(self.root)
        modules.add(self)

    # Scopes

    def scope_of(self, node: Node) -> Scope:
        """Return the scope in which a node stands, however deep."""
        place = node.parent
        while place is not None and place.type not in _SCOPES:
            place = place.parent
        return self.scope if place is None else self._static(place)

    def _static(self, block: Node) -> Scope:
        found = self._scopes.get(block.id)
        if found is None:
            outer = None if block.parent is None else self.scope_of(block)
            found = self._scopes[block.id] = Scope(outer, source=None if outer else self.source)
            for node in block.named_children:
                self._declared(node, node.type, found)
        return found

    def _declared(self, node: Node, kind: str, scope: Scope) -> None:
        if kind in {"lexical_declaration", "variable_declaration", "using_declaration"}:
            for child in node.named_children:
                if child.type == "variable_declarator":
                    self._variable(child, scope)
        elif kind == "export_statement":
            inner = node.child_by_field_name("declaration") or node.child_by_field_name("value")
            if inner is not None:
                self._declared(inner, inner.type, scope)
        elif kind == "import_statement":
            for made in self.reader.statement(node):
                if isinstance(made, t.Import):
                    self._imported(made, scope)
        elif kind == "expression_statement":
            first = node.named_children[:1]
            if first and first[0].type == "internal_module":
                self._declared(first[0], first[0].type, scope)
            else:
                self._assigned(node, scope)
        else:
            name = text(node.child_by_field_name("name"))
            if name and kind in CLASSES:
                scope.slots[name] = Slot(lazy=lambda: self.class_value(node))
            elif name:
                scope.slots[name] = Slot(lazy=lambda: self._hoisted(node, scope))

    def _hoisted(self, node: Node, scope: Scope) -> Value:
        made = self.reader.statement(node)
        first = made[0] if made else None
        return self.evaluate(first.value, scope) if isinstance(first, t.Declare) else UNKNOWN

    def _imported(self, made: t.Import, scope: Scope) -> None:
        for name, local in made.names:
            scope.slots[local] = Slot(lazy=partial(self.imported, made.module, name))

    def imported(self, module: str, name: str) -> Value:
        """Return what a name of another module is."""
        other = self.other(module)
        if other is None:
            return External(module if name == "*" else f"{module}:{name}")
        return other.namespace() if name == "*" else other.export(name)

    def other(self, module: str) -> Module | None:
        """Return another module that is followed."""
        found = self._modules.follow(module, self.path)
        return None if found is self else found

    def _variable(self, node: Node, scope: Scope) -> None:
        pattern = node.child_by_field_name("name")
        value = node.child_by_field_name("value")
        if pattern is None:
            return
        if pattern.type == "identifier":
            name = text(pattern)
            if value is None:
                scope.slots.setdefault(name, Slot(lazy=lambda: self._elsewhere(name, scope)))
            else:
                scope.slots[name] = Slot(lazy=lambda: self._initial(name, value, scope))
        elif value is not None:
            self._pattern(pattern, value, scope)

    def _pattern(self, pattern: Node, value: Node, scope: Scope) -> None:
        read = self.reader.pattern(pattern)
        names = names_of(read)
        inner = Scope(scope)
        done: list[bool] = []

        def make(name: str) -> Value:
            if not done:
                done.append(True)
                made = self.evaluate(self.reader.expression(value), scope)
                graph = self._modules.graph
                with graph.inside(inner):
                    graph.bind(read, made, declare=True)
            return inner.slots[name].value if name in inner.slots else UNKNOWN

        for name in names:
            scope.slots[name] = Slot(lazy=partial(make, name))

    def _initial(self, name: str, value: Node, scope: Scope) -> Value:
        if value.type in CLASSES:
            return self._mutated(name, self.class_value(value), scope)
        read = self.reader.expression(value)
        if isinstance(read, t.Function) and not read.name:
            read.name = name
        made = self.evaluate(read, scope)
        for operator, more in self._changes.get((id(scope), name), ()):  # `let x = "a"; x += "b"`
            made = self.graph.operated(operator, made, self.evaluate(self.reader.expression(more), scope))
        return self._mutated(name, made, scope)

    def _assigned(self, node: Node, scope: Scope) -> None:
        for inner in in_order(node):
            self._note_mutation(inner, scope)
            left = inner.child_by_field_name("left")
            right = inner.child_by_field_name("right")
            if inner.type == "augmented_assignment_expression" and left is not None and right is not None:
                operator = text(inner.child_by_field_name("operator"))[:-1]
                self._changes.setdefault((id(scope), text(left)), []).append((operator, right))
            if (
                inner.type == "assignment_expression"
                and left is not None
                and right is not None
                and left.type == "identifier"
            ):
                name = text(left)
                slot = scope.slots.get(name)
                if slot is None or slot.lazy is None:
                    scope.slots.setdefault(name, Slot(lazy=partial(self._initial, name, right, scope)))

    def _elsewhere(self, name: str, scope: Scope) -> Value:
        """Find the assignment of a name that is declared without a value: `var X; …; X = class …`."""
        pattern = re.compile(rb"(?<![\w$.])" + re.escape(name.encode()) + rb"\s*=(?![=>])")
        for match in list(pattern.finditer(self.source))[:16]:
            node = self.root.descendant_for_byte_range(match.start(), match.start() + 1)
            parent = None if node is None else node.parent
            if (
                parent is not None
                and parent.type == "assignment_expression"
                and node == parent.child_by_field_name("left")
            ):
                right = parent.child_by_field_name("right")
                if right is not None:
                    return self._initial(name, right, self.scope_of(parent))
        return self._mutated(name, ObjectValue(), scope) if (id(scope), name) in self._mutations else UNKNOWN

    def _mutated(self, name: str, value: Value, scope: Scope) -> Value:
        """Apply the statements of the block that put members into an object, a class or a function."""
        if isinstance(value, (ObjectValue, ClassValue, Closure)):
            for node in self._mutations.get((id(scope), name), ())[:64]:
                self._mutation(name, value, node, scope)
        return value

    def _mutation(self, name: str, value: Value, node: Node, scope: Scope) -> None:
        if node.type == "call_expression":
            self._defining_call(name, value, node, scope)
            return
        left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
        if left is not None and right is not None:
            key = text(left.child_by_field_name("property")) or text(left.child_by_field_name("index")).strip(
                "\"'"
            )
            self.graph.put(value, key, self.evaluate(self.reader.expression(right), scope))

    def _note_mutation(self, node: Node, scope: Scope) -> None:
        """Note under which name a statement such as `X.a = …`, `f(X, …)` or `(e => …)(X || (X = {}))` counts."""
        target: Node | None = None
        if node.type == "assignment_expression":
            left = node.child_by_field_name("left")
            target = left.child_by_field_name("object") if left is not None else None
        elif node.type == "call_expression":
            given = node.child_by_field_name("arguments")
            parts = children(given) if given is not None else []
            target = parts[0] if parts else None
        while target is not None and target.type in _CREATED:  # `(X || (X = {})).a`, `f(X ||= {})`
            wrapped = target.type == "parenthesized_expression"
            target = children(target)[0] if wrapped else target.child_by_field_name("left")
        if target is not None and target.type == "identifier":
            self._mutations.setdefault((id(scope), text(target)), []).append(node)

    def _defining_call(self, name: str, value: Value, node: Node, scope: Scope) -> None:
        given = node.child_by_field_name("arguments")
        parts = children(given) if given is not None else []
        read = self.reader.expression(node)
        if not isinstance(read, t.Call) or not parts:
            return
        if text(parts[0]) == name and len(parts) == 2 and isinstance(read.arguments[1], t.ObjectOf):
            made = self.evaluate(read.arguments[1], scope)
            if isinstance(value, ObjectValue) and isinstance(made, ObjectValue):
                value.getters.update(
                    {key: part for key, part in made.fields.items() if isinstance(part, Closure)}
                )
        elif text(parts[0]) == name and len(parts) == 2 and isinstance(read.arguments[1], t.Literal):
            said = read.arguments[1].value
            if isinstance(value, (ClassValue, Closure)) and isinstance(said, str):
                value.name = said
        elif (
            isinstance(read.callee, t.Function)
            and text(parts[0]).startswith(f"{name}")
            and isinstance(value, ObjectValue)
        ):
            graph = self._modules.graph
            closure = Closure(read.callee, scope)
            graph.aside(lambda: graph.invoke(closure, [value], inline=True))

    def evaluate(self, node: t.Node | None, scope: Scope) -> Value:
        """Return what an expression of the module is."""
        graph = self._modules.graph
        with graph.inside(scope), graph.reading(self.source):
            return graph.aside(lambda: graph.value(node))

    # Classes and exports

    def class_value(self, node: Node) -> ClassValue:
        """Return the class that stands at a node: one value for each class."""
        found = self._classes.get(node.id)
        if found is None:
            read = self.reader.class_(node)
            made = self.evaluate(read, self.scope_of(node))
            found = made if isinstance(made, ClassValue) else ClassValue(read, self.scope, UNKNOWN, {})
            self._classes[node.id] = found
        return found

    def classes(self) -> Iterator[Node]:
        """Return the nodes of the classes that may have a `run`, however deep they stand."""
        runs = [match.start() for match in _RUN.finditer(self.source)]
        for match in _CLASS.finditer(self.source):
            plain = match[2] or (match[1] in _GLOBALS and match[1].decode() not in self.scope.slots)
            if plain and not _follows(
                runs, match.end()
            ):  # most of a bundle's: it is not worth to look at them
                continue
            node = self.root.descendant_for_byte_range(match.start(), match.start() + len(b"class"))
            if node is not None and node.type == "class" and node.parent is not None:
                parent = node.parent if node.parent.type in CLASSES and not node.is_named else None
                if parent is not None and self._may_run(parent):
                    yield parent

    def _may_run(self, node: Node) -> bool:
        """Return whether a class has a `run`, or inherits from what may have one; a bundle has hundreds that do not."""
        if self.source.find(b"run", node.start_byte, node.end_byte) >= 0:
            return True
        for child in node.children:
            if child.type == "class_heritage":
                base = child.named_children[0] if child.named_children else child
                return base.type != "identifier" or self.scope_of(node).find(text(base)) is not None
        return False

    @property
    def exports(self) -> dict[str, Callable[[], Value]]:
        """What the module exports, by name."""
        return self._exports.names

    def export(self, name: str) -> Value:
        """Return an exported value."""
        make = self.exports.get(name)
        return UNKNOWN if make is None else make()

    def namespace(self) -> Value:
        """Return all exports as one object; what `module.exports` is, where it is no object."""
        whole = self.exports.get("default")
        if whole is not None and len(self.exports) == 1 and not self._exports.declared:
            return whole()
        return ObjectValue({name: make() for name, make in self.exports.items() if name != "default"})


def _follows(places: list[int], start: int) -> bool:
    """Return whether one of some places is near after another."""
    at = bisect_left(places, start)
    return at < len(places) and places[at] - start < _NEAR
