"""Statements, functions and classes: from tree-sitter's nodes to the neutral tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stagelight_plugins.diagram import tree as t
from stagelight_plugins.diagram.javascript.reader import CLASSES, FUNCTIONS, Expressions, children, text
from stagelight_plugins.diagram.javascript.text import unescape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tree_sitter import Node

_PARAMETERS: Final = frozenset({"required_parameter", "optional_parameter"})


class Statements(Expressions):
    """Reads statements."""

    def block(self, nodes: Sequence[Node]) -> list[t.Node]:
        """Return statements, in order."""
        found: list[t.Node] = []
        for node in nodes:
            made = self.statement(node)
            for part in made:
                if not part.end:
                    part.start, part.end = node.start_byte, node.end_byte
            found.extend(made)
        return found

    def body(self, node: Node | None) -> list[t.Node]:
        """Return the statements of a block, or the one statement that stands for it."""
        if node is None:
            return []
        return self.block(children(node) if node.type == "statement_block" else [node])

    def statement(self, node: Node) -> list[t.Node]:
        """Return what a statement does."""
        kind = node.type
        if kind in FUNCTIONS:
            return [
                t.Declare(t.Name(text(node.child_by_field_name("name"))), self.function(node), hoisted=True)
            ]
        if kind in CLASSES:
            return [
                t.Declare(t.Name(text(node.child_by_field_name("name"))), self.class_(node), hoisted=True)
            ]
        method = getattr(self, f"_do_{kind}", None)
        if method is not None:
            found: list[t.Node] = method(node)
            return found
        return []

    def _do_expression_statement(self, node: Node) -> list[t.Node]:
        if node.named_children and node.named_children[0].type == "internal_module":
            return self._do_internal_module(node.named_children[0])
        return [self.expression(child) for child in children(node)]

    def _do_lexical_declaration(self, node: Node) -> list[t.Node]:
        found: list[t.Node] = []
        for child in children(node):
            if child.type == "variable_declarator":
                value = child.child_by_field_name("value")
                pattern = self.pattern(child.child_by_field_name("name"))
                read = None if value is None else self.expression(value)
                if isinstance(read, t.Function) and not read.name and isinstance(pattern, t.Name):
                    read.name = pattern.id
                found.append(t.Declare(pattern, read, start=child.start_byte, end=child.end_byte))
        return found

    _do_variable_declaration = _do_lexical_declaration
    _do_using_declaration = _do_lexical_declaration

    def _do_statement_block(self, node: Node) -> list[t.Node]:
        return [t.Block(self.block(children(node)))]

    def _do_labeled_statement(self, node: Node) -> list[t.Node]:
        label = text(node.child_by_field_name("label"))
        return [t.Block(self.body(node.child_by_field_name("body")), label)]

    def _do_if_statement(self, node: Node) -> list[t.Node]:
        branches: list[tuple[t.Node | None, Sequence[t.Node]]] = []
        place: Node | None = node
        while place is not None and place.type == "if_statement":
            test = self.expression(place.child_by_field_name("condition"))
            branches.append((test, self.body(place.child_by_field_name("consequence"))))
            other = place.child_by_field_name("alternative")
            inner = children(other) if other is not None else []
            place = inner[0] if inner else None
        if place is not None:
            branches.append((None, self.body(place)))
        return [t.If(branches)]

    def _do_for_statement(self, node: Node) -> list[t.Node]:
        first = node.child_by_field_name("initializer")
        test = node.child_by_field_name("condition")
        step = node.child_by_field_name("increment")
        before: list[t.Node] = []
        if first is not None and first.type != "empty_statement":
            before = self.statement(first) or [self.expression(first)]
        has_test = test is not None and test.is_named and test.type != "empty_statement"
        read = self._condition(test) if has_test and test is not None else None
        after = [self.expression(step)] if step is not None else []
        return [t.Loop("for", self.body(node.child_by_field_name("body")), before, read, after)]

    def _condition(self, node: Node) -> t.Node:
        if node.type == "expression_statement":
            inner = children(node)
            return self.expression(inner[0] if inner else None)
        return self.expression(node)

    def _do_for_in_statement(self, node: Node) -> list[t.Node]:
        operator = text(node.child_by_field_name("operator"))
        awaited = any(child.type == "await" for child in node.children)
        kind = f"for_{'await' if awaited else operator}"
        target = self.pattern(node.child_by_field_name("left"))
        declared = node.child_by_field_name("kind") is not None
        return [
            t.Loop(
                kind,
                self.body(node.child_by_field_name("body")),
                target=t.Declare(target, None) if declared else target,
                iterable=self.expression(node.child_by_field_name("right")),
            )
        ]

    def _do_while_statement(self, node: Node) -> list[t.Node]:
        test = self.expression(node.child_by_field_name("condition"))
        kind = node.type.partition("_")[0]
        return [t.Loop(kind, self.body(node.child_by_field_name("body")), test=test)]

    _do_do_statement = _do_while_statement

    def _do_switch_statement(self, node: Node) -> list[t.Node]:
        body = node.child_by_field_name("body")
        cases = [self._case(child) for child in children(body)] if body is not None else []
        return [t.Switch(self.expression(node.child_by_field_name("value")), cases)]

    def _case(self, node: Node) -> t.Case:
        value = node.child_by_field_name("value")
        read = None if value is None else self.expression(value)
        fixed = isinstance(read, t.Literal) and isinstance(read.value, str)
        label = str(read.value) if fixed and isinstance(read, t.Literal) else text(value)
        body = [child for child in node.children_by_field_name("body") if child.is_named]
        if len(body) == 1 and body[0].type == "statement_block":
            body = children(body[0])
        return t.Case(read, label, self.block(body))

    def _do_try_statement(self, node: Node) -> list[t.Node]:
        handler = node.child_by_field_name("handler")
        final = node.child_by_field_name("finalizer")
        handlers: list[tuple[t.Node | None, Sequence[t.Node]]] = []
        if handler is not None:
            bound = handler.child_by_field_name("parameter")
            caught = self.body(handler.child_by_field_name("body"))
            handlers.append((None if bound is None else self.pattern(bound), caught))
        last = None if final is None else self.body(final.child_by_field_name("body"))
        return [t.Try(self.body(node.child_by_field_name("body")), handlers, last)]

    def _do_return_statement(self, node: Node) -> list[t.Node]:
        inner = children(node)
        kind = node.type.partition("_")[0]
        return [t.Leave(kind, self.expression(inner[0]) if inner else None)]

    _do_throw_statement = _do_return_statement

    def _do_break_statement(self, node: Node) -> list[t.Node]:
        kind = node.type.partition("_")[0]
        return [t.Leave(kind, None, text(node.child_by_field_name("label")))]

    _do_continue_statement = _do_break_statement

    # Modules

    def _do_import_statement(self, node: Node) -> list[t.Node]:
        if any(child.type == "type" for child in node.children):
            return []
        module = _source(node)
        names: list[tuple[str, str]] = []
        for clause in children(node):
            if clause.type == "import_require_clause":
                return [t.Import(_source(clause), [("*", text(children(clause)[0]))])]
            for child in children(clause) if clause.type == "import_clause" else []:
                names.extend(_imported(child))
        return [t.Import(module, names)] if names else []

    def _do_export_statement(self, node: Node) -> list[t.Node]:
        inner = node.child_by_field_name("declaration")
        return self.statement(inner) if inner is not None else []

    def _do_internal_module(self, node: Node) -> list[t.Node]:
        """Read a namespace as a function that is called once and returns what is exported."""
        body = node.child_by_field_name("body")
        inner = children(body) if body is not None else []
        made = self.block(inner)
        shown = [
            child.child_by_field_name("declaration") for child in inner if child.type == "export_statement"
        ]
        names = [name for each in shown if each is not None for name in declared_names(self, each)]
        given = t.ObjectOf([t.Entry(name, t.Name(name)) for name in names])
        function = t.Function("", [], lambda: [*made, t.Leave("return", given)])
        return [t.Declare(t.Name(text(node.child_by_field_name("name"))), t.Call(function, []), hoisted=True)]

    _do_module = _do_internal_module

    def _do_enum_declaration(self, node: Node) -> list[t.Node]:
        body = node.child_by_field_name("body")
        entries: list[t.Entry] = []
        following = 0
        for child in children(body) if body is not None else []:
            if child.type == "enum_assignment":
                value = self.expression(child.child_by_field_name("value"))
                entries.append(t.Entry(self.key(child.child_by_field_name("name")), value))
                number = value.value if isinstance(value, t.Literal) else None
                following = number + 1 if isinstance(number, int) else 0
            else:
                entries.append(t.Entry(self.key(child), t.Literal(following)))
                following += 1
        return [t.Declare(t.Name(text(node.child_by_field_name("name"))), t.ObjectOf(entries), hoisted=True)]

    # Functions and classes

    def function(self, node: Node) -> t.Function:
        """Return a function; its body is read when it is asked for."""
        found = node.child_by_field_name("parameters")
        single = node.child_by_field_name("parameter")
        given = children(found) if found is not None else [single] if single is not None else []
        body = node.child_by_field_name("body")
        kinds = {child.type for child in node.children if not child.is_named}
        name = node.child_by_field_name("name")
        return t.Function(
            "" if name is None else text(name),
            [self._parameter(child) for child in given if child.type != "decorator"],
            lambda: self._function_body(body),
            asynchronous="async" in kinds,
            generator="*" in kinds,
            arrow=node.type == "arrow_function",
            start=node.start_byte,
            end=node.end_byte,
        )

    def _function_body(self, body: Node | None) -> list[t.Node]:
        if body is None:
            return []
        if body.type == "statement_block":
            return self.body(body)
        value = self.expression(body)
        return [t.Leave("return", value, start=body.start_byte, end=body.end_byte)]

    def _parameter(self, node: Node) -> t.Parameter:
        if node.type in _PARAMETERS:
            pattern = self.pattern(node.child_by_field_name("pattern"))
            default = node.child_by_field_name("value")
            field = any(child.type in {"accessibility_modifier", "readonly"} for child in node.children)
            name = pattern.id if field and isinstance(pattern, t.Name) else ""
            made = t.Parameter(pattern, None if default is None else self.expression(default), field=name)
        else:
            made = t.Parameter(self.pattern(node))
        if isinstance(made.pattern, t.Default):
            made.default, made.pattern = made.pattern.value, made.pattern.pattern
        if isinstance(made.pattern, t.Spread):
            made.pattern, made.rest = made.pattern.value, "*"
        return made

    def class_(self, node: Node) -> t.Class:
        """Return a class; its members are read when they are asked for."""
        body = node.child_by_field_name("body")
        name = node.child_by_field_name("name")
        return t.Class(
            text(name),
            self._bases(node),
            lambda: [made for child in children(body) if (made := self._property(child))] if body else [],
            abstract=node.type == "abstract_class_declaration",
            start=node.start_byte,
            end=node.end_byte,
        )

    def _bases(self, node: Node) -> list[t.Node]:
        for child in node.children:
            if child.type == "class_heritage":
                inner = children(child)
                clause = inner[0] if inner else None
                if clause is not None and clause.type == "extends_clause":
                    return [self.expression(clause.child_by_field_name("value"))]
                if clause is not None and clause.type != "implements_clause":
                    return [self.expression(clause)]
        return []

    def _property(self, node: Node) -> t.Property | None:
        kinds = {child.type for child in node.children}
        if node.type == "class_static_block":
            body = node.child_by_field_name("body")
            made = t.Function("", [], lambda: self.body(body), start=node.start_byte, end=node.end_byte)
            return t.Property("", made, static=True, initializer=True)
        key = self.key(node.child_by_field_name("name") or node.child_by_field_name("property"))
        name, computed = (key, None) if isinstance(key, str) else ("", key)
        if node.type == "method_definition":
            made = self.function(node)
            return t.Property(name, made, "static" in kinds, "get" in kinds, computed=computed)
        if node.type in {"public_field_definition", "field_definition"}:
            value = node.child_by_field_name("value")
            read = None if value is None else self.expression(value)
            if isinstance(read, t.Function) and not read.name:
                read.name = name
            return t.Property(name, read, "static" in kinds, initializer=True, computed=computed)
        return None


def declared_names(reader: Expressions, node: Node) -> list[str]:
    """Return the names that a declaration makes."""
    if node.type in {"lexical_declaration", "variable_declaration"}:
        patterns = [child.child_by_field_name("name") for child in children(node)]
        return [
            name for pattern in patterns if pattern is not None for name in names_of(reader.pattern(pattern))
        ]
    name = text(node.child_by_field_name("name"))
    return [name] if name else []


def names_of(pattern: t.Node) -> Sequence[str]:
    """Return the names in a pattern."""
    if isinstance(pattern, t.Name):
        return [pattern.id]
    if isinstance(pattern, t.Default):
        return names_of(pattern.pattern)
    if isinstance(pattern, t.Spread):
        return names_of(pattern.value)
    if isinstance(pattern, t.ArrayOf):
        return [name for item in pattern.items if item is not None for name in names_of(item)]
    if isinstance(pattern, t.ObjectOf):
        return [name for entry in pattern.entries for name in names_of(entry.value)]
    return []


def _source(node: Node) -> str:
    found = node.child_by_field_name("source")
    return unescape(text(found)[1:-1])


def _imported(node: Node) -> list[tuple[str, str]]:
    if node.type == "identifier":
        return [("default", text(node))]
    if node.type == "namespace_import":
        return [("*", text(children(node)[0]))]
    found: list[tuple[str, str]] = []
    for child in children(node):
        name = text(child.child_by_field_name("name")).strip("\"'")
        alias = child.child_by_field_name("alias")
        found.append((name, text(alias) if alias is not None else name))
    return found
