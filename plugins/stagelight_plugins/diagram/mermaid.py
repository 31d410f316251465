"""A diagram as a Mermaid flowchart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-.,/")


def mermaid(workflow: Mapping[str, Any]) -> str:
    """Return a workflow as a flowchart; whatever the source says is text in it."""
    return "\n".join(_Chart().draw(workflow))


class _Chart:
    def __init__(self) -> None:
        self._lines = ["flowchart TD"]
        self._count = 0

    def draw(self, workflow: Mapping[str, Any]) -> list[str]:
        start = self._node("([", str(workflow["class_name"]), "])")
        self._sequence(workflow["nodes"], [start])
        for name, function in workflow["functions"].items():
            self._sequence(function["nodes"], [self._node("[[", f"function {name}", "]]")])
        return self._lines

    def _node(self, opening: str, label: str, closing: str) -> str:
        self._count += 1
        name = f"n{self._count}"
        self._lines.append(f'  {name}{opening}"{escaped(label)}"{closing}')
        return name

    def _link(self, origins: Sequence[str], target: str, label: str = "") -> None:
        arrow = f'-->|"{escaped(label)}"|' if label else "-->"
        self._lines.extend(f"  {origin} {arrow} {target}" for origin in dict.fromkeys(origins))

    def _sequence(self, nodes: Sequence[Mapping[str, Any]], origins: list[str]) -> list[str]:
        for node in nodes:
            origins = self._one(node, origins)
        return origins

    def _one(self, node: Mapping[str, Any], origins: list[str]) -> list[str]:
        kind = str(node["type"])
        if "branches" in node:
            return self._branches(node, origins)
        label = str(node.get("name") or node.get("kind") or "")
        shape = ("[[", "]]") if kind == "function_call" else ("[", "]") if kind == "step_do" else ("([", "])")
        made = self._node(shape[0], f"{kind.removeprefix('step_')} {label}".strip(), shape[1])
        self._link(origins, made)
        if kind == "break":
            return []
        if kind == "parallel":
            return [end for part in node["nodes"] for end in self._one(part, [made])] or [made]
        if kind == "try":
            return self._try(node, made)
        ends = self._sequence(node.get("nodes", ()), [made])
        if kind == "loop":
            self._link(ends, made, "again")
            return [made]
        return ends or [made]

    def _branches(self, node: Mapping[str, Any], origins: list[str]) -> list[str]:
        made = self._node("{", str(node.get("discriminant", "if")), "}")
        self._link(origins, made)
        ends: list[str] = []
        for branch in node["branches"]:
            how = branch["condition"]
            way = self._node("(", "else" if how is None else str(how), ")")
            self._link([made], way)
            ends += self._sequence(branch["nodes"], [way])
        complete = any(branch["condition"] is None for branch in node["branches"])
        return ends if complete else [*ends, made]

    def _try(self, node: Mapping[str, Any], made: str) -> list[str]:
        ends = self._sequence(_nodes(node["try_block"]), [made])
        if _nodes(node["catch_block"]):
            caught = self._node("(", "on error", ")")
            self._link([made], caught, "fails")
            ends += self._sequence(_nodes(node["catch_block"]), [caught])
        return self._sequence(_nodes(node["finally_block"]), ends)


def _nodes(block: Mapping[str, Any] | None) -> Sequence[Mapping[str, Any]]:
    return block["nodes"] if block else ()


def escaped(text: str) -> str:
    """Return text as Mermaid's character references, but for what is plainly harmless."""
    return "".join(letter if letter in _PLAIN else f"#{ord(letter)};" for letter in text[:200])
