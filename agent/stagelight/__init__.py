"""See every stage of every workflow, live: the agent.

Everything that users write is here; the modules behind it are loaded when a name is first used, so that
`import stagelight.events` and the pytest plugin never load OpenTelemetry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stagelight.recording import step, workflow
    from stagelight.runtime import configure, flush, shutdown, stats
    from stagelight.saying import current_run_id, log as log, progress, set_attributes

    __version__: str
    set = set_attributes  # noqa: A001 - `stagelight.set(...)` is how it reads

# Without `set` and `log`: `from stagelight import *` would put them over the built-in and over the user's logger.
__all__ = [
    "__version__",
    "configure",
    "current_run_id",
    "flush",
    "progress",
    "shutdown",
    "stats",
    "step",
    "workflow",
]

_HOMES = {
    "configure": ("runtime", "configure"),
    "current_run_id": ("saying", "current_run_id"),
    "flush": ("runtime", "flush"),
    "log": ("saying", "log"),
    "progress": ("saying", "progress"),
    "set": ("saying", "set_attributes"),
    "shutdown": ("runtime", "shutdown"),
    "stats": ("runtime", "stats"),
    "step": ("recording", "step"),
    "workflow": ("recording", "workflow"),
}


def __getattr__(name: str) -> object:
    """Load a public name on first use (PEP 562)."""
    import importlib  # importing stagelight must cost nothing

    if name == "__version__":
        from importlib.metadata import version

        value: object = version("stagelight")
    elif name in _HOMES:
        importlib.import_module("stagelight.settings").mend()
        module, attribute = _HOMES[name]
        value = getattr(importlib.import_module(f"stagelight.{module}"), attribute)
    else:
        raise AttributeError(f"module 'stagelight' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(["__version__", *_HOMES])
