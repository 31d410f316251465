"""How Python runs code: coroutines that wait to be awaited, decorators, `with` and comprehensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stagelight_plugins.diagram import tree as t
from stagelight_plugins.diagram.builder.core import promised
from stagelight_plugins.diagram.builder.graph import Graph
from stagelight_plugins.diagram.builder.scope import Scope
from stagelight_plugins.diagram.builder.steps import config, named, plain
from stagelight_plugins.diagram.builder.values import (
    UNDEFINED,
    UNKNOWN,
    Bound,
    ClassValue,
    Closure,
    Const,
    Deferred,
    External,
    Instance,
    ListValue,
    ObjectValue,
    Promise,
    StepFunction,
    StepMethod,
    Steps,
    Value,
    is_nothing,
)
from stagelight_plugins.diagram.model import Draft
from stagelight_plugins.diagram.python import dialects

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_NOT_CONTEXT: Final = frozenset({"ctx", "context", "self"})


def dotted(value: Value) -> str:
    """Return the full name of something of a library."""
    return value.path.replace(":", ".") if isinstance(value, External) else ""


class Decorator(External):
    """A call of a library's decorator: its name and arguments."""

    __slots__ = ("arguments", "keywords")

    def __init__(self, path: str, arguments: Sequence[Value], keywords: Mapping[str, Value]) -> None:
        super().__init__(path)
        self.arguments = arguments
        self.keywords = keywords


@dataclass(slots=True, eq=False)
class WorkflowFunction(Closure):
    """A function that a decorator made a workflow."""

    title: str = ""


class PythonGraph(Graph):
    """Builds the graph of one workflow in Python."""

    lazy = True
    follow: Callable[[str, str], Value] | None = None
    """Resolves an import inside the root."""

    def __init__(self, source: bytes, budget: Any) -> None:
        super().__init__(source, budget)
        self.by_name: dict[str, StepFunction] = {}
        self.ran: set[int] = set()
        self.workflows: list[WorkflowFunction] = []
        self.groups: list[tuple[Value, list[Promise]]] = []
        """The `with` blocks around, and what was started in each."""

    # Decorators

    def decorate(self, decorator: Value, made: Value) -> Value:
        """Apply one decorator."""
        path = dotted(decorator)
        keywords: Mapping[str, Value] = decorator.keywords if isinstance(decorator, Decorator) else {}
        arguments = decorator.arguments if isinstance(decorator, Decorator) else ()
        if isinstance(decorator, StepMethod) or path == "<step>":
            return self._step_function(made, arguments, keywords)
        if path in dialects.STEPS or (
            path.endswith((".task", ".step")) and path.split(".")[0] in _CELERY | {"airflow"}
        ):
            return self._step_function(made, arguments, keywords)
        if path in dialects.WORKFLOWS and isinstance(made, Closure):
            given = keywords.get("name") or keywords.get("dag_id") or (arguments[0] if arguments else None)
            title = given.value if isinstance(given, Const) and isinstance(given.value, str) else ""
            workflow = WorkflowFunction(made.node, made.scope, made.this, made.home, made.name)
            workflow.title = title or made.label
            self.workflows.append(workflow)
            return workflow
        return made

    def _step_function(self, made: Value, arguments: Sequence[Value], keywords: Mapping[str, Value]) -> Value:
        if not isinstance(made, Closure):
            return made
        given = keywords.get("name") or (arguments[0] if arguments else None)
        name = made.label if given is None or is_nothing(given) else named(given)
        depends = keywords.get("depends")
        concurrent = keywords.get("concurrent")
        settings = keywords.get("config")
        objects = [
            value for value in (settings, ObjectValue(dict(keywords))) if isinstance(value, ObjectValue)
        ]
        step = StepFunction(
            "step_do",
            name,
            made,
            config(objects),
            depends.items if isinstance(depends, ListValue) else (),
            isinstance(concurrent, Const) and bool(concurrent.value),
        )
        self.by_name[name] = step
        return step

    # Calls

    def called(
        self, function: Value, arguments: Sequence[Value], node: t.Call, *, inline: bool = False
    ) -> Value:
        """Call a value with evaluated arguments."""
        if isinstance(function, StepMethod):
            return self._step_method(function, arguments, node)
        keywords = self.keywords(node)
        if isinstance(function, External):
            return self._library(function, arguments, keywords, node)
        given = _positional(function, arguments, keywords)
        return self.invoke(function, given, inline=inline, line=self.line(node))

    def _step_method(self, function: StepMethod, arguments: Sequence[Value], node: t.Call) -> Value:
        keywords = self.keywords(node)
        code = [
            v
            for v in (*arguments, *keywords.values())
            if isinstance(v, (Closure, Bound, StepFunction, External, Instance))
        ]
        if function.kind == "step_do" and not code and len(arguments) < 2:
            return Decorator("<step>", arguments, keywords)
        made = self.step(function.kind, arguments, keywords, self.line(node))
        timeout, retries = keywords.get("timeout"), keywords.get("retries")
        if function.kind == "step_do" and (timeout or retries):
            made.drafts[0].fields["config"] = config([ObjectValue(dict(keywords))])
            if isinstance(retries, Const) and isinstance(retries.value, int):
                made.drafts[0].fields["config"]["retries"]["limit"] = retries.value
        return made

    def invoke(
        self, callee: Value, arguments: Sequence[Value], *, inline: bool = False, line: int = 0
    ) -> Value:
        """Call a value."""
        if isinstance(callee, StepFunction):
            function = callee.function
            if isinstance(function, Closure) and function.node.asynchronous:
                return Deferred(lambda: self._run_step(callee, arguments, line))
            began = self.clock + 1
            return self.wait(self._run_step(callee, arguments, line), began)
        return super().invoke(callee, arguments, inline=inline, line=line)

    def _run_step(self, step: StepFunction, arguments: Sequence[Value], line: int) -> Promise:
        self._dependencies(step, line)
        draft = Draft(step.kind, {"name": step.name, "config": step.config}, line=line)
        result: Value = UNKNOWN
        with self.capture() as nodes, self.findings.step():
            function = step.function
            if isinstance(function, Closure) and id(function.node) not in self.inlining:
                value = self._in_place(function, arguments)
                self.wait(value, 0)
        draft.parts = [("nodes", nodes)]
        self.ran.add(id(step))
        return self.emit_pending(draft, result)

    def _dependencies(self, step: StepFunction, line: int) -> None:
        function = step.function
        names = (
            [p.pattern.id for p in function.node.parameters if isinstance(p.pattern, t.Name)]
            if isinstance(function, Closure)
            else []
        )
        implicit = [self.by_name[name] for name in names if name not in _NOT_CONTEXT and name in self.by_name]
        needed = [
            one for one in (*step.depends, *implicit) if isinstance(one, StepFunction) and one is not step
        ]
        fresh = [one for one in dict.fromkeys(needed) if id(one) not in self.ran]
        if not fresh or len(self.inlining) > 20:
            return
        drawn: list[list[Draft]] = []
        for one in fresh:
            self.ran.add(id(one))
            with self.capture() as nodes:
                began = self.clock + 1
                self.wait(self._run_step(one, (), line), began)
            drawn.append(nodes)
        if step.concurrent and len(fresh) > 1:
            parts = [nodes[0] if len(nodes) == 1 else _block(nodes, self.tick()) for nodes in drawn if nodes]
            self.emit(Draft("parallel", {"kind": "all"}, [("nodes", parts)], line=line))
        else:
            self.out.extend(draft for nodes in drawn for draft in nodes)

    # Libraries

    def _library(
        self, function: External, arguments: Sequence[Value], keywords: dict[str, Value], node: t.Call
    ) -> Value:
        path = dotted(function)
        line = self.line(node)
        self.findings.call(path, line, self.source)
        if path in dialects.STEPS or path in dialects.WORKFLOWS or path.endswith((".task", ".step")):
            if arguments and isinstance(arguments[0], Closure):
                return self.decorate(External(path), arguments[0])
            return Decorator(path, arguments, keywords)
        if path in dialects.CALLS:
            return self._library_step(path, arguments, keywords, line)
        if path in {"asyncio.gather", "anyio.gather"}:
            failing = keywords.get("return_exceptions")
            settled = isinstance(failing, Const) and bool(failing.value)
            return self._side_by_side("all_settled" if settled else "all", _flat(arguments), line)
        if path in {
            "asyncio.wait",
            "concurrent.futures.wait",
            "asyncio.as_completed",
            "concurrent.futures.as_completed",
        }:
            first = keywords.get("return_when")
            kind = "race" if dotted(first or UNKNOWN).endswith("FIRST_COMPLETED") else "all"
            made = self._side_by_side(kind, arguments[0] if arguments else UNKNOWN, line)
            return self.wait(made, 0) if "concurrent" in path or "as_completed" in path else made
        if path in dialects.EAGER and arguments:
            return self.start(arguments[0], arguments[1:], line)
        if path in {"asyncio.run", "asyncio.wait_for", "asyncio.shield", "asyncio.timeout"} and arguments:
            return self.wait(arguments[0], self.clock + 1) if path == "asyncio.run" else arguments[0]
        if path in {"list", "tuple", "sorted", "set", "reversed", "iter"} and arguments:
            return arguments[0]
        if path in {"map", "filter"} and len(arguments) > 1:
            return self.each(arguments[1], arguments[0], node)
        if path == "functools.partial" and arguments:
            return Bound(arguments[0], arguments[1:])
        if path == "super":
            return self._super_object()
        if path == "dict":
            return ObjectValue(dict(keywords))
        if path == "str" and arguments and isinstance(arguments[0], Const):
            return arguments[0]
        if path.endswith("TaskGroup") or "Executor" in path:
            return External(path)
        return self.unknown(function, [*arguments, *keywords.values()])

    def _super_object(self) -> Value:
        home, this = self.frame.home, self.scope.lookup("self")
        if home is None or not isinstance(home.base, ClassValue):
            return UNKNOWN
        fields = this.fields if isinstance(this, Instance) else {}
        return Instance(home.base, fields)

    def _library_step(
        self, path: str, arguments: Sequence[Value], keywords: dict[str, Value], line: int
    ) -> Value:
        kind = dialects.CALLS[path]
        self.findings.sleep(kind, line, self.source)
        what = arguments[0] if arguments else UNKNOWN
        label = path.rpartition(".")[2]
        if isinstance(what, (StepFunction, Closure)):
            label = (what.name if isinstance(what, StepFunction) else what.label) or label
        elif isinstance(what, Bound) and isinstance(what.function, (StepFunction, Closure)):
            label = what.function.name or label
        elif isinstance(what, Const):
            label = str(what.value) if isinstance(what.value, str) else label
        draft = Draft(kind, {"name": label}, line=line)
        if kind == "step_do":
            draft.fields["config"] = config([])
            draft.parts = [("nodes", [])]
        elif kind == "step_sleep":
            draft.fields["duration"] = plain(what, "Generated")
        else:
            draft.fields["options"] = {"event_type": label, "timeout": plain(keywords.get("timeout"), 0)}
        made = self.emit_pending(draft)
        started = "start_" in path or path.startswith("temporalio")
        if not started and not path.endswith("_async"):
            self.settle(made, draft.began)
            return UNKNOWN
        return made

    def start(self, what: Value, arguments: Sequence[Value], line: int) -> Promise:
        """Start a coroutine or a function beside its caller."""
        with self.capture() as nodes:
            if isinstance(what, (Deferred, Promise)):
                value: Value = what
            elif isinstance(what, StepFunction):
                value = self._run_step(what, arguments, line)
            else:
                value = self.invoke(what, arguments, line=line)
            result = value.run() if isinstance(value, Deferred) else value
        counter = self.frame.counter
        counter.waits = True
        own = promised(result)
        if not nodes:
            return Promise(tuple(own))
        made = nodes[0] if len(nodes) == 1 else _block(nodes, self.tick())
        counter.hand_back([draft for draft in own if draft is not made], self.tick())
        self.out.append(made)
        if made not in counter.pending:
            counter.emit(made, made.began)
        return Promise((made,))

    def _side_by_side(self, kind: str, value: Value, line: int) -> Value:
        if isinstance(value, Deferred):
            value = ListValue([value])
        with self.capture() as drawn:
            if isinstance(value, ListValue):
                items = [
                    self.start(item, (), line) if isinstance(item, Deferred) else item for item in value.items
                ]
                value = ListValue(items, self._rest_started(value.rest, line))
        return self.join_drawn(kind, drawn, value, line)

    def _rest_started(self, rest: Value | None, line: int) -> Value | None:
        if not isinstance(rest, Deferred):
            return rest
        with self.conditional(), self.capture() as nodes:
            made = self.start(rest, (), line)
        self.draw("loop", [("nodes", nodes)], loop={"kind": "for"})
        return made

    def _on_owner(self, owner: Value, name: str, node: t.Call) -> Value:
        if isinstance(owner, Promise) and name in dialects.METHODS_THAT_WAIT:
            self.arguments(node)
            return self.wait(owner, self.clock + 1)
        if isinstance(owner, StepFunction):
            return self._on_step(owner, name, node)
        if name in dialects.METHODS_THAT_START and not isinstance(owner, (Instance, ObjectValue, ClassValue)):
            given = self.arguments(node)[1 if name == "run_in_executor" else 0 :]
            if given:
                made = self.start(given[0], given[1:], self.line(node))
                self._tasks(owner, made)
                return made
        if isinstance(owner, External) and name == "map" and "Executor" in owner.path:
            given = self.arguments(node)
            return self.each(given[1] if len(given) > 1 else UNKNOWN, given[0], node) if given else UNKNOWN
        return super()._on_owner(owner, name, node)

    def _tasks(self, owner: Value, made: Promise) -> None:
        for group in self.groups:
            if group[0] is owner:
                group[1].append(made)

    def _on_step(self, step: StepFunction, name: str, node: t.Call) -> Value:
        arguments, line = self.arguments(node), self.line(node)
        if name in {"submit", "delay", "apply_async"}:
            return self.start(step, arguments, line)
        if name in {"map", "expand"}:
            with self.conditional(), self.capture() as nodes:
                made = self.start(step, [UNKNOWN], line)
            self.draw("loop", [("nodes", nodes)], loop={"kind": "map"})
            return made
        if name in {"with_options", "override", "partial", "s", "si"}:
            return step
        if name in {"undo", "rollback"}:
            return UNKNOWN
        return self.invoke(step, arguments, line=line) if name in {"__call__", "fn"} else UNKNOWN

    # Members

    def method(self, owner: Value, name: str, this: Value) -> Value:
        """Return a method, bound to its object."""
        place, steps = owner, 0
        while isinstance(place, ClassValue) and steps < 64:
            member = place.members.get(name)
            if member is not None and isinstance(member.value, t.Function) and not member.initializer:
                with self.inside(place.scope):
                    made = self.decorated(member.value, Closure(member.value, place.scope, this, place, name))
                if member.static:
                    return made
                return (
                    self.invoke(Bound(made, [this]), (), inline=True)
                    if member.getter
                    else Bound(made, [this])
                )
            if name in place.statics:
                return place.statics[name]
            place, steps = place.base, steps + 1
        return UNKNOWN

    def get(self, value: Value, name: str) -> Value:
        """Read a member."""
        if isinstance(value, Steps) and name == "with_rollback":
            return StepMethod("step_do")
        if isinstance(value, StepFunction):
            return External("<undo>") if name == "undo" else UNKNOWN
        return super().get(value, name)

    # Statements

    def _do_with(self, node: t.With) -> bool:
        kept = self.groups
        self.groups = list(kept)
        entered: list[Value] = []
        for context, target in node.items:
            value = self.wait(self.value(context), self.clock + 1)
            entered.append(value)
            self.groups.append((value, []))
            if target is not None:
                self.bind(target, value, declare=False)
        named_steps = [v for v in entered if isinstance(v, Decorator) and dotted(v) in dialects.STEPS]
        left = self._step_block(named_steps[0], node) if named_steps else self.run(node.body)
        for group in self.groups[len(kept) :]:
            if group[1]:
                tasks = ListValue([*group[1]])
                self.settle(tasks, 0, "all")
        self.groups = kept
        return left

    def _step_block(self, step: Decorator, node: t.With) -> bool:
        given = step.keywords.get("name") or (step.arguments[0] if step.arguments else Const("step"))
        draft = Draft("step_do", {"name": named(given), "config": config([])}, line=self.line(node))
        draft.open = True
        with self.capture() as nodes, self.findings.step():
            left = self.run(node.body)
        draft.parts = [("nodes", nodes)]
        self.emit(draft)
        return left

    def _on_comprehension(self, node: t.Comprehension) -> Value:
        target, items, tests, awaited = node.clauses[0]
        source = self.value(items)
        with self.inside(Scope(self.scope)), self.conditional(), self.capture() as nodes:
            for name in _names(target):
                self.scope.declare(name, UNKNOWN, self.conditions)
            self.bind(target, self.element(source), declare=False)
            for test in tests:
                self.value(test)
            if len(node.clauses) > 1:
                inner = self._on_comprehension(t.Comprehension(node.value, node.clauses[1:]))
                value: Value = (
                    inner.rest if isinstance(inner, ListValue) and inner.rest is not None else UNKNOWN
                )
            else:
                value = self.value(node.value)
        del awaited
        self.draw("loop", [("nodes", nodes)], loop={"kind": "comprehension", "over": self.text(items)})
        return ListValue([], value)

    def _do_import(self, node: t.Import) -> bool:
        for name, local in node.names:
            found = self.follow(node.module, name) if self.follow is not None else UNDEFINED
            if is_nothing(found):
                path = node.module if name == "*" else f"{node.module}:{name}"
                found = External(path)
            self.scope.declare(local, found, self.conditions)
        return False

    def finish(self, result: Value) -> Value:
        """Run what the start returns without having run it."""
        return self.wait(result, self.clock + 1) if isinstance(result, Deferred) else result


def _positional(function: Value, arguments: Sequence[Value], keywords: Mapping[str, Value]) -> list[Value]:
    """Return arguments in the order of the parameters."""
    made = list(arguments)
    skip = 0
    while isinstance(function, Bound):
        skip, function = skip + len(function.arguments), function.function
    if isinstance(function, StepFunction):
        function = function.function
    if isinstance(function, ClassValue):
        builder = function.members.get("__init__")
        node, skip = (builder.value if builder is not None else None), 1
    else:
        node = function.node if isinstance(function, Closure) else None
    if not isinstance(node, t.Function):
        return [*made, *keywords.values()]
    for index, parameter in enumerate(node.parameters[skip:]):
        if isinstance(parameter.pattern, t.Name) and parameter.pattern.id in keywords:
            made.extend([UNDEFINED] * (index + 1 - len(made)))
            made[index] = keywords[parameter.pattern.id]
    return made


def _flat(arguments: Sequence[Value]) -> ListValue:
    """Return arguments as one list, `*lists` opened."""
    made = ListValue()
    for argument in arguments:
        if isinstance(argument, ListValue):
            made.items.extend(argument.items)
            made.rest = made.rest or argument.rest
        else:
            made.items.append(argument)
    return made


def _block(nodes: list[Draft], now: int) -> Draft:
    return Draft("block", {}, [("nodes", nodes)], began=now)


def _names(pattern: t.Node) -> list[str]:
    if isinstance(pattern, t.Name):
        return [pattern.id]
    if isinstance(pattern, t.ArrayOf):
        return [name for item in pattern.items if item is not None for name in _names(item)]
    return _names(pattern.value) if isinstance(pattern, t.Spread) else []


_CELERY: Final = frozenset({"celery", "app", "celery_app"})
