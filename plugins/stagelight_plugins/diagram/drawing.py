"""The drawing: where each part of a diagram stands. Top to bottom; nothing leaves the box of the construct that it is in.

The page draws by the same rules (`dashboards/ui/src/diagram/layout.ts`), with what a run did in addition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

Node: TypeAlias = Mapping[str, Any]
Point: TypeAlias = tuple[float, float]

GAP: Final = 30.0
COLUMN: Final = 32.0
PAD: Final = 18.0
HEADER: Final = 34.0
CARD: Final = 48.0
MOST_PARTS: Final = 2_000
"""Functions that call each other could fill any page; beyond this a call is drawn as one box."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box, or a piece of text in one. `kind` is a class of the style sheet."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    title: str = ""
    detail: str = ""


@dataclass(slots=True)
class Sheet:
    """What is drawn: boxes, from the outermost inwards, and lines."""

    boxes: list[Box] = field(default_factory=list["Box"])
    lines: list[tuple[str, list[Point]]] = field(default_factory=list[tuple[str, list[Point]]])
    width: float = 0
    height: float = 0

    def line(self, *points: Point, kind: str = "flow") -> None:
        """Draw a line through points at right angles."""
        kept = [point for at, point in enumerate(points) if not at or point != points[at - 1]]
        if len(kept) > 1:
            self.lines.append((kind, kept))


@dataclass(frozen=True, slots=True)
class Piece:
    """A part that does not know yet where it will be. `axis` is where its line runs, `open` whether it goes on."""

    width: float
    height: float
    axis: float
    draw: Callable[[float, float, Sheet], None]
    open: bool = True


_NONE: Final[Node] = {}


def _nodes(of: Node) -> Sequence[Node]:
    found: Sequence[Node] = of.get("nodes") or ()
    return found


def lay_out(workflow: Mapping[str, Any]) -> Sheet:
    """Return the drawing of a workflow."""
    body = _Drafter(workflow.get("functions") or _NONE).sequence(_nodes(workflow), frozenset())
    sheet = Sheet()
    axis, top = PAD + max(8.0, body.axis), PAD + 14 + GAP
    sheet.boxes.append(Box("start", axis - 7, PAD, 14, 14))
    sheet.line((axis, PAD + 14), (axis, top), kind="flow arrow")
    body.draw(axis - body.axis, top, sheet)
    end = top + body.height + (GAP if body.height else 0)
    if body.open and body.height:
        sheet.line((axis, top + body.height), (axis, end), kind="flow arrow")
    sheet.boxes.append(Box("end", axis - 8, end, 16, 16))
    sheet.width, sheet.height = axis + max(8.0, body.width - body.axis) + PAD, end + 16 + PAD
    return sheet


class _Drafter:
    def __init__(self, functions: Mapping[str, Any]) -> None:
        self._functions = functions
        self._parts = 0

    def sequence(self, nodes: Sequence[Node], calls: frozenset[str]) -> Piece:
        return _sequence([self._piece(node, calls) for node in nodes])

    def _piece(self, node: Node, calls: frozenset[str]) -> Piece:
        self._parts += 1
        match node["type"]:
            case "if" | "switch":
                return self._fork(node, calls)
            case "parallel":
                return self._parallel(node, calls)
            case "try":
                return _frame(node, self._tried(node, calls))
            case "break":
                return _text("chip", str(node.get("kind", "break")), 24, open_=False)
            case "function_call":
                return self._call(node, calls)
            case _:
                inner = _nodes(node)
                return _frame(node, self.sequence(inner, calls)) if inner else card(title(node), detail(node))

    def _call(self, node: Node, calls: frozenset[str]) -> Piece:
        name = str(node.get("name", ""))
        definition: Node = self._functions.get(name) or _NONE
        if definition.get("workflow"):
            return card(str(definition["workflow"]), "a run of its own")
        if name in calls or self._parts > MOST_PARTS:
            return card(f"{name}()", "calls itself again" if name in calls else "")
        inner = _nodes(definition)
        return _frame(node, self.sequence(inner, calls | {name})) if inner else card(f"{name}()")

    def _fork(self, node: Node, calls: frozenset[str]) -> Piece:
        is_switch = node["type"] == "switch"
        branches: Sequence[Node] = node.get("branches") or ()
        other = "default" if is_switch else "else"
        columns = [
            _named(branch.get("condition") or other, self.sequence(_nodes(branch), calls))
            for branch in branches
        ]
        if branches and all(branch.get("condition") for branch in branches):
            columns.append(Piece(16, 0, 8, lambda _x, _y, _sheet: None))
        head = cut(str(node.get("discriminant", "")), 30) if is_switch else ""
        width = _width(head, 60) if head else 26.0
        return _spread(columns, Box("gate", -width / 2, 0, width, 26, head))

    def _parallel(self, node: Node, calls: frozenset[str]) -> Piece:
        nodes = _nodes(node)
        if len(nodes) == 1:
            return self._piece(nodes[0], calls)
        lanes: list[list[Node]] = []
        for each in nodes:
            starts = each.get("starts")
            before = next(
                (lane for lane in lanes if starts and starts > 1 and lane[-1].get("resolves") == starts), None
            )
            if before is None:
                lanes.append([each])
            else:
                before.append(each)
        columns = [_sequence([self._piece(each, calls) for each in lane]) for lane in lanes]
        return _spread(columns, Box("bar", 0, 0, 0, 22, title(node)))

    def _tried(self, node: Node, calls: frozenset[str]) -> Piece:
        blocks = {
            name: self.sequence(_nodes(node.get(f"{name}_block") or _NONE), calls)
            for name in ("try", "catch", "finally")
        }
        both = blocks["try"]
        if blocks["catch"].height:
            both = _caught(both, _named("catch", blocks["catch"]))
        return _sequence([both, _named("finally", blocks["finally"])]) if blocks["finally"].height else both


def _sequence(pieces: Sequence[Piece]) -> Piece:
    axis = max((piece.axis for piece in pieces), default=0.0)
    right = max((piece.width - piece.axis for piece in pieces), default=0.0)

    def draw(x: float, y: float, sheet: Sheet) -> None:
        for at, piece in enumerate(pieces):
            piece.draw(x + axis - piece.axis, y, sheet)
            y += piece.height
            if at + 1 < len(pieces) and piece.open:
                sheet.line((x + axis, y), (x + axis, y + GAP), kind="flow arrow")
            y += GAP

    height = sum(piece.height + GAP for piece in pieces) - (GAP if pieces else 0)
    return Piece(axis + right, height, axis, draw, all(piece.open for piece in pieces))


def _frame(node: Node, inner: Piece) -> Piece:
    is_loop = node["type"] == "loop"
    head = cut(title(node), 40)
    natural = PAD + inner.width + PAD + (22 if is_loop else 0)
    width = max(natural, _width(head, 120) + 30)
    left = PAD + max(0.0, (width - natural) / 2)
    height = HEADER + 12 + inner.height + PAD

    def draw(x: float, y: float, sheet: Sheet) -> None:
        kind = "frame dashed" if node["type"] in {"try", "function_call"} else "frame"
        sheet.boxes.append(Box(kind, x, y, width, height, head))
        axis, top = x + left + inner.axis, y + HEADER + 12
        bottom, turn = top + inner.height, x + width - 16
        sheet.line((axis, y + HEADER), (axis, top), kind="flow arrow")
        inner.draw(x + left, top, sheet)
        if inner.open:
            sheet.line((axis, bottom), (axis, y + height))
        if is_loop and inner.open:
            back = (turn, bottom + PAD / 2), (turn, y + HEADER + 5), (axis + 4, y + HEADER + 5)
            sheet.line((axis, bottom + PAD / 2), *back, kind="back arrow")

    return Piece(width, height, left + inner.axis, draw, inner.open or is_loop)


def _named(name: str, body: Piece) -> Piece:
    text = cut(name, 30)
    wide = _width(text, 34, 6.4)
    axis = max(body.axis, wide / 2)
    drop = 18.0 if body.height else 14.0

    def draw(x: float, y: float, sheet: Sheet) -> None:
        sheet.boxes.append(Box("label", x + axis - wide / 2, y, wide, 22, text))
        kind = "flow arrow" if body.height else "flow"
        sheet.line((x + axis, y + 22), (x + axis, y + 22 + drop), kind=kind)
        body.draw(x + axis - body.axis, y + 40, sheet)

    width = axis + max(body.width - body.axis, wide / 2)
    return Piece(width, 22 + drop + body.height, axis, draw, body.open)


def _caught(body: Piece, handler: Piece) -> Piece:
    left = body.width + COLUMN
    height = max(body.height, handler.height) + 18

    def draw(x: float, y: float, sheet: Sheet) -> None:
        body.draw(x, y, sheet)
        handler.draw(x + left, y, sheet)
        axis, line = x + body.axis, x + left + handler.axis
        sheet.line((x + body.width, y + 11), (line - 34, y + 11), kind="error arrow")
        if body.open:
            sheet.line((axis, y + body.height), (axis, y + height))
        if handler.open:
            foot = y + height - 7
            sheet.line((line, y + handler.height), (line, foot), (axis, foot), (axis, y + height))

    return Piece(left + handler.width, height, body.axis, draw, body.open or handler.open)


def _spread(columns: Sequence[Piece], head: Box) -> Piece:
    is_bar = head.kind == "bar"
    natural = sum(column.width for column in columns) + COLUMN * max(0, len(columns) - 1)
    width = max(natural, _width(head.title, 60))
    axes: list[float] = []
    left = (width - natural) / 2
    for column in columns:
        axes.append(left + column.axis)
        left += column.width + COLUMN
    axis = (axes[0] + axes[-1]) / 2 if axes else width / 2
    drop = 16.0 if is_bar else GAP - 8
    height = head.height + drop + max((column.height for column in columns), default=0.0) + drop

    def draw(x: float, y: float, sheet: Sheet) -> None:
        at = Box("bar", x, y, width, 22, head.title) if is_bar else Box(
            "gate", x + axis + head.x, y, head.width, 26, head.title
        )  # fmt: skip
        sheet.boxes.append(at)
        bottom = y + height
        for column, place in zip(columns, axes, strict=True):
            line, top = x + place, y + head.height + drop
            start = line if is_bar else x + axis
            turn = y + head.height + 8
            sheet.line(
                (start, y + head.height - (2 if is_bar else 0)), (start, turn), (line, turn), (line, top)
            )
            column.draw(line - column.axis, top, sheet)
            foot = bottom - 7
            if column.open and is_bar:
                sheet.line((line, top + column.height), (line, bottom - 4))
            elif column.open:
                sheet.line((line, top + column.height), (line, foot), (x + axis, foot), (x + axis, bottom))
        if is_bar:
            sheet.boxes.append(Box("join", x, bottom - 4, width, 4))

    return Piece(width, height, axis, draw, not columns or any(column.open for column in columns))


def card(name: str, small: str = "") -> Piece:
    """Return a box with a name and a line below it."""
    text, below = cut(name, 34), cut(small, 44)
    width = max(_width(text, 130), _width(below, 0, 6.2)) + 16

    def draw(x: float, y: float, sheet: Sheet) -> None:
        sheet.boxes.append(Box("card", x, y, width, CARD, text, below))

    return Piece(width, CARD, width / 2, draw)


def _text(kind: str, text: str, height: float, *, open_: bool) -> Piece:
    shown = cut(text, 20)
    width = _width(shown, 44)

    def draw(x: float, y: float, sheet: Sheet) -> None:
        sheet.boxes.append(Box(kind, x, y, width, height, shown))

    return Piece(width, height, width / 2, draw, open_)


_PARALLEL: Final = {
    "all": "in parallel",
    "all_settled": "in parallel, until all are done",
    "any": "in parallel, until one succeeds",
    "race": "in parallel, until one is done",
}


def title(node: Node) -> str:
    """Return what a node is called."""
    match node["type"]:
        case "loop":
            loop: Node = node.get("loop") or _NONE
            over, condition = loop.get("over"), loop.get("condition")
            return f"for each of {over}" if over else f"while {condition}" if condition else "loop"
        case "parallel":
            return _PARALLEL.get(str(node.get("kind", "all")), "in parallel")
        case "function_call":
            return f"{node.get('name', 'anonymous')}()"
        case "try" | "block" as kind:
            return str(kind)
        case _:
            return str(node.get("name") or "unnamed").replace("${...}", "…")


def detail(node: Node) -> str:
    """Return the small line below a step: how long it sleeps, what it waits for."""
    match node["type"]:
        case "step_sleep":
            length = node.get("duration")
            return f"sleep {f'{length:g} ms' if isinstance(length, int | float) else length}"
        case "step_sleep_until":
            return "sleep until a time"
        case "step_wait_for_event":
            return f"wait for event {(node.get('options') or _NONE).get('event_type', '')}".strip()
        case _:
            return ""


def cut(text: str, most: int) -> str:
    """Return a text in one line of at most so many characters, cut in the middle."""
    flat = " ".join(text[: most * 20].split())
    if len(flat) <= most:
        return flat
    tail = most // 3
    return f"{flat[: most - tail - 1]}…{flat[-tail:]}"


def _width(text: str, least: float, letter: float = 7.1) -> float:
    return max(least, sum(letter * (1.8 if each > "\u2d00" else 1) for each in text) + 22)
