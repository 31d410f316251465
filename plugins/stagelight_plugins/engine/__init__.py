"""The engine: durable workflows on one machine.

```python
from stagelight_plugins.engine import WorkflowEntrypoint

class Onboarding(WorkflowEntrypoint):
    async def run(self, event, step):
        user = await step.do("create user", create_user)
        await step.wait_for_approval("let in", timeout="3 days")
        await step.do("send welcome", lambda: send_welcome(user))
```

Kill the machine, start again: it goes on where it was. `contract` says how everything outside talks to the engine.
"""

from __future__ import annotations

from stagelight_plugins.engine.contract import ControlPlane
from stagelight_plugins.engine.entrypoint import Schedule, WorkflowEntrypoint, WorkflowEvent
from stagelight_plugins.engine.errors import (
    ChildFailed,
    EngineError,
    NonRetryableError,
    Rejected,
    StepError,
    StepFailed,
    WaitTimedOut,
)
from stagelight_plugins.engine.facts import From, NewInstance, Status, Trigger
from stagelight_plugins.engine.plugin import plugin
from stagelight_plugins.engine.retries import Retries

register_routes = plugin.register_routes
register_receivers = plugin.register_receivers
register_commands = plugin.register_commands
register_actions = plugin.register_actions
register_pages = plugin.register_pages
startup = plugin.startup
shutdown = plugin.shutdown

__all__ = [
    "ChildFailed",
    "ControlPlane",
    "EngineError",
    "From",
    "NewInstance",
    "NonRetryableError",
    "Rejected",
    "Retries",
    "Schedule",
    "Status",
    "StepError",
    "StepFailed",
    "Trigger",
    "WaitTimedOut",
    "WorkflowEntrypoint",
    "WorkflowEvent",
]
