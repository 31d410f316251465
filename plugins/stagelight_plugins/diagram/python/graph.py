"""How Python runs code: coroutines that wait to be awaited, `with`, comprehensions and methods."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stagelight_plugins.diagram import tree as t
from stagelight_plugins.diagram.builder.scope import Scope
from stagelight_plugins.diagram.builder.steps import config, named
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
from stagelight_plugins.diagram.python import airflow, celery, dialects
from stagelight_plugins.diagram.python.decorators import Decorator, WorkflowFunction, dotted
from stagelight_plugins.diagram.python.foreign import Foreign
from stagelight_plugins.diagram.python.library import Library

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class PythonGraph(Library):
    """Builds the graph of one workflow in Python."""

    follow: Callable[[str, str], Value] | None = None
    """Resolves an import inside the root."""

    def __init__(self, source: bytes, budget: Any) -> None:
        super().__init__(source, budget)
        self.blocks: list[WorkflowFunction] = []
        """The `with` blocks that are workflows."""
        self.described: Foreign | None = None
        """What is drawn when what was followed has ended."""
        self.returned: Value = UNKNOWN

    def called(
        self, function: Value, arguments: Sequence[Value], node: t.Call, *, inline: bool = False
    ) -> Value:
        """Call a value with evaluated arguments."""
        if isinstance(function, StepMethod):
            return self._step_method(function, arguments, node)
        keywords = self.keywords(node)
        if isinstance(function, Foreign):
            return function.call(self, "", arguments, keywords, self.line(node))
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

    def _on_owner(self, owner: Value, name: str, node: t.Call) -> Value:
        if isinstance(owner, Promise) and name in dialects.METHODS_THAT_WAIT:
            self.arguments(node)
            return self.wait(owner, self.clock + 1)
        if isinstance(owner, StepFunction):
            return self._on_step(owner, name, node)
        if isinstance(owner, Foreign):
            return owner.call(self, name, self.arguments(node), self.keywords(node), self.line(node))
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

    def _on_step(self, step: StepFunction, name: str, node: t.Call) -> Value:
        arguments, keywords, line = self.arguments(node), self.keywords(node), self.line(node)
        if name in celery.SIGNATURES:
            return celery.Canvas("task", [step])
        if name in {"delay", "apply_async"} and isinstance(keywords.get("link"), Foreign):
            return celery.Canvas("chain", [step, keywords["link"]]).call(self, "", (), {}, line)
        if name in {"submit", "delay", "apply_async"}:
            self.sent = self.sent or name != "submit"
            waits = self.frame.counter.waits
            made = self.start(step, arguments, line)
            self.frame.counter.waits = waits or name == "submit"  # what is sent away may never be waited for
            return made
        if name in {"expand", "expand_kwargs"} and self.jobs is not None:
            return airflow.called(self, step, [*arguments, *keywords.values()], line, many=True)
        if name == "override":
            title = keywords.get("task_id") or Const(step.name)
            return replace(step, name=named(title))
        if name in {"map", "expand"}:
            with self.conditional(), self.capture() as nodes:
                made = self.start(step, [UNKNOWN], line)
            self.draw("loop", [("nodes", nodes)], loop={"kind": "map"})
            return made
        if name in {"with_options", "partial"}:
            return step
        if name in {"undo", "rollback"}:
            return UNKNOWN
        return self.invoke(step, arguments, line=line) if name in {"__call__", "fn"} else UNKNOWN

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

    def _of_class(self, value: ClassValue, name: str) -> Value:
        found = super()._of_class(value, name)
        if not isinstance(found, Closure) or found.home is None:
            return found
        member = found.home.members[name]
        with self.inside(found.home.scope):
            made = self.decorated(found.node, found)
        return Bound(made, [value]) if member.bound else made

    def get(self, value: Value, name: str) -> Value:
        """Read a member."""
        if isinstance(value, Steps) and name in dialects.METHODS:
            return StepMethod(dialects.METHODS[name])
        if isinstance(value, StepFunction):
            return External("<undo>") if name == "undo" else UNKNOWN
        if isinstance(value, Foreign):
            return value.member(name)
        return super().get(value, name)

    def step(
        self, kind: str, arguments: Sequence[Value], keywords: Mapping[str, Value], line: int
    ) -> Promise:
        """Draw a step of the step object."""
        if kind == dialects.APPROVAL:
            kind, keywords = "step_wait_for_event", {"event_type": Const("approval"), **keywords}
        return super().step(kind, arguments, keywords, line)

    def _do_with(self, node: t.With) -> bool:
        kept, before = self.groups, len(self.jobs or ())
        self.groups = list(kept)
        entered: list[Value] = []
        for context, target in node.items:
            value = self.wait(self.value(context), self.clock + 1)
            entered.append(value)
            self.groups.append((value, []))
            if target is not None:
                self.bind(target, value, declare=False)
        own = [v for v in entered if isinstance(v, Decorator) and dotted(v) in dialects.BLOCKS]
        if own:
            self.groups = kept
            return self._workflow_block(own[0], node)
        named_steps = [v for v in entered if isinstance(v, Decorator) and dotted(v) in dialects.STEPS]
        left = self._step_block(named_steps[0], node) if named_steps else self.run(node.body)
        for value in entered:
            if isinstance(value, airflow.Group):
                value.jobs += (self.jobs or [])[before:]
        for group in self.groups[len(kept) :]:
            if group[1]:
                tasks = ListValue([*group[1]])
                self.settle(tasks, 0, "all")
        self.groups = kept
        return left

    def _workflow_block(self, workflow: Decorator, node: t.With) -> bool:
        """Call what stands in a `with` block that is a workflow: a run of its own."""
        path, given = dotted(workflow), workflow.keywords
        name = (
            given.get("name")
            or given.get("dag_id")
            or (workflow.arguments[0] if workflow.arguments else None)
        )
        title = named(name) if name is not None else "workflow"
        body = t.Function("", [], lambda: node.body, start=node.start, end=node.end)
        made = WorkflowFunction(body, self.scope, self.frame.this, self.frame.home, title, title, path)
        if all(block.node.start != node.start for block in self.blocks):
            self.blocks.append(made)
        self.invoke(made, (), line=self.line(node))
        return False

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
            if local == "*" and isinstance(found, ObjectValue):
                for each, value in found.fields.items():
                    self.scope.declare(each, value, self.conditions)
                continue
            if is_nothing(found):
                path = node.module if name == "*" else f"{node.module}:{name}"
                found = External(path)
            self.scope.declare(local, found, self.conditions)
        return False

    def operated(self, operator: str, left: Value, right: Value) -> Value:
        """Return `left operator right`; a library's objects have operators of their own."""
        for side in (left, right):
            items = side.items if isinstance(side, ListValue) else [side]
            for item in items:
                if isinstance(item, Foreign):
                    return item.operate(self, operator, left, right)
        return super().operated(operator, left, right)

    def finish(self, result: Value) -> Value:
        """Run what the start returns without having run it; draw the DAG that it put together."""
        self.returned = result
        if self.jobs is not None:
            airflow.draw(self, self.jobs)
            return UNKNOWN
        if self.described is not None:
            self.described.draw(self, 0)
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


def _names(pattern: t.Node) -> list[str]:
    if isinstance(pattern, t.Name):
        return [pattern.id]
    if isinstance(pattern, t.ArrayOf):
        return [name for item in pattern.items if item is not None for name in _names(item)]
    return _names(pattern.value) if isinstance(pattern, t.Spread) else []
