"""A diagram as an SVG image that stands alone: no script, no link, light and dark."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any, Final
from xml.sax.saxutils import escape

from stagelight_plugins.diagram.drawing import Box, Point, lay_out

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_RADIUS: Final = 9.0
_STYLE: Final = """
svg { --ground: #fff; --raised: #fff; --sunken: #f7f7f9; --line: #cfd1d9; --text: #17181c; --quiet: #5c5e69; --bad: #dc4356; }
@media (prefers-color-scheme: dark) {
  svg { --ground: #101114; --raised: #1a1b20; --sunken: #15161a; --line: #3a3d47; --text: #ecedf1; --quiet: #9a9da9; --bad: #e05263; }
}
.ground { fill: var(--ground); }
.box { fill: var(--raised); stroke: var(--line); }
.frame { fill: var(--sunken); }
.dashed { stroke-dasharray: 5 4; }
.chip { stroke: none; fill: var(--sunken); }
.bar, .join { stroke: none; fill: var(--line); }
.start { fill: var(--quiet); stroke: none; }
.end { stroke: var(--quiet); stroke-width: 1.5; }
.edge { fill: none; stroke: var(--line); stroke-width: 1.5; }
.error { stroke: var(--bad); stroke-dasharray: 3 4; }
text { fill: var(--text); font: 550 12.5px system-ui, 'Segoe UI', Roboto, sans-serif; text-anchor: middle; }
.left { text-anchor: start; }
.code { font: 500 11px ui-monospace, Menlo, Consolas, monospace; fill: var(--quiet); }
.small { font-size: 11px; font-weight: 450; fill: var(--quiet); }
.head { fill: var(--line); }
"""

_HEAD: Final = (
    '<defs><marker id="head" viewBox="0 0 8 8" refX="6.5" refY="4" markerWidth="8" markerHeight="8"'
    ' markerUnits="userSpaceOnUse" orient="auto"><path class="head" d="M1 1L7 4L1 7z"/></marker></defs>'
)


def render(workflow: Mapping[str, Any]) -> str:
    """Return a workflow of the envelope as SVG. Names are text, whatever is in them."""
    sheet = lay_out(workflow)
    name = plain(str(workflow.get("name") or workflow.get("class_name") or "workflow"))[:200]
    frames = [box for box in sheet.boxes if box.kind.startswith("frame")]
    others = [box for box in sheet.boxes if not box.kind.startswith("frame")]
    size = f"{_n(sheet.width)} {_n(sheet.height)}"
    width, height = size.split()
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {size}" role="img">',
        f"<title>{escape(name)}</title><style>{_STYLE}</style>",
        _HEAD,
        f'<rect class="ground" width="{width}" height="{height}"/>',
        *(_box(box) for box in frames),
        *(_edge(kind, points) for kind, points in sheet.lines),
        *(_box(box) for box in others),
        "</svg>",
    ]
    return "\n".join(parts)


def _box(box: Box) -> str:
    x, y, width, height = (_n(value) for value in (box.x, box.y, box.width, box.height))
    middle = box.x + box.width / 2
    match box.kind:
        case "start" | "end":
            radius = _n(box.width / 2 - 1)
            return f'<circle class="box {box.kind}" cx="{_n(middle)}" cy="{_n(box.y + box.height / 2)}" r="{radius}"/>'
        case "bar":
            line = f'<rect class="bar" x="{x}" y="{_n(box.y + 17)}" width="{width}" height="4" rx="2"/>'
            return line + _words("small", middle, box.y + 10, box.title)
        case "gate" if not box.title:
            place = f"translate({_n(middle)} {_n(box.y + 13)}) rotate(45)"
            return f'<rect class="box" x="-8.5" y="-8.5" width="17" height="17" rx="4" transform="{place}"/>'
        case _:
            corner = min(14 if box.kind.startswith("frame") else 11, box.height / 2)
            shape = f'<rect class="box {box.kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="{_n(corner)}"/>'
            return shape + _inside(box, middle)


def _inside(box: Box, middle: float) -> str:
    if box.kind.startswith("frame"):
        return _words("left", box.x + 16, box.y + 22, box.title)
    if box.kind == "card" and box.detail:
        return _words("", middle, box.y + 21, box.title) + _words("small", middle, box.y + 37, box.detail)
    kind = "code" if box.kind in {"label", "chip"} else ""
    return _words(kind, middle, box.y + box.height / 2 + 4.5, box.title)


def _words(kind: str, x: float, y: float, text: str) -> str:
    return f'<text class="{kind}" x="{_n(x)}" y="{_n(y)}">{escape(plain(text))}</text>' if text else ""


def _edge(kind: str, points: Sequence[Point]) -> str:
    head = ' marker-end="url(#head)"' if "arrow" in kind else ""
    return f'<path class="edge {kind}" d="{_path(points)}"{head}/>'


def _path(points: Sequence[Point]) -> str:
    """Return a line at right angles with rounded corners."""
    path = f"M{_n(points[0][0])} {_n(points[0][1])}"
    for before, (x, y), after in zip(points, points[1:], points[2:], strict=False):
        size = min(_RADIUS, _length(before, (x, y)) / 2, _length((x, y), after) / 2)
        path += f"L{_n(x - _sign(x - before[0]) * size)} {_n(y - _sign(y - before[1]) * size)}"
        path += f"Q{_n(x)} {_n(y)} {_n(x + _sign(after[0] - x) * size)} {_n(y + _sign(after[1] - y) * size)}"
    return path + f"L{_n(points[-1][0])} {_n(points[-1][1])}"


def _length(one: Point, other: Point) -> float:
    return abs(one[0] - other[0]) + abs(one[1] - other[1])


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def _n(value: float) -> str:
    return f"{round(value, 1):g}" if abs(value) < 1e5 else str(round(value))


def plain(text: str) -> str:
    """Return a text without what XML cannot say, and without marks that turn the direction of what follows."""
    return "".join(
        each if unicodedata.category(each) not in {"Cc", "Cf", "Cs", "Cn"} else "\ufffd" for each in text
    )
