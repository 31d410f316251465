"""What can go wrong with workflows, each error with its facts as fields and the remedy in its text.

EngineError
├── NotFound
│   ├── WorkflowNotFound
│   ├── InstanceNotFound
│   └── StepNotFound
├── WrongState
├── InstanceExists
├── Invalid
│   ├── BadName
│   ├── BadDuration
│   ├── BadValue
│   ├── BadSchedule
│   ├── BadWorkflow
│   ├── MissingExtra
│   └── TooLarge
├── LimitReached
├── WrongControlPlane
└── StoreError
    ├── StoreInUse
    ├── StoreUnavailable
    └── StoreDamaged

NonRetryableError

StepError
├── StepFailed
├── WaitTimedOut
├── Rejected
└── ChildFailed

The tree of `EngineError` is what the outside meets. `NonRetryableError` is raised by users' steps, and `StepError` is
what a step raises inside `run`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class EngineError(Exception):
    """Something cannot be done; nothing was changed."""


class NotFound(EngineError):
    """What was asked for does not exist."""


class WorkflowNotFound(NotFound):
    """No workflow of this name is registered."""

    def __init__(self, name: str, known: list[str]) -> None:
        self.name = name
        self.known = known
        have = ", ".join(known) or "none"
        super().__init__(
            f"no workflow is named {name!r} (there are: {have}); register its class, or mend the name"
        )


class InstanceNotFound(NotFound):
    """The workflow has no instance of this id: it never had, it was deleted, or its retention is over."""

    def __init__(self, workflow: str, instance_id: str) -> None:
        self.workflow = workflow
        self.instance_id = instance_id
        super().__init__(
            f"workflow {workflow!r} has no instance {instance_id!r}; list its instances, or look whether its retention is over"
        )


class StepNotFound(NotFound):
    """The instance has no such step yet."""

    def __init__(self, instance_id: str, name: str, count: int, others: Sequence[str] = ()) -> None:
        self.instance_id = instance_id
        self.name = name
        self.count = count
        self.others = tuple(others)
        """The types of the steps that have this name and number, but not the type that was asked for."""
        remedy = (
            f"the one of that name is of the type {' or '.join(others)}: name it with its type"
            if others
            else "list its steps for the names that it has"
        )
        super().__init__(f"instance {instance_id!r} has no such step as {name!r} number {count}; {remedy}")


class WrongState(EngineError):
    """The instance is in a state in which this cannot be done."""

    def __init__(self, instance_id: str, status: str, operation: str, remedy: str = "") -> None:
        self.instance_id = instance_id
        self.status = status
        self.operation = operation
        hint = f"; {remedy}" if remedy else "; look at its status first"
        super().__init__(f"cannot {operation} instance {instance_id!r} while it is {status}{hint}")


class InstanceExists(EngineError):
    """The id is in use; ids are free again when the retention of their instance is over, or after a delete."""

    def __init__(self, workflow: str, instance_id: str) -> None:
        self.workflow = workflow
        self.instance_id = instance_id
        super().__init__(
            f"workflow {workflow!r} has an instance {instance_id!r} already; choose another id, or delete that instance"
        )


class Invalid(EngineError, ValueError):
    """An argument is wrong."""


class BadName(Invalid):
    """A workflow, an instance id, a step or an event type has a name that is not allowed."""

    def __init__(self, what: str, name: str, rule: str) -> None:
        self.what = what
        self.name = name
        self.rule = rule
        super().__init__(f"{what} {name[:80]!r} is not allowed: {rule}")


class BadDuration(Invalid):
    """A duration or a time cannot be understood, or is out of range."""

    def __init__(self, value: object, reason: str) -> None:
        self.value = value
        self.reason = reason
        super().__init__(f"{str(value)[:80]!r} is no duration: {reason}")


class BadValue(Invalid):
    """A value cannot be written as JSON; `path` is the place inside it."""

    def __init__(self, what: str, path: str, type_name: str) -> None:
        self.what = what
        self.path = path
        self.type_name = type_name
        place = f" at {path}" if path else ""
        super().__init__(
            f"{what} is not JSON{place}: it is of type {type_name}; hand over text, numbers, booleans, None, lists and dicts with text keys"
        )


class BadSchedule(Invalid):
    """A cron expression cannot be understood."""

    def __init__(self, expression: str, reason: str) -> None:
        self.expression = expression
        super().__init__(
            f"{expression[:80]!r} is no cron schedule: {reason}; write five fields, as in '0 9 * * 1-5'"
        )


class MissingExtra(Invalid):
    """What this needs is not installed."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} needs an extra: pip install 'stagelight[engine]'")


class BadWorkflow(Invalid):
    """A class is no workflow."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        super().__init__(
            f"{name} is no workflow: {reason}; write `class {name}(WorkflowEntrypoint)` with `async def run(self, event, step)`"
        )


class TooLarge(Invalid):
    """A value is larger than its limit; sizes in bytes of JSON."""

    def __init__(self, what: str, size: int, limit: int) -> None:
        self.what = what
        self.size = size
        self.limit = limit
        super().__init__(
            f"{what} has {size:,} bytes, which is more than {limit:,}; keep it elsewhere and hand over where it is"
        )


class LimitReached(EngineError):
    """So many are not allowed: instances in the queue, creates per second, items in a batch, events that wait."""

    def __init__(self, what: str, limit: int, remedy: str, *, retry_after: float = 0.0) -> None:
        self.what = what
        self.limit = limit
        self.retry_after = retry_after
        """After how many seconds it may work; 0 where waiting does not help."""
        super().__init__(f"{what}: the limit is {limit:,}; {remedy}")


class WrongControlPlane(EngineError):
    """A method of one control-plane version was called while another is in force."""

    def __init__(self, method: str, wanted: str, current: str) -> None:
        self.method = method
        super().__init__(
            f"{method} belongs to control plane {wanted}, but {current} is in force; ask the SousChefs instead"
        )


class StoreError(EngineError):
    """The store cannot do its work."""


class StoreInUse(StoreError):
    """Another process has this store open."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(f"{path} is in use by another process; stop that one, or name another file")


class StoreUnavailable(StoreError):
    """The store cannot be written for now; what was accepted before is kept and written as soon as it can be."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.retry_after = 1.0
        super().__init__(
            f"the store cannot be written ({reason}); make room or mend the disk, nothing needs a restart"
        )


class StoreDamaged(StoreError):
    """What the store holds cannot be read."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(
            f"{path} is damaged ({reason}); restore it from a backup, or move it away to begin anew"
        )


class NonRetryableError(Exception):
    """Raise it in a step to end its retries at once. A `try` around the step still sees it, as `StepFailed`."""


class StepError(Exception):
    """What a step raises inside `run`; the same whether it happened just now or was read back after a restart."""

    def __init__(self, step: str, count: int, message: str) -> None:
        self.step = step
        """The step's name."""
        self.count = count
        """Which step of that name, from 1."""
        super().__init__(message)


class StepFailed(StepError):
    """A step has used up its attempts, or raised `NonRetryableError`."""

    def __init__(self, step: str, count: int, type_name: str, message: str, attempts: int) -> None:
        self.type = type_name
        """The name of the class of the last attempt's error, `StepTimedOut` for a timeout."""
        self.message = message
        self.attempts = attempts
        super().__init__(step, count, f"{type_name}: {message}" if message else type_name)


class WaitTimedOut(StepError):
    """No event came in time."""

    def __init__(self, step: str, count: int, event_type: str) -> None:
        self.event_type = event_type
        super().__init__(step, count, f"no event {event_type!r} came in time for step {step!r}")


class Rejected(StepError):
    """Somebody said no to `wait_for_approval`."""

    def __init__(self, step: str, count: int, reason: str) -> None:
        self.reason = reason
        """Empty where none was given."""
        super().__init__(
            step, count, f"{step!r} was rejected: {reason}" if reason else f"{step!r} was rejected"
        )


class ChildFailed(StepError):
    """A child workflow failed, or was terminated or deleted."""

    def __init__(
        self, step: str, count: int, workflow: str, instance_id: str, status: str, message: str
    ) -> None:
        self.workflow = workflow
        self.instance_id = instance_id
        self.status = status
        self.message = message
        super().__init__(
            step, count, f"child {workflow}/{instance_id} is {status}" + (f": {message}" if message else "")
        )
