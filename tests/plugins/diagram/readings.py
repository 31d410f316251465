"""Readings: what a person makes of a source, and how near a diagram comes to it.

A reading is written by hand. Its lines are steps (`do`, `sleep`, `until`, `wait`) inside of what is around them: `loop`; `all`,
`all_settled`, `race`, `any`; `if` with its `else`; `switch` with its `case`; `try` with `catch` and `finally`; `leave` is
whatever leaves a body. Functions are read in the place of their call, below a `call` where they have a way out of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from re import DOTALL, escape, fullmatch
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

HEAD: Final = 'import { WorkflowEntrypoint } from "cloudflare:workers";\n'
AROUND: Final = "export class W extends WorkflowEntrypoint {{ async run(event, step) {{\n{}\n}} }}\n"
KINDS: Final = {
    "step_do": "do",
    "step_sleep": "sleep",
    "step_sleep_until": "until",
    "step_wait_for_event": "wait",
}
SAME_LEVEL: Final = {"else": "if", "catch": "try", "finally": "try"}
"""What goes on with the construct before it."""


@dataclass(eq=False)
class Item:
    """A step, a way out, or what is around steps: its blocks."""

    kind: str
    name: str = ""
    blocks: list[list[Item]] = field(default_factory=list[list["Item"]])


@dataclass(frozen=True)
class Case:
    """A source and what a person reads in it: by the name of the workflow."""

    name: str
    source: str
    reading: Mapping[str, Sequence[Item]]


def cases(path: Path) -> Iterator[Case]:
    """Yield the cases of a file."""
    for section in path.read_text().split("\n== ") if path.exists() else ():
        title, _, rest = section.removeprefix("== ").partition("\n")
        source, _, outline = rest.partition("\n--\n")
        if ".py" not in path.name:
            source = source if "class " in source else AROUND.format(source)
            source = (
                source if "cloudflare:workers" in source or "agents/workflows" in source else HEAD + source
            )
        yield Case(title, source + "\n", read(outline))


def read(outline: str) -> dict[str, list[Item]]:
    """Return the workflows of an outline."""
    found: dict[str, list[Item]] = {}
    levels: list[list[Item]] = []
    for line in filter(None, outline.splitlines()):
        text = line.strip()
        depth = (len(line) - len(line.lstrip())) // 2
        if not depth:
            levels = [found.setdefault(text, [])]
            continue
        del levels[depth:]
        kind, _, name = text.partition(" ")
        if kind in SAME_LEVEL or kind == "case":
            owner = levels[depth - 1][-1] if kind != "case" else None
            if owner is not None:
                owner.blocks += [
                    [] for _ in range({"finally": 3, "catch": 2}.get(kind, 0) - 1 - len(owner.blocks))
                ]
                owner.blocks.append([])
                levels.append(owner.blocks[-1])
                continue
        item = Item(kind, name.replace("\\n", "\n"), [[]])
        levels[depth - 1].append(item)
        levels.append(item.blocks[0])
    return found


def drawn(workflow: Mapping[str, Any]) -> list[Item]:
    """Return a diagram in the terms of a reading, functions in the place of their calls."""
    return _items(workflow["nodes"], workflow["functions"], ())


def _items(
    nodes: Sequence[Mapping[str, Any]], functions: Mapping[str, Any], calls: tuple[str, ...]
) -> list[Item]:
    found: list[Item] = []
    for node in nodes:
        kind = node["type"]
        if kind == "function_call":
            if node["name"] not in calls:
                inner = functions[node["name"]]["nodes"]
                found.append(Item("call", "", [_items(inner, functions, (*calls, node["name"]))]))
        elif kind == "block":
            found.append(Item("call", "", [_items(node["nodes"], functions, calls)]))
        elif kind == "break":
            found.append(Item("leave"))
        else:
            blocks = [_items(each, functions, calls) for each in _blocks(node)]
            name = node["name"] if kind in KINDS else ""
            found.append(
                Item(KINDS.get(kind) or (node["kind"] if kind == "parallel" else kind), name, blocks)
            )
    return found


def _blocks(node: Mapping[str, Any]) -> list[Sequence[Mapping[str, Any]]]:
    if node["type"] == "if":
        return [branch["nodes"] for branch in node["branches"]]
    if node["type"] == "switch":
        ends = {"type": "break", "kind": "break"}
        return [
            [each for each in branch["nodes"] if ends.items() != _bare(each).items()]
            for branch in node["branches"]
        ]
    if node["type"] == "try":
        return [(node[f"{key}_block"] or {"nodes": ()})["nodes"] for key in ("try", "catch", "finally")]
    return [node.get("nodes", ())]


def _bare(node: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in node.items() if key not in {"id", "line", "file"}}


def steps(items: Sequence[Item]) -> list[tuple[str, ...]]:
    """Return every step with what is around it, in order, whichever of the equal ways to write it was taken.

    What stands after a branch that leaves is its `else`: bundlers write the one for the other, and make a `switch` an `if`.
    They swap the branches of an `if`, too, so branches are ordered by what is in them.
    """
    return list(_steps(_plain(items), ()))


def _plain(items: Sequence[Item]) -> list[Item]:
    found: list[Item] = []
    for at, item in enumerate(items):
        if item.kind == "leave":
            break
        if item.kind == "call":
            found += _plain(item.blocks[0])
            continue
        blocks = item.blocks
        if item.kind == "switch" and blocks[0] and all(each.kind == "case" for each in blocks[0]):
            blocks = [case.blocks[0] for case in blocks[0]]
        kind = "if" if item.kind == "switch" else item.kind
        rest = items[at + 1 :]
        if kind == "if" and rest and any(map(_always_leaves, blocks)):
            blocks, guard = _with_rest(blocks, rest)
            kind, rest = "guard" if guard else "if", []
        found += _opened(kind, item.name, [_plain(block) for block in blocks])
        if not rest:
            break
    return found


def _with_rest(blocks: Sequence[Sequence[Item]], rest: Sequence[Item]) -> tuple[list[list[Item]], bool]:
    """Put what follows an `if` that may leave into its `else`; say whether the `if` has nothing else."""
    leaving = [list(block) for block in blocks if _always_leaves(block)]
    staying = [list(block) for block in blocks if not _always_leaves(block)]
    last = [*(staying.pop() if staying else []), *rest]
    found = [*leaving, *staying, last]
    return found, not any(_plain(block) for block in found[:-1])


def _opened(kind: str, name: str, blocks: list[list[Item]]) -> list[Item]:
    """Leave out what holds no step, make a chain of an `if` in an `else`, and order the branches."""
    if kind not in {"if", "guard"}:
        return [Item(kind, name, blocks)] if kind in KINDS.values() or any(blocks) else []
    flat: list[list[Item]] = []
    full = [block for block in blocks if block]
    for block in full:
        chain = len(block) == 1 and block[0].kind == "if" and len(full) > 1
        flat += block[0].blocks if chain else [block]
    ordered = sorted(flat, key=lambda block: str(list(_steps(block, ()))))
    return [Item(kind, "", ordered)] if ordered else []


def _always_leaves(block: Sequence[Item]) -> bool:
    return bool(block) and block[-1].kind == "leave"


def _steps(items: Sequence[Item], around: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for item in items:
        if item.kind in KINDS.values():
            yield (*around, f"{item.kind} {item.name}")
            yield from (each for block in item.blocks for each in _steps(block, (*around, item.name)))
            continue
        for at, block in enumerate(item.blocks):
            yield from _steps(block, (*around, f"{item.kind} {at}"))


def score(
    reading: Mapping[str, Sequence[Item]], workflows: Sequence[Mapping[str, Any]], *, bundled: bool = False
) -> float:
    """Return how much of two is the same: 1 is every step, its order and what is around it.

    A bundle has lost the name of a class that is exported as `default`, and some functions: what they were given is in names.
    """
    found = listed({str(each["class_name"]): drawn(each) for each in workflows}, bundled=bundled)
    expected = listed(reading, bundled=bundled)
    return 2 * _common(expected, found, bundled=bundled) / max(1, len(expected) + len(found))


def listed(reading: Mapping[str, Sequence[Item]], *, bundled: bool) -> list[tuple[str, ...]]:
    """Return the steps of all workflows."""
    alone = bundled and len(reading) == 1
    found = [
        ("" if alone else name, *each) for name, items in sorted(reading.items()) for each in steps(items)
    ]
    return [_tests_as_guards(each) for each in found] if bundled else found


def _tests_as_guards(step: tuple[str, ...]) -> tuple[str, ...]:
    """A bundler may write what a loop does into its test: `for (; await a() && (await b(), !c); )`."""
    pairs = zip(("", *step), step, strict=False)
    return tuple("guard 0" if one.startswith("loop") and each == "if 0" else each for one, each in pairs)


def _common(one: Sequence[tuple[str, ...]], other: Sequence[tuple[str, ...]], *, bundled: bool) -> int:
    """Return how many steps are the same, in the same order."""
    row = [0] * (len(other) + 1)
    for each in one:
        before = row
        row = [0]
        for at, found in enumerate(other):
            row.append(before[at] + 1 if same(each, found, bundled=bundled) else max(before[at + 1], row[at]))
    return row[-1]


def same(one: Sequence[str], other: Sequence[str], *, bundled: bool) -> bool:
    """Say whether two steps are the same. A loop's test may be a guard in its body: `for (; !a; )`, `if (a) break`."""
    if not one or not other:
        return not one and not other
    first, second = one[0].replace("guard", "if"), other[0].replace("guard", "if")
    fits = fullmatch(".*".join(map(escape, first.split("${...}"))), second, DOTALL) if bundled else None
    if (first == second or fits) and same(one[1:], other[1:], bundled=bundled):
        return True
    if bundled and one[0].startswith("guard"):
        return same(one[1:], other, bundled=bundled)
    return bundled and other[0].startswith("guard") and same(one, other[1:], bundled=bundled)
