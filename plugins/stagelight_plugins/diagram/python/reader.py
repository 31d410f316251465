"""Expressions: from Python's own tree to the neutral one."""

from __future__ import annotations

import ast
from itertools import accumulate
from typing import Any, Final

from stagelight_plugins.diagram import tree as t

OPERATORS: Final[dict[type[ast.AST], str]] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**", ast.LShift: "<<", ast.RShift: ">>",
    ast.BitOr: "|", ast.BitAnd: "&",
}  # fmt: skip
_SIMPLE: Final = (str, int, float, bool, type(None))


class Expressions:
    """Reads expressions; `Reader` reads the rest."""

    def __init__(self, source: bytes) -> None:
        self._source = source
        lines = source.replace(b"\r\n", b"\n ").replace(b"\r", b"\n").split(b"\n")
        self._starts = [0, *accumulate(len(line) + 1 for line in lines)]

    def place(self, made: t.Node, node: Any) -> None:
        """Note where a node stands."""
        if not made.end and hasattr(node, "lineno"):
            made.start = self._starts[node.lineno - 1] + node.col_offset
            made.end = self._starts[node.end_lineno - 1] + node.end_col_offset

    def expression(self, node: ast.expr | None) -> t.Node:
        """Return an expression."""
        if node is None:
            return t.Literal(None)
        method = getattr(self, f"_on_{type(node).__name__.lower()}", None)
        if method is None:
            inner = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
            made: t.Node = t.Sequenced([self.expression(child) for child in inner], opaque=True)
        else:
            made = method(node)
        self.place(made, node)
        return made

    def _on_name(self, node: ast.Name) -> t.Node:
        return t.Name(node.id)

    def _on_constant(self, node: ast.Constant) -> t.Node:
        return t.Literal(node.value if isinstance(node.value, _SIMPLE) else None)

    def _on_joinedstr(self, node: ast.JoinedStr) -> t.Node:
        parts: list[str | t.Node] = []
        for part in node.values:
            if isinstance(part, ast.Constant):
                parts.append(str(part.value))
            else:
                parts.append(self.expression(part.value if isinstance(part, ast.FormattedValue) else part))
        return t.Template(parts)

    def _on_list(self, node: ast.List | ast.Tuple | ast.Set) -> t.Node:
        return t.ArrayOf([self.expression(item) for item in node.elts])

    _on_tuple = _on_list
    _on_set = _on_list

    def _on_starred(self, node: ast.Starred) -> t.Node:
        return t.Spread(self.expression(node.value))

    def _on_dict(self, node: ast.Dict) -> t.Node:
        entries: list[t.Entry] = []
        for key, value in zip(node.keys, node.values, strict=True):
            fixed = isinstance(key, ast.Constant) and isinstance(key.value, str)
            name = key.value if fixed and isinstance(key, ast.Constant) else None
            made: str | t.Node | None = str(name) if fixed else None if key is None else self.expression(key)
            entries.append(t.Entry(made, self.expression(value)))
        return t.ObjectOf(entries)

    def _on_attribute(self, node: ast.Attribute) -> t.Node:
        return t.Member(self.expression(node.value), node.attr)

    def _on_subscript(self, node: ast.Subscript) -> t.Node:
        index = self.expression(node.slice)
        fixed = isinstance(index, t.Literal) and isinstance(index.value, str)
        return t.Member(
            self.expression(node.value), str(index.value) if fixed and isinstance(index, t.Literal) else index
        )

    def _on_call(self, node: ast.Call) -> t.Node:
        keywords = [(keyword.arg, self.expression(keyword.value)) for keyword in node.keywords]
        return t.Call(self.expression(node.func), [self.expression(part) for part in node.args], keywords)

    def _on_await(self, node: ast.Await) -> t.Node:
        return t.Await(self.expression(node.value))

    def _on_yield(self, node: ast.Yield | ast.YieldFrom) -> t.Node:
        return t.Yield(None if node.value is None else self.expression(node.value))

    _on_yieldfrom = _on_yield

    def _on_ifexp(self, node: ast.IfExp) -> t.Node:
        return t.Conditional(
            self.expression(node.test), self.expression(node.body), self.expression(node.orelse)
        )

    def _on_boolop(self, node: ast.BoolOp) -> t.Node:
        operator = "and" if isinstance(node.op, ast.And) else "or"
        made = self.expression(node.values[0])
        start = self._starts[node.lineno - 1] + node.col_offset  # with the parentheses of the first part
        for part in node.values[1:]:
            right = self.expression(part)
            made = t.Logical(operator, made, right, start=start, end=self._closed(start, right.end))
        return made

    def _closed(self, start: int, end: int) -> int:
        """Return the end of a part of the source with the parentheses that are open in it."""
        text = self._source[start:end]
        for _ in range(text.count(b"(") - text.count(b")")):
            at = end
            while self._source[at : at + 1].isspace():
                at += 1
            if self._source[at : at + 1] != b")":
                break
            end = at + 1
        return end

    def _on_binop(self, node: ast.BinOp) -> t.Node:
        chain: list[ast.BinOp] = []
        place: ast.expr = node
        while isinstance(place, ast.BinOp):
            chain.append(place)
            place = place.left
        made = self.expression(place)
        for link in reversed(chain):
            made = t.Binary(OPERATORS.get(type(link.op), "?"), made, self.expression(link.right))
            self.place(made, link)
        return made

    def _on_unaryop(self, node: ast.UnaryOp) -> t.Node:
        names: dict[type[ast.AST], str] = {ast.Not: "not", ast.USub: "-", ast.UAdd: "+"}
        return t.Unary(names.get(type(node.op), "~"), self.expression(node.operand))

    def _on_namedexpr(self, node: ast.NamedExpr) -> t.Node:
        return t.Assign(t.Name(node.target.id), self.expression(node.value))

    def _on_lambda(self, node: ast.Lambda) -> t.Node:
        return t.Function("", self.parameters(node.args), lambda: self._lambda_body(node), arrow=True)

    def _lambda_body(self, node: ast.Lambda) -> list[t.Node]:
        made = t.Leave("return", self.expression(node.body))
        self.place(made, node.body)
        return [made]

    def _on_listcomp(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> t.Node:
        value: t.Node
        if isinstance(node, ast.DictComp):
            value = t.Sequenced([self.expression(node.key), self.expression(node.value)])
        else:
            value = self.expression(node.elt)
        clauses = [
            (
                self.expression(clause.target),
                self.expression(clause.iter),
                [self.expression(test) for test in clause.ifs],
                bool(clause.is_async),
            )
            for clause in node.generators
        ]
        return t.Comprehension(value, clauses)

    _on_setcomp = _on_listcomp
    _on_generatorexp = _on_listcomp
    _on_dictcomp = _on_listcomp

    # Read by `Reader`

    def parameters(self, given: ast.arguments) -> list[t.Parameter]:
        """Return the parameters of a function."""
        raise NotImplementedError
