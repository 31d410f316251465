"""The script: the program's own `__main__`, whose functions no import hook can reach.

Python asks `sys.path_hooks` about the script before it runs it (that is how it runs zip files), and `-m` goes through
the import system. Both are answered with the script's code, where functions that patterns name carry a decorator and
an error that leaves the script is told. Names, arguments, paths, line numbers and tracebacks are what they were.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.util
import os
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stagelight import interpreter
from stagelight.guard import guard, guarded, report

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import CodeType, ModuleType

_SELF: Final = "stagelight.script"
_ZIP: Final = b"PK\x03\x04"

_matches: Callable[[str, str], str | None] = lambda _module, _qualname: None  # noqa: E731 - replaced by `install`
_tell: Callable[[BaseException], None] = lambda _error: None  # noqa: E731 - replaced by `install`


def install(matches: Callable[[str, str], str | None], tell: Callable[[BaseException], None]) -> None:
    """Have the script that is about to run transformed.

    Args:
        matches: Says for a module and a function's qualified name whether it is a `step`, a `workflow` or nothing.
        tell: Called with the error that leaves the script, `SystemExit` included.
    """
    global _matches, _tell
    _matches, _tell = matches, tell
    found = interpreter.target(sys.orig_argv[1:])
    if found.kind == "module":
        _ModuleFinder.name = found.name
        sys.meta_path.insert(0, _ModuleFinder())
    elif found.kind == "script":
        sys.path_hooks.insert(0, _ScriptHook(os.path.realpath(found.name)))


class _ScriptHook:
    """A path hook that answers for the script, once."""

    def __init__(self, script: str) -> None:
        self._script = script

    def __call__(self, path: str) -> _ScriptFinder:
        with guard("script hook"):
            if self._script and os.path.realpath(path) == self._script and Path(path).is_file():
                self._script = ""
                source = Path(path).read_bytes()
                if (
                    not source.startswith(_ZIP)
                    and (code := transformed(source, path, "__main__")) is not None
                ):
                    return _ScriptFinder(path, code)
        raise ImportError(path)


class _ScriptFinder:
    """Finds the script as `__main__`."""

    def __init__(self, path: str, code: CodeType) -> None:
        self._path = path
        self._code = code

    def find_spec(self, name: str, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec of `__main__`; puts right what `sys.path` would be for a plain script."""
        del target
        if name != "__main__":
            return None
        sys.path_importer_cache.pop(self._path, None)
        if sys.path and sys.path[0] == self._path:
            sys.path[:1] = [] if sys.flags.safe_path else [str(Path(self._path).resolve().parent)]
        return ModuleSpec(name, _ScriptLoader(name, self._path, self._code), origin=self._path)


class _ScriptLoader(SourceFileLoader):
    """Loads the code that was made."""

    def __init__(self, name: str, path: str, code: CodeType) -> None:
        super().__init__(name, path)
        self._code = code

    def get_code(self, fullname: str) -> CodeType:
        """Return the script's code."""
        del fullname
        return self._code


class _ModuleFinder(importlib.abc.MetaPathFinder):
    """Answers for the module of `python -m`, once."""

    name = ""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the module's spec with a loader whose first code is the transformed one."""
        del path, target
        if fullname not in {self.name, f"{self.name}.__main__"} or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.submodule_search_locations is not None:
            sys.meta_path.insert(0, self)  # a package: its __main__ is what runs
        elif spec is not None and isinstance(spec.loader, SourceFileLoader):
            _hand_over(spec.loader, fullname)
        return spec


def _hand_over(loader: SourceFileLoader, name: str) -> None:
    original = loader.get_code

    def get_code(fullname: str) -> CodeType | None:
        del loader.get_code  # the next one to ask imports the module under its own name
        code = None
        with guard("script"):
            code = transformed(loader.get_data(loader.path), loader.path, name)
        return original(fullname) if code is None else code

    loader.get_code = get_code  # type: ignore[method-assign]  # on this instance only


@guarded("script", None)
def transformed(source: bytes, path: str, module: str) -> CodeType | None:
    """Return the code of a script with decorators on what patterns name; None if it is no valid Python."""
    try:
        tree = ast.parse(source, path)
    except (SyntaxError, ValueError):
        return None  # Python itself says it better
    names = {module, "__main__", Path(path).stem}
    _decorate(tree.body, "", names)
    tree.body = _framed(tree.body, is_file=module == "__main__")
    return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)


def _decorate(body: list[ast.stmt], prefix: str, modules: set[str]) -> None:
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            kinds = [
                _matches(module, prefix + node.name) for module in sorted(modules)
            ]  # all are asked: it is counted
            if kind := next((kind for kind in kinds if kind), None):
                # Innermost, so that what other decorators register or replace is recorded too.
                node.decorator_list.append(_located(_call(f"as_{kind}"), node))
        elif isinstance(node, ast.ClassDef):
            _decorate(node.body, f"{prefix}{node.name}.", modules)
        else:
            for field in ("body", "orelse", "finalbody"):
                _decorate(getattr(node, field, []), prefix, modules)


def _framed(body: list[ast.stmt], *, is_file: bool) -> list[ast.stmt]:
    """Return the body in a `try` that tells what leaves it; docstring and future imports stay in front."""
    front = 0
    while front < len(body) and (_is_future(body[front]) or (front == 0 and _is_docstring(body[0]))):
        front += 1
    rest = body[front:]
    if not rest:
        return body
    first = rest[0]
    settle = _located(
        ast.Expr(ast.Call(_call("settle"), [ast.Call(ast.Name("globals", ast.Load()), [], [])], [])), first
    )
    caught = ast.ExceptHandler(
        ast.Name("BaseException", ast.Load()),
        None,
        [ast.Expr(ast.Call(_call("told"), [], [])), ast.Raise()],
    )
    return [
        *body[:front],
        *([settle] if is_file else []),
        _located(ast.Try(rest, [_located(caught, first)], [], []), first),
    ]


def _is_future(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _call(name: str) -> ast.expr:
    """Return the expression that reaches a function of this module from anywhere, by no name of the script's."""
    fetch = ast.Call(
        ast.Name("__import__", ast.Load()),
        [ast.Constant(_SELF)],
        [ast.keyword("fromlist", ast.List([ast.Constant(name)], ast.Load()))],
    )
    return ast.Attribute(fetch, name, ast.Load())


def _located(node: Any, at: ast.stmt) -> Any:
    """Give a made node, and what is in it and was made too, the place of one that was there."""
    for part in ast.walk(node):
        if isinstance(part, (ast.stmt, ast.expr, ast.keyword, ast.excepthandler)) and not hasattr(
            part, "lineno"
        ):
            part.lineno = part.end_lineno = at.lineno
            part.col_offset = part.end_col_offset = at.col_offset
    return node


def as_step(function: Any) -> Any:
    """Make a function of the script a step."""
    from stagelight.instrumentation.functions import decorator  # only scripts with patterns need it

    return decorator(is_workflow=False)(function)


def as_workflow(function: Any) -> Any:
    """Make a function of the script a workflow."""
    from stagelight.instrumentation.functions import decorator

    return decorator(is_workflow=True)(function)


def settle(namespace: dict[str, Any]) -> None:
    """Make the script's own globals what they are for a plain script."""
    namespace.update(__spec__=None, __package__=None, __cached__=None)


def told() -> None:
    """Tell the error that is leaving the script."""
    error = sys.exc_info()[1]
    try:
        if error is not None:
            _tell(error)
    except Exception as fault:  # the script's own error is on its way
        report("script", fault)


def without_runner(trace: Any) -> Any:
    """Return a traceback without the frames that running the script through the import system has put in front."""
    while (
        trace is not None
        and trace.tb_frame.f_code.co_filename == "<frozen runpy>"
        and trace.tb_next is not None
    ):
        trace = trace.tb_next
    return trace
