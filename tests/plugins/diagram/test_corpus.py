"""The corpus: sources beside the outlines that a careful reader gives them, and what bundlers make of the sources."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stagelight_plugins.diagram.outline import outline
from stagelight_plugins.diagram.parse import parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CORPUS = Path(__file__).parent / "corpus"
SOURCES = sorted(path.with_suffix("") for path in CORPUS.glob("*.outline"))
BUNDLES = sorted((CORPUS / "bundles").iterdir())
LEAVING_EARLY = frozenset({"item ${...}", "l ${...}"})
"""A bundler nests in an `else` what stands after an early way out; both are right, so these are compared without their place."""


def drawn(path: Path) -> list[dict[str, Any]]:
    answer = parse(path.read_bytes(), path.name.removesuffix(".txt"))
    assert answer["success"], answer
    workflows: list[dict[str, Any]] = answer["workflows"]
    return workflows


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_a_source_is_drawn_as_a_reader_would(path: Path) -> None:
    expected = path.with_name(f"{path.name}.outline").read_text()
    assert "\n".join(map(outline, drawn(path))) + "\n" == expected


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.name)
def test_a_bundle_is_drawn_like_its_source(path: Path) -> None:
    source = CORPUS / f"{path.name.partition('.')[0]}.ts"
    assert [meaning(workflow) for workflow in drawn(path)] == [
        meaning(workflow) for workflow in drawn(source)
    ]


def meaning(workflow: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """Return what a workflow does, however its functions are called and wherever they are written."""
    return workflow["class_name"], list(steps(workflow["nodes"], workflow["functions"], ()))


def steps(
    nodes: Sequence[Mapping[str, Any]],
    functions: Mapping[str, Any],
    around: tuple[str, ...],
    calls: tuple[str, ...] = (),
) -> list[Any]:
    found: list[Any] = []
    for node in nodes:
        kind = node["type"]
        if kind == "function_call":
            name = node["name"]
            if name not in calls:
                found += steps(functions[name]["nodes"], functions, around, (*calls, name))
        elif kind.startswith("step_"):
            place = () if node["name"] in LEAVING_EARLY else around
            found.append((node["name"], kind, place))
            found += steps(node.get("nodes", ()), functions, (*around, node["name"]), calls)
        else:
            for label, inner in parts(node):
                found += steps(inner, functions, (*around, f"{kind} {node.get('kind', '')}{label}"), calls)
    return found


def parts(node: Mapping[str, Any]) -> list[tuple[str, Sequence[Mapping[str, Any]]]]:
    if "branches" in node:
        return [("", branch["nodes"]) for branch in node["branches"]]
    if node["type"] == "try":
        return [
            (key, node[key]["nodes"]) for key in ("try_block", "catch_block", "finally_block") if node[key]
        ]
    return [("", node.get("nodes", ()))]
