"""Expressions and patterns: from tree-sitter's nodes to the neutral tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stagelight_plugins.diagram import tree as t
from stagelight_plugins.diagram.errors import TooComplex
from stagelight_plugins.diagram.javascript.text import number, unescape

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tree_sitter import Node

MAX_DEPTH: Final = 400
_SKIPPED: Final = frozenset({"comment", "html_comment", "ERROR"})
_WRAPPERS: Final = frozenset(
    {
        "parenthesized_expression",
        "as_expression",
        "satisfies_expression",
        "non_null_expression",
        "type_assertion",
        "instantiation_expression",
        "await_expression",
    }
)
_TYPES: Final = frozenset({"type_arguments", "type_annotation"})
FUNCTIONS: Final = frozenset(
    {
        "function_expression",
        "function_declaration",
        "generator_function",
        "generator_function_declaration",
        "arrow_function",
        "method_definition",
    }
)
CLASSES: Final = frozenset({"class", "class_declaration", "abstract_class_declaration"})


def children(node: Node) -> list[Node]:
    """Return the named children that mean something."""
    return [child for child in node.named_children if child.type not in _SKIPPED]


def text(node: Node | None) -> str:
    """Return the source of a node."""
    return "" if node is None or node.text is None else node.text.decode("utf-8", "replace")


class Expressions:
    """Reads expressions; `Statements` reads the rest."""

    def __init__(self) -> None:
        self._depth = 0

    def expression(self, node: Node | None) -> t.Node:
        """Return an expression."""
        if node is None:
            return t.Literal(None)
        self._depth += 1
        try:
            if self._depth > MAX_DEPTH:
                raise TooComplex(f"expressions nested deeper than {MAX_DEPTH}")
            found = self._expression(node)
        finally:
            self._depth -= 1
        if not found.end:
            found.start, found.end = node.start_byte, node.end_byte
        return found

    def _expression(self, node: Node) -> t.Node:
        kind = node.type
        if kind in _WRAPPERS:
            return self._wrapped(node)
        if kind in FUNCTIONS:
            return self.function(node)
        if kind in CLASSES:
            return self.class_(node)
        method = getattr(self, f"_{kind}", None)
        if method is not None:
            found: t.Node = method(node)
            return found
        return t.Sequenced([self.expression(child) for child in children(node)], opaque=True)

    def _wrapped(self, node: Node) -> t.Node:
        inner = [child for child in children(node) if child.type not in _TYPES]
        value = self.expression(inner[0] if inner else None)
        return t.Await(value) if node.type == "await_expression" else value

    # Names and literals

    def _identifier(self, node: Node) -> t.Node:
        return t.Name("undefined" if node.type == "undefined" else text(node))

    _shorthand_property_identifier = _identifier
    _shorthand_property_identifier_pattern = _identifier
    _undefined = _identifier

    def _import(self, node: Node) -> t.Node:
        """`import("./x")` promises what `require("./x")` returns."""
        del node
        return t.Name("require")

    def _this(self, node: Node) -> t.Node:
        return t.Special(node.type)

    _super = _this

    def _string(self, node: Node) -> t.Node:
        return t.Literal(unescape(text(node)[1:-1]))

    def _number(self, node: Node) -> t.Node:
        return t.Literal(number(text(node)))

    def _true(self, node: Node) -> t.Node:
        return t.Literal(node.type == "true")

    _false = _true

    def _null(self, node: Node) -> t.Node:
        return t.Literal(None, end=node.end_byte)

    def _template_string(self, node: Node) -> t.Node:
        parts: list[str | t.Node] = []
        for child in children(node):
            if child.type == "template_substitution":
                inner = children(child)
                parts.append(self.expression(inner[0] if inner else None))
            else:
                parts.append(unescape(text(child)))
        return t.Template(parts)

    # Members and calls

    def _member_expression(self, node: Node) -> t.Node:
        name = text(node.child_by_field_name("property"))
        return self._postfix(node, "object", lambda value: t.Member(value, name))

    def _subscript_expression(self, node: Node) -> t.Node:
        index = self.expression(node.child_by_field_name("index"))
        owner = node.child_by_field_name("object")
        if owner is not None and owner.type == "identifier" and text(owner) == "await":
            return t.Await(
                t.ArrayOf(index.items if isinstance(index, t.Sequenced) and not index.opaque else [index])
            )
        fixed = isinstance(index, t.Literal) and isinstance(index.value, str)
        name = str(index.value) if fixed and isinstance(index, t.Literal) else index
        return self._postfix(node, "object", lambda value: t.Member(value, name))

    def _call_expression(self, node: Node) -> t.Node:
        found = node.child_by_field_name("arguments")
        callee = node.child_by_field_name("function")
        if found is not None and found.type == "template_string":
            arguments: Sequence[t.Node] = [self.expression(found)]
        else:
            arguments = [self.expression(child) for child in children(found)] if found is not None else []
        if callee is not None and callee.type == "identifier" and text(callee) == "await":
            return t.Await(arguments[0] if len(arguments) == 1 else t.Sequenced(arguments))
        return self._postfix(node, "function", lambda value: t.Call(value, arguments))

    def _postfix(self, node: Node, field: str, make: Callable[[t.Node], t.Node]) -> t.Node:
        """Put `await` around all that follows its operand.

        The grammar takes `await(x).y()` and `await[x].y()` for uses of a name `await`, and `await f<T>(x)` for a call of `await f`.
        """
        inner = node.child_by_field_name(field)
        value = self.expression(inner)
        if (
            isinstance(value, t.Await)
            and inner is not None
            and inner.type not in _WRAPPERS - {"await_expression"}
        ):
            made = make(value.value)
            made.start, made.end = value.value.start, node.end_byte
            return t.Await(made)
        return make(value)

    def _new_expression(self, node: Node) -> t.Node:
        arguments = node.child_by_field_name("arguments")
        given = [self.expression(child) for child in children(arguments)] if arguments else []
        return t.Call(self.expression(node.child_by_field_name("constructor")), given, new=True)

    # Operators

    def _sequence_expression(self, node: Node) -> t.Node:
        return t.Sequenced([self.expression(child) for child in children(node)])

    def _ternary_expression(self, node: Node) -> t.Node:
        names = ("condition", "consequence", "alternative")
        test, then, otherwise = (self.expression(node.child_by_field_name(name)) for name in names)
        return t.Conditional(test, then, otherwise)

    def _binary_expression(self, node: Node) -> t.Node:
        """Read a chain from its left end with a loop: bundles add thousands of strings."""
        chain: list[Node] = []
        place: Node | None = node
        while place is not None and place.type == "binary_expression":
            chain.append(place)
            place = place.child_by_field_name("left")
        found = self.expression(place)
        for link in reversed(chain):
            operator = text(link.child_by_field_name("operator"))
            right = self.expression(link.child_by_field_name("right"))
            if operator in {"&&", "||", "??"}:
                found = t.Logical(operator, found, right)
            else:
                found = t.Binary(operator, found, right)
            found.start, found.end = link.start_byte, link.end_byte
        return found

    def _unary_expression(self, node: Node) -> t.Node:
        return t.Unary(
            text(node.child_by_field_name("operator")), self.expression(node.child_by_field_name("argument"))
        )

    def _update_expression(self, node: Node) -> t.Node:
        operator = text(node.child_by_field_name("operator"))
        return t.Unary(operator, self.expression(node.child_by_field_name("argument")))

    def _assignment_expression(self, node: Node) -> t.Node:
        target = self.pattern(node.child_by_field_name("left"))
        value = self.expression(node.child_by_field_name("right"))
        if isinstance(value, t.Function) and not value.name:  # for its readers it has the name of its place
            place = target.name if isinstance(target, t.Member) else getattr(target, "id", "")
            value.name = place if isinstance(place, str) else ""
        return t.Assign(target, value)

    def _augmented_assignment_expression(self, node: Node) -> t.Node:
        target = self.expression(node.child_by_field_name("left"))
        operator = text(node.child_by_field_name("operator"))
        return t.Assign(target, self.expression(node.child_by_field_name("right")), operator)

    def _yield_expression(self, node: Node) -> t.Node:
        inner = children(node)
        return t.Yield(self.expression(inner[0]) if inner else None)

    def _spread_element(self, node: Node) -> t.Node:
        inner = children(node)
        return t.Spread(self.expression(inner[0] if inner else None))

    # Collections

    def _array(self, node: Node) -> t.Node:
        items: list[t.Node | None] = []
        empty = True
        for child in node.children:
            if child.type == ",":
                if empty:
                    items.append(None)
                empty = True
            elif child.is_named and child.type not in _SKIPPED:
                items.append(self.pattern(child) if node.type == "array_pattern" else self.expression(child))
                empty = False
        return t.ArrayOf(items)

    _array_pattern = _array

    def _object(self, node: Node) -> t.Node:
        return t.ObjectOf([entry for child in children(node) if (entry := self._entry(child)) is not None])

    def _object_pattern(self, node: Node) -> t.Node:
        return t.ObjectOf(
            [entry for child in children(node) if (entry := self._pattern_entry(child)) is not None]
        )

    def _entry(self, node: Node) -> t.Entry | None:
        if node.type == "shorthand_property_identifier":
            return t.Entry(text(node), self.expression(node))
        if node.type == "pair":
            key = self.key(node.child_by_field_name("key"))
            value = self.expression(node.child_by_field_name("value"))
            if isinstance(value, t.Function) and not value.name and isinstance(key, str):
                value.name = key
            return t.Entry(key, value)
        if node.type == "method_definition":
            getter = any(child.type == "get" for child in node.children)
            return t.Entry(self.key(node.child_by_field_name("name")), self.function(node), getter=getter)
        if node.type == "spread_element":
            inner = children(node)
            return t.Entry(None, self.expression(inner[0] if inner else None))
        return None

    def _pattern_entry(self, node: Node) -> t.Entry | None:
        if node.type == "shorthand_property_identifier_pattern":
            return t.Entry(text(node), t.Name(text(node)))
        if node.type == "pair_pattern":
            key = self.key(node.child_by_field_name("key"))
            return t.Entry(key, self.pattern(node.child_by_field_name("value")))
        if node.type in {"object_assignment_pattern", "assignment_pattern"}:
            left = node.child_by_field_name("left")
            value = self.expression(node.child_by_field_name("right"))
            return t.Entry(text(left), t.Default(t.Name(text(left)), value))
        if node.type == "rest_pattern":
            return t.Entry(None, self.pattern(children(node)[0]))
        return self._entry(node)

    def key(self, node: Node | None) -> str | t.Node:
        """Return the key of a member, fixed or computed."""
        if node is None:
            return ""
        if node.type == "computed_property_name":
            inner = self.expression(children(node)[0])
            fixed = isinstance(inner, t.Literal) and isinstance(inner.value, str)
            return str(inner.value) if fixed and isinstance(inner, t.Literal) else inner
        return unescape(text(node)[1:-1]) if node.type == "string" else text(node)

    def pattern(self, node: Node | None) -> t.Node:
        """Return what is assigned to."""
        if node is None:
            return t.Sequenced([])
        if node.type in {"assignment_pattern", "object_assignment_pattern"}:
            left = self.pattern(node.child_by_field_name("left"))
            found: t.Node = t.Default(left, self.expression(node.child_by_field_name("right")))
        elif node.type == "rest_pattern":
            found = t.Spread(self.pattern(children(node)[0]))
        else:
            found = self.expression(node)
        found.start, found.end = node.start_byte, node.end_byte
        return found

    # Read by `Statements`

    def function(self, node: Node) -> t.Function:
        """Return a function; its body is read when it is asked for."""
        raise NotImplementedError

    def class_(self, node: Node) -> t.Class:
        """Return a class; its members are read when they are asked for."""
        raise NotImplementedError
