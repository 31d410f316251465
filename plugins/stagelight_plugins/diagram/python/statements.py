"""Statements, functions and classes: from Python's own tree to the neutral one."""

from __future__ import annotations

import ast
import warnings
from typing import TYPE_CHECKING, Any

from stagelight_plugins.diagram import tree as t
from stagelight_plugins.diagram.errors import TooComplex, Unreadable
from stagelight_plugins.diagram.limits import MAX_PYTHON
from stagelight_plugins.diagram.python.reader import OPERATORS, Expressions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def _nothing(_: str) -> str:
    return ""


def read(source: bytes, path: str) -> Reader:
    """Return a reader of a source.

    Raises:
        Unreadable: It is not Python.
        TooComplex: It is too long, or nested too deep.
    """
    if len(source) > MAX_PYTHON:
        raise TooComplex(f"{len(source)} bytes of Python, {MAX_PYTHON} at most")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Reader(ast.parse(source), source)
    except SyntaxError as error:
        raise Unreadable(path, error.msg or "not Python", error.lineno or 0) from error
    except (ValueError, LookupError) as error:
        raise Unreadable(path, str(error)) from error


class Reader(Expressions):
    """Reads one module."""

    def __init__(self, module: ast.Module, source: bytes) -> None:
        super().__init__(source)
        self.module = module
        self.kind: Callable[[str], str] = _nothing
        """Says of a top-level function or a method whether a pattern names it, and as what."""
        self._nested = 0
        self._owner = ""

    def body(self) -> list[t.Node]:
        """Return the statements of the module."""
        return self.block(self.module.body)

    def block(self, nodes: Sequence[ast.stmt]) -> list[t.Node]:
        """Return statements, in order."""
        found: list[t.Node] = []
        for node in nodes:
            method = getattr(self, f"_do_{type(node).__name__.lower()}", None)
            made: list[t.Node] = method(node) if method is not None else []
            for one in made:
                self.place(one, node)
            found.extend(made)
        return found

    def _do_expr(self, node: ast.Expr) -> list[t.Node]:
        return [self.expression(node.value)]

    def _do_assign(self, node: ast.Assign) -> list[t.Node]:
        value = self.expression(node.value)
        if len(node.targets) == 1:
            return [t.Assign(self.expression(node.targets[0]), value)]
        made: list[t.Node] = [t.Assign(self.expression(node.targets[0]), value)]
        first = self.expression(node.targets[0])
        return [*made, *(t.Assign(self.expression(target), first) for target in node.targets[1:])]

    def _do_annassign(self, node: ast.AnnAssign) -> list[t.Node]:
        if node.value is None:
            return []
        return [t.Assign(self.expression(node.target), self.expression(node.value))]

    def _do_augassign(self, node: ast.AugAssign) -> list[t.Node]:
        operator = f"{OPERATORS.get(type(node.op), '?')}="
        return [t.Assign(self.expression(node.target), self.expression(node.value), operator)]

    def _do_if(self, node: ast.If) -> list[t.Node]:
        branches: list[tuple[t.Node | None, Sequence[t.Node]]] = []
        while True:
            branches.append((self.expression(node.test), self.block(node.body)))
            if len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
                node = node.orelse[0]
                continue
            if node.orelse:
                branches.append((None, self.block(node.orelse)))
            return [t.If(branches)]

    def _do_for(self, node: ast.For | ast.AsyncFor) -> list[t.Node]:
        kind = "for_await" if isinstance(node, ast.AsyncFor) else "for"
        target, items = self.expression(node.target), self.expression(node.iter)
        return [
            t.Loop(
                kind, self.block(node.body), target=target, iterable=items, finally_=self.block(node.orelse)
            )
        ]

    _do_asyncfor = _do_for

    def _do_while(self, node: ast.While) -> list[t.Node]:
        test = self.expression(node.test)
        return [t.Loop("while", self.block(node.body), test=test, finally_=self.block(node.orelse))]

    def _do_try(self, node: Any) -> list[t.Node]:
        handlers: list[tuple[t.Node | None, Sequence[t.Node]]] = []
        for handler in node.handlers:
            bound = t.Name(handler.name) if handler.name else None
            handlers.append((bound, self.block(handler.body)))
        final = self.block(node.finalbody) if node.finalbody else None
        return [t.Try(self.block([*node.body, *node.orelse]), handlers, final)]

    _do_trystar = _do_try

    def _do_with(self, node: ast.With | ast.AsyncWith) -> list[t.Node]:
        items = [
            (
                self.expression(item.context_expr),
                None if item.optional_vars is None else self.expression(item.optional_vars),
            )
            for item in node.items
        ]
        return [t.With(items, self.block(node.body))]

    _do_asyncwith = _do_with

    def _do_match(self, node: ast.Match) -> list[t.Node]:
        return [t.Switch(self.expression(node.subject), [self._case(case) for case in node.cases])]

    def _case(self, case: ast.match_case) -> t.Case:
        names = [
            str(part.name)
            for part in ast.walk(case.pattern)
            if isinstance(part, (ast.MatchAs, ast.MatchStar)) and part.name
        ]
        wild = isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None and case.guard is None
        words = ast.unparse(case.pattern)
        if isinstance(case.pattern, ast.MatchValue) and isinstance(case.pattern.value, ast.Constant):
            words = str(case.pattern.value.value)
        if case.guard is not None:
            words += f" if {ast.unparse(case.guard)}"
        test = None if wild else t.Literal(None) if case.guard is None else self.expression(case.guard)
        return t.Case(test, words, self.block(case.body), names)

    def _do_return(self, node: ast.Return) -> list[t.Node]:
        return [t.Leave("return", None if node.value is None else self.expression(node.value))]

    def _do_raise(self, node: ast.Raise) -> list[t.Node]:
        return [t.Leave("throw", None if node.exc is None else self.expression(node.exc))]

    def _do_assert(self, node: ast.Assert) -> list[t.Node]:
        test = self.expression(node.test)
        if node.msg is None:
            return [test]
        failed = t.Unary("not", test, start=test.start, end=test.end)
        return [t.If([(failed, [t.Leave("throw", self.expression(node.msg))])])]

    def _do_delete(self, node: ast.Delete) -> list[t.Node]:
        return [self.expression(target) for target in node.targets]

    def _do_break(self, node: ast.Break | ast.Continue) -> list[t.Node]:
        return [t.Leave(type(node).__name__.lower())]

    _do_continue = _do_break

    def _do_import(self, node: ast.Import) -> list[t.Node]:
        return [
            t.Import(
                name.name if name.asname else name.name.partition(".")[0],
                [("*", name.asname or name.name.partition(".")[0])],
            )
            for name in node.names
        ]

    def _do_importfrom(self, node: ast.ImportFrom) -> list[t.Node]:
        module = "." * node.level + (node.module or "")
        return [t.Import(module, [(name.name, name.asname or name.name) for name in node.names])]

    # Functions and classes

    def _do_functiondef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[t.Node]:
        return [t.Assign(t.Name(node.name), self._function(node))]

    _do_asyncfunctiondef = _do_functiondef

    def _decorators(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[t.Node]:
        found = [self.expression(decorator) for decorator in node.decorator_list]
        kind = "" if self._nested else self.kind(f"{self._owner}{node.name}")
        return [*found, t.Name(f"stagelight.{kind}")] if kind else found

    def _inner(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[t.Node]:
        self._nested += 1
        try:
            return self.block(node.body)
        finally:
            self._nested -= 1

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> t.Function:
        names = _locals(node)
        made = t.Function(
            node.name,
            self.parameters(node.args),
            lambda: self._inner(node),
            asynchronous=isinstance(node, ast.AsyncFunctionDef),
            generator=_yields(node),
            decorators=self._decorators(node),
            hoisted=names,
            words=_words(node.returns),
        )
        self.place(made, node)
        return made

    def parameters(self, given: ast.arguments) -> list[t.Parameter]:
        """Return the parameters of a function."""
        plain = [*given.posonlyargs, *given.args]
        defaults: list[ast.expr | None] = [*[None] * (len(plain) - len(given.defaults)), *given.defaults]
        pairs = [*zip(plain, defaults, strict=True)]
        made = [
            t.Parameter(t.Name(part.arg), None if value is None else self.expression(value), field="")
            for part, value in pairs
        ]
        if given.vararg is not None:
            made.append(t.Parameter(t.Name(given.vararg.arg), rest="*"))
        for part, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
            made.append(
                t.Parameter(
                    t.Name(part.arg), None if default is None else self.expression(default), rest="keyword"
                )
            )
        if given.kwarg is not None:
            made.append(t.Parameter(t.Name(given.kwarg.arg), rest="**"))
        return made

    def _do_classdef(self, node: ast.ClassDef) -> list[t.Node]:
        made = t.Class(
            node.name,
            [self.expression(base) for base in node.bases],
            lambda: self._members(node),
            decorators=[self.expression(decorator) for decorator in node.decorator_list],
        )
        self.place(made, node)
        return [t.Assign(t.Name(node.name), made)]

    def _members(self, node: ast.ClassDef) -> list[t.Property]:
        kept, self._owner = self._owner, f"{node.name}."
        try:
            return self._properties(node)
        finally:
            self._owner = kept

    def _properties(self, node: ast.ClassDef) -> list[t.Property]:
        made: list[t.Property] = []
        for part in node.body:
            if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)):
                how = {_last(decorator) for decorator in part.decorator_list}
                static, getter = "staticmethod" in how, bool(how & {"property", "cached_property"})
                bound = "classmethod" in how
                made.append(t.Property(part.name, self._function(part), static, getter, bound))
            elif isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Name):
                made.append(
                    t.Property(part.targets[0].id, self.expression(part.value), static=True, initializer=True)
                )
            elif (
                isinstance(part, ast.AnnAssign)
                and isinstance(part.target, ast.Name)
                and part.value is not None
            ):
                made.append(
                    t.Property(part.target.id, self.expression(part.value), static=True, initializer=True)
                )
        return made


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _own(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.AST]:
    """Return what stands in a function itself, not in those that it defines."""
    found: list[ast.AST] = []
    rest: list[ast.AST] = list(node.body)
    while rest:
        one = rest.pop()
        found.append(one)
        if not isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            rest.extend(ast.iter_child_nodes(one))
    return found


def _locals(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    names: dict[str, None] = {}
    elsewhere: set[str] = set()
    for part in _own(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            names[part.id] = None
        elif isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names[part.name] = None
        elif isinstance(part, (ast.Global, ast.Nonlocal)):
            elsewhere.update(part.names)
    return [name for name in names if name not in elsewhere]


def _yields(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(isinstance(part, (ast.Yield, ast.YieldFrom)) for part in _own(node))


def _words(annotation: ast.expr | None) -> list[str]:
    """Return the texts of a `Literal[…]`, wherever in an annotation it stands."""
    found: list[str] = []
    for part in ast.walk(annotation) if annotation is not None else ():
        if isinstance(part, ast.Subscript) and _last(part.value) == "Literal":
            found += [
                each.value
                for each in ast.walk(part.slice)
                if isinstance(each, ast.Constant) and isinstance(each.value, str)
            ]
    return found
