"""Diagrams as SVG: nothing escapes, nothing overlaps, everything is there."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from stagelight_plugins.diagram.drawing import Box, cut, lay_out
from stagelight_plugins.diagram.svg import render

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = [
    "</text><script>alert(1)</script>",
    '"\' onload=alert(1) x="',
    "javascript:alert(1)",
    "]]><!ENTITY x SYSTEM 'file:///etc/passwd'>&x;",
    "\x00\x1b[31m\u202egnp.exe\u202c\ud800\ufffe",
    "x" * 10_000,
    "\n\r\t",
]


def step(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "step_do", "name": name, "nodes": [], **more}


Node = dict[str, Any]
Nodes = list[Node]
names = st.text(max_size=60)


@st.composite
def leaves(draw: st.DrawFn) -> Node:
    """Return a node with nothing in it."""
    kind = draw(st.sampled_from(["step_do", "step_sleep", "function_call", "break"]))
    name = draw(st.sampled_from(["f", "g", "none"]) if kind == "function_call" else names)
    return {"type": kind, "name": name, "nodes": [], "duration": 5, "kind": "return"}


@st.composite
def programs(draw: st.DrawFn, depth: int = 3) -> Nodes:
    """Return some nodes, one below the other."""
    return [draw(constructs(depth) if depth else leaves()) for _ in range(draw(st.integers(0, 3)))]


@st.composite
def constructs(draw: st.DrawFn, depth: int) -> Node:
    """Return a node of any type."""
    kind = draw(st.sampled_from(["leaf", "loop", "parallel", "if", "switch", "try", "step_do"]))
    inner = programs(depth - 1)
    if kind == "leaf":
        return draw(leaves())
    if kind in {"if", "switch"}:
        branches = [
            {"condition": draw(st.none() | names), "nodes": draw(inner)}
            for _ in range(draw(st.integers(0, 3)))
        ]
        return {"type": kind, "discriminant": draw(names), "branches": branches}
    if kind == "try":
        blocks = {name: {"type": "block", "nodes": draw(inner)} for name in ("try_block", "finally_block")}
        return {
            "type": "try",
            "catch_block": {"type": "block", "nodes": draw(inner)} if draw(st.booleans()) else None,
            **blocks,
        }
    return {"type": kind, "name": draw(names), "kind": "all", "loop": {"over": "rows"}, "nodes": draw(inner)}


def workflow(nodes: Nodes, name: str = "Sample") -> dict[str, Any]:
    functions = {"f": {"nodes": [step("in f"), {"type": "function_call", "name": "g"}]}, "g": {"nodes": [step("in g"), {"type": "function_call", "name": "f"}]}}  # fmt: skip
    return {"class_name": name, "functions": functions, "nodes": nodes}


def texts(image: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(image).iter(f"{SVG}text")]  # noqa: S314 - our own


@pytest.mark.parametrize("name", HOSTILE)
def test_whatever_a_name_says_it_is_text(name: str) -> None:
    nodes: Nodes = [
        step(name),
        {"type": "if", "branches": [{"condition": name, "nodes": [step("a")]}]},
        {"type": "switch", "discriminant": name, "branches": [{"condition": name, "nodes": []}]},
        {"type": "loop", "loop": {"over": name}, "nodes": [step("b")]},
        {"type": "step_wait_for_event", "name": "w", "options": {"event_type": name}},
        {"type": "function_call", "name": name},
    ]
    image = render(workflow(nodes, name))
    elements = list(ET.fromstring(image).iter())  # noqa: S314 - our own
    tags = {element.tag.removeprefix(SVG) for element in elements}
    assert tags <= {"svg", "title", "style", "defs", "marker", "path", "rect", "text", "circle"}
    attributes = {key.lower() for element in elements for key in element.attrib}
    assert not any(key.startswith("on") or "href" in key for key in attributes)
    assert "\u202e" not in image
    assert len(image) < 20_000
    assert {"a", "b", "w"} <= set(texts(image))


@given(programs())
@settings(deadline=None, max_examples=150)
def test_any_program_is_drawn_without_one_box_cutting_another(nodes: Nodes) -> None:
    ET.fromstring(render(workflow(nodes)))  # noqa: S314 - our own
    sheet = lay_out(workflow(nodes))
    boxes = [box for box in sheet.boxes if box.kind not in {"bar", "join"}]
    for at, one in enumerate(boxes):
        assert one.x >= 0
        assert one.x + one.width <= sheet.width
        assert one.y + one.height <= sheet.height
        for other in boxes[at + 1 :]:
            assert not cuts(one, other), (one, other)


def cuts(one: Box, other: Box) -> bool:
    """Say whether a box is partly in another; beside, or inside a frame, is fine."""
    apart = (
        one.x + one.width <= other.x
        or other.x + other.width <= one.x
        or one.y + one.height <= other.y
        or other.y + other.height <= one.y
    )
    return not apart and not (
        (other.kind.startswith("frame") and _holds(other, one))
        or (one.kind.startswith("frame") and _holds(one, other))
    )


def _holds(outer: Box, inner: Box) -> bool:
    return (
        inner.x >= outer.x
        and inner.y >= outer.y
        and inner.x + inner.width <= outer.x + outer.width
        and inner.y + inner.height <= outer.y + outer.height
    )


def test_functions_that_call_each_other_too_often_are_boxes() -> None:
    call = [{"type": "function_call", "name": f"f{n}"} for n in range(31)]
    functions = {f"f{n}": {"nodes": [step("a"), call[n + 1], call[n + 1]]} for n in range(30)}
    sheet = lay_out({"class_name": "Many", "functions": functions, "nodes": [call[0]]})
    assert 1_000 < len(sheet.boxes) < 10_000


def test_a_long_name_is_cut_in_the_middle() -> None:
    assert cut("load the first of many rows", 12) == "load th…rows"
    assert cut("a\n  b", 12) == "a b"
