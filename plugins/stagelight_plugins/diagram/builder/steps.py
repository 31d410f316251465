"""Steps: the calls that the diagram is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stagelight_plugins.diagram import model
from stagelight_plugins.diagram.builder.functions import Functions
from stagelight_plugins.diagram.builder.values import (
    UNKNOWN,
    Bound,
    Carrier,
    Closure,
    Const,
    ObjectValue,
    Promise,
    Shape,
    StepFunction,
    Steps as StepObject,
    Value,
)
from stagelight_plugins.diagram.model import DYNAMIC, Draft

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Steps(Functions):
    """Draws steps."""

    def step(
        self, kind: str, arguments: Sequence[Value], keywords: Mapping[str, Value], line: int
    ) -> Promise:
        """Draw a step of the step object."""
        given = dict(keywords)
        name = given.pop("name", None) or (arguments[0] if arguments else UNKNOWN)
        rest = [*arguments[1:], *given.values()]
        draft = Draft(kind, {"name": named(name)}, line=line)
        self.findings.sleep(kind, line, self.source)
        result: Value = UNKNOWN
        if kind == "step_do":
            draft.fields["config"] = config(
                [*(v for v in rest if isinstance(v, ObjectValue)), ObjectValue(given)]
            )
            self.inside_step(draft, rest)
        elif kind == "step_sleep":
            draft.fields["duration"] = plain(
                given.get("duration") or (rest[0] if rest else UNKNOWN), "Generated"
            )
        elif kind == "step_sleep_until":
            draft.fields["timestamp"] = "generated"
        else:
            shape = Shape()
            draft.fields["options"] = _options(rest, given)
            draft.fields["payload"] = shape
            result = Carrier(shape)
        return self.emit_pending(draft, result)

    def approval(self, arguments: Sequence[Value], line: int) -> Promise | None:
        """Draw `this.waitForApproval(step, …)` of the agents' workflows: a wait that the library has in its own code."""
        if not any(isinstance(value, StepObject) for value in arguments):
            return None
        options = [value.fields for value in arguments if isinstance(value, ObjectValue)]
        given = options[0] if options else dict[str, Value]()
        event = ObjectValue({"type": given.get("eventType", Const("approval"))})
        if "timeout" in given:
            event.fields["timeout"] = given["timeout"]
        name = given.get("stepName", Const("wait-for-approval"))
        return self.step("step_wait_for_event", [name, event], {}, line)

    def inside_step(self, draft: Draft, functions: Sequence[Value]) -> None:
        """Draw the steps that a step's own code has."""
        with self.capture() as nodes, self.findings.step():
            for value in functions:
                parts = list(value.fields.values()) if isinstance(value, ObjectValue) else [value]
                for part in parts:
                    if isinstance(part, (Closure, Bound, StepFunction)):
                        began = self.clock + 1
                        inline = isinstance(part, Closure) and not part.label
                        self.wait(self.invoke(part, (), inline=inline), began)
        draft.parts = [("nodes", nodes)]


def named(value: Value) -> str:
    """Return a step's name."""
    if isinstance(value, Const) and value.value is not None:
        return str(value.value)[:10_000]
    return DYNAMIC


def plain(value: Value | None, otherwise: Any) -> Any:
    """Return a constant number or text, or what stands for one that is not known."""
    if isinstance(value, Const) and isinstance(value.value, (int, float, str)) and not value.holes:
        return value.value
    return otherwise


def config(objects: Sequence[ObjectValue]) -> dict[str, Any]:
    """Return a step's configuration: what is given, and the defaults."""
    made = model.default_config()
    for given in objects:
        timeout = given.fields.get("timeout")
        if timeout is not None:
            made["timeout"] = plain(timeout, model.UNKNOWN)
        retries = given.fields.get("retries")
        for key in ("limit", "delay", "backoff") if isinstance(retries, ObjectValue) else ():
            assert isinstance(retries, ObjectValue)  # noqa: S101 - for the type checker
            value = retries.fields.get(key)
            if value is not None:
                unknown = model.UNKNOWN if key == "delay" else made["retries"][key]
                made["retries"][key] = plain(value, unknown)
        if isinstance(retries, Const) and isinstance(retries.value, int):
            made["retries"]["limit"] = retries.value
    return made


def _options(rest: Sequence[Value], keywords: Mapping[str, Value]) -> dict[str, Any] | None:
    objects = [value for value in rest if isinstance(value, ObjectValue)]
    fields: dict[str, Value] = dict(objects[0].fields) if objects else {}
    fields.update(keywords)
    if not objects and rest and isinstance(rest[0], Const):
        fields.setdefault("event_type", rest[0])
    event = fields.get("type") or fields.get("event_type")
    if not objects and event is None:
        return None
    timeout = fields.get("timeout")
    return {
        "event_type": event.value
        if isinstance(event, Const) and isinstance(event.value, str)
        else plain(event, model.UNKNOWN),
        "timeout": 0 if timeout is None else plain(timeout, model.UNKNOWN),
    }
