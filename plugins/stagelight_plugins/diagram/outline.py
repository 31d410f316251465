"""A diagram as lines of text, for a terminal and for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


def outline(workflow: Mapping[str, Any]) -> str:
    """Return a workflow as indented lines."""
    lines = [str(workflow["class_name"]), *_lines(workflow["nodes"], 1)]
    for name, function in workflow["functions"].items():
        lines += [f"function {name}", *_lines(function["nodes"], 1)]
    return "\n".join(lines)


def _lines(nodes: Sequence[Mapping[str, Any]], depth: int) -> Iterator[str]:
    for node in nodes:
        yield "  " * depth + _label(node)
        for label, inner in _blocks(node):
            yield from ["  " * (depth + 1) + label] if label else []
            yield from _lines(inner, depth + 2 if label else depth + 1)


def _label(node: Mapping[str, Any]) -> str:
    words = [printable(str(node[key])) for key in ("kind", "name", "discriminant") if key in node]
    words.insert(0, str(node["type"]).removeprefix("step_"))
    numbers = [str(node[key]) for key in ("starts", "resolves") if key in node]
    return " ".join(words) + (f" [{'-'.join(numbers)}]" if numbers else "")


def _blocks(node: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[Mapping[str, Any]]]]:
    yield from ((_when(branch["condition"]), branch["nodes"]) for branch in node.get("branches", ()))
    blocks = ("try", "catch", "finally")
    yield from ((name, node[f"{name}_block"]["nodes"]) for name in blocks if node.get(f"{name}_block"))
    if node.get("nodes"):
        yield "", node["nodes"]


def _when(condition: str | None) -> str:
    return "else" if condition is None else f"when {printable(condition)}"


def printable(text: str) -> str:
    """Return text without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)[:200]
