"""`stagelight diagram --check`: what a file's workflows should not do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from stagelight_plugins.diagram.outline import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


def findings(answers: Iterable[tuple[Path, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return the findings of files, those that cannot be read among them; each once."""
    found: dict[tuple[str, int, str], dict[str, Any]] = {}
    for file, answer in answers:
        errors: list[dict[str, Any]] = [
            {"rule": "unreadable", "line": 0, **error} for error in answer.get("errors", ())
        ]
        told = [one for workflow in answer["workflows"] for one in workflow.get("findings", ())]
        for one in (*errors, *told):
            found.setdefault((str(file), one["line"], one["rule"]), {"file": str(file), **one})
    return list(found.values())


def report(found: Iterable[Mapping[str, Any]], *, as_json: bool) -> str:
    """Return findings as lines `file:line: message (rule)`, or as JSON."""
    if as_json:
        return json.dumps({"findings": list(found)}, indent=2)
    lines = [f"{one['file']}:{one['line']}: {printable(one['message'])} ({one['rule']})" for one in found]
    return "\n".join(lines) or "nothing found"
