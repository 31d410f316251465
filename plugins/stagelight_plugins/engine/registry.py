"""Registering classes: what is checked, and which version of its code a workflow has."""

from __future__ import annotations

import hashlib
import inspect
import sys
import uuid
from typing import TYPE_CHECKING, Any

from stagelight_plugins.engine.durations import milliseconds
from stagelight_plugins.engine.entrypoint import WorkflowEntrypoint
from stagelight_plugins.engine.errors import BadWorkflow
from stagelight_plugins.engine.limits import Limits, check_workflow

if TYPE_CHECKING:
    from stagelight_plugins.engine.store import VersionRow


def checked(cls: Any) -> type[WorkflowEntrypoint]:
    """Return a class that can be registered.

    Raises:
        BadWorkflow, BadName, BadDuration: It cannot be.
    """
    name = getattr(cls, "__name__", str(cls))
    if not (inspect.isclass(cls) and issubclass(cls, WorkflowEntrypoint)):
        raise BadWorkflow(name, "it is no subclass of WorkflowEntrypoint")
    if inspect.isabstract(cls) or not inspect.iscoroutinefunction(cls.run):
        raise BadWorkflow(name, "its `run` is missing, or not `async`")
    if cls.concurrency is not None and cls.concurrency < 1:
        raise BadWorkflow(name, f"its concurrency is {cls.concurrency}, but at least 1 must run")
    check_workflow(name_of(cls))
    if cls.retention is not None:
        milliseconds(cls.retention)
    return cls


def name_of(cls: type[WorkflowEntrypoint]) -> str:
    """Return the name of a workflow."""
    return cls.name or cls.__name__


def retention_of(cls: type[WorkflowEntrypoint], limits: Limits) -> int:
    """Return how long its instances are kept, ms."""
    return limits.retention if cls.retention is None else milliseconds(cls.retention)


def source_of(cls: type[WorkflowEntrypoint]) -> str:
    """Return the text of the module that defines a class; empty where it cannot be read."""
    module = sys.modules.get(cls.__module__)
    try:
        return inspect.getsource(module) if module is not None else ""
    except (OSError, TypeError):
        return ""


def fingerprint_of(cls: type[WorkflowEntrypoint], source: str) -> str:
    """Return a digest of the code of a class: of its source, or else of what was compiled from it."""
    code = source.encode("utf-8", "replace") or cls.run.__code__.co_code
    return hashlib.sha256(cls.__qualname__.encode() + b"\0" + code).hexdigest()


def new_id() -> str:
    """Return a UUID."""
    return str(uuid.uuid4())


def same(version: VersionRow | None, fingerprint: str) -> bool:
    """Return whether a version has this code."""
    return version is not None and version.fingerprint == fingerprint
