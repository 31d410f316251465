"""The model: the fourteen node types of the public API, and the envelope.

Durations are milliseconds or text. What is ours beside the API's fields is optional: `id`, `line`, `file`, `loop`, `jump`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Final

VERSION: Final = 1
DYNAMIC: Final = "<dynamic>"
UNKNOWN: Final = "unknown"
NODE_TYPES: Final = (
    "step_do", "step_sleep", "step_sleep_until", "step_wait_for_event", "loop", "parallel", "try", "block", "if",
    "switch", "start", "function_call", "function_def", "break",
)  # fmt: skip
STEPS: Final = frozenset({"step_do", "step_sleep", "step_sleep_until", "step_wait_for_event"})


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Draft:
    """A node while the graph is built."""

    type: str
    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    parts: list[tuple[Any, list[Draft]]] = field(default_factory=list[tuple[Any, list["Draft"]]])
    """Its blocks: what stands before each (a condition, a name), and the nodes in it."""
    line: int = 0
    file: str = ""
    """Where it is another file than the one that is drawn."""
    began: int = 0
    """When it was met; a count, not a time."""
    settled: int | None = 0
    """When it was waited for: 0 at once, None never."""
    starts: int | None = None
    resolves: int | None = None
    joined: str = ""
    """The kind of the combinator that waited for it."""
    function: Any = None
    """The function that a `function_call` calls."""
    open: bool = False
    """A step that is a block of the body around it: a way out in it leaves that body."""

    @property
    def numbered(self) -> bool:
        """Whether the API has `starts` and `resolves` for it."""
        return self.type in STEPS or self.type == "function_call"


def default_config() -> dict[str, Any]:
    """Return what a step has that says nothing."""
    return {"retries": {"limit": 5, "delay": 1000, "backoff": "exponential"}, "timeout": 10000}


def to_json(drafts: list[Draft], scope: str = "", seen: dict[str, int] | None = None) -> list[dict[str, Any]]:
    """Return nodes in the API's form, with ids that stay while unrelated code changes."""
    seen = {} if seen is None else seen
    return [_node(draft, scope, seen) for draft in drafts]


def _node(draft: Draft, scope: str, seen: dict[str, int]) -> dict[str, Any]:
    known = draft.fields.get("name") or draft.fields.get("discriminant") or draft.fields.get("kind") or ""
    path = f"{scope}/{draft.type}:{known}"
    seen[path] = seen.get(path, 0) + 1
    path = f"{path}#{seen[path]}"
    node: dict[str, Any] = {"type": draft.type, **draft.fields}
    blocks = [(key, to_json(nodes, f"{path}/{key}", seen)) for key, nodes in draft.parts]
    if draft.type in {"if", "switch"}:
        node["branches"] = [{"condition": key, "nodes": nodes} for key, nodes in blocks]
    elif draft.type == "try":
        for key, nodes in blocks:
            node[key] = {"type": "block", "nodes": nodes} if nodes else None
    elif blocks:
        node["nodes"] = blocks[0][1]
    for key in ("starts", "resolves"):
        if draft.numbered and getattr(draft, key) is not None:
            node[key] = getattr(draft, key)
    if draft.line:
        node["line"] = draft.line
        if draft.file:
            node["file"] = draft.file
    node["id"] = hashlib.blake2s(path.encode("utf-8", "replace"), digest_size=6).hexdigest()
    return node


def envelope(workflows: list[dict[str, Any]], notes: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Return the answer for a source that was read."""
    answer: dict[str, Any] = {"success": True, "v": VERSION, "workflows": workflows}
    if notes:
        answer["notes"] = notes
    return answer


def failure(message: str, *, line: int = 0) -> dict[str, Any]:
    """Return the answer for a source that was not read; the message names the remedy."""
    error: dict[str, Any] = {"message": message}
    if line:
        error["line"] = line
    return {"success": False, "v": VERSION, "error": message, "errors": [error], "workflows": []}
