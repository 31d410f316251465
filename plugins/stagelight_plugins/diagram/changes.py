"""What changed between two versions of a diagram: its steps, and how they run."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, NamedTuple

from stagelight_plugins.diagram.model import STEPS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_BLOCKS = ("try_block", "catch_block", "finally_block")


class Place(NamedTuple):
    """A step, and how it runs."""

    kind: str
    name: str
    beside: bool
    """Whether it runs beside others."""
    line: int


def changes(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what changed between the workflows of two versions, which are matched by name."""
    before = {str(workflow["class_name"]): workflow for workflow in old}
    after = {str(workflow["class_name"]): workflow for workflow in new}
    found: list[dict[str, Any]] = []
    for name in dict.fromkeys((*before, *after)):
        if name not in after:
            found.append({"workflow": name, "change": "workflow removed"})
        elif name not in before:
            found.append({"workflow": name, "change": "workflow added"})
        else:
            told = _steps_changed(list(_places(before[name])), list(_places(after[name])))
            found += [{"workflow": name, **one} for one in told]
    return found


def told(change: Mapping[str, Any]) -> str:
    """Return a change as a line."""
    words = [f"{change['workflow']}: {change['change']}", change.get("step", "")]
    words += [f"from {change['was']}"] if "was" in change else []
    words += [f"(line {change['line']})"] if "line" in change else []
    return " ".join(filter(None, words))


def _places(workflow: Mapping[str, Any]) -> Iterator[Place]:
    yield from _within(workflow["nodes"], beside=False)
    for function in workflow["functions"].values():
        yield from _within(function["nodes"], beside=False)


def _within(nodes: Sequence[Mapping[str, Any]], *, beside: bool) -> Iterator[Place]:
    for node in nodes:
        if node["type"] in STEPS:
            yield Place(node["type"], node["name"], beside, node.get("line", 0))
        inner = node["type"] == "parallel" or (beside and node["type"] not in STEPS)
        blocks = [branch["nodes"] for branch in node.get("branches", ())]
        blocks += [node[key]["nodes"] for key in _BLOCKS if node.get(key)]
        for block in (*blocks, node.get("nodes", ())):
            yield from _within(block, beside=inner)


def _steps_changed(old: Sequence[Place], new: Sequence[Place]) -> Iterator[dict[str, Any]]:
    matcher = SequenceMatcher(
        None, [place[:2] for place in old], [place[:2] for place in new], autojunk=False
    )
    for how, a, b, c, d in matcher.get_opcodes():
        if how == "equal":
            yield from _rerun(old[a:b], new[c:d])
        else:
            yield from _replaced(old[a:b], new[c:d])


def _rerun(old: Sequence[Place], new: Sequence[Place]) -> Iterator[dict[str, Any]]:
    for one, other in zip(old, new, strict=True):
        if one.beside != other.beside:
            how = "sequential became parallel" if other.beside else "parallel became sequential"
            yield {"change": how, "step": other.name, "line": other.line}


def _replaced(old: Sequence[Place], new: Sequence[Place]) -> Iterator[dict[str, Any]]:
    """Tell what stands where something else stood: a step of the same kind at the same place has a new name."""
    same = len(old) == len(new)
    for index, one in enumerate(old):
        if same and new[index].kind == one.kind:
            yield {
                "change": "step renamed",
                "step": new[index].name,
                "was": one.name,
                "line": new[index].line,
            }
            yield from _rerun([one], [new[index]])
        else:
            yield {"change": "step removed", "step": one.name, "line": one.line}
    for index, other in enumerate(new):
        if not same or old[index].kind != other.kind:
            yield {"change": "step added", "step": other.name, "line": other.line}
