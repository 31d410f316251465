"""The neutral tree: what JavaScript and Python have in common, as the graph builder needs it.

A front end makes these nodes and nothing else. Bodies of functions and classes are made when they are first asked for,
so that a bundle of a megabyte costs only what a workflow reaches.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Node:
    """A place in the source: byte offsets."""

    start: int = field(default=0, kw_only=True)
    end: int = field(default=0, kw_only=True)


# Expressions


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Name(Node):
    """A name that scope resolves; also a pattern."""

    id: str


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Literal(Node):
    """A string, a number, a boolean or nothing."""

    value: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Template(Node):
    """Text with holes."""

    parts: Sequence[str | Node]


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Sequenced(Node):
    """Expressions in order, of which the last is the value: `a, b`, and whatever has parts but no meaning of its own."""

    items: Sequence[Node]
    opaque: bool = False
    """The value is not that of the last item."""


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class ArrayOf(Node):
    """A list, tuple or set; also a pattern."""

    items: Sequence[Node | None]


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Entry(Node):
    """A member of an object: a fixed or computed key; `...value` where there is neither. `getter` is called when read."""

    key: str | Node | None
    value: Node
    getter: bool = False


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class ObjectOf(Node):
    """An object or dictionary; also a pattern."""

    entries: Sequence[Entry]


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Spread(Node):
    """`...value` or `*value`; as a pattern, the rest."""

    value: Node


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Default(Node):
    """A pattern with a default."""

    pattern: Node
    value: Node


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Member(Node):
    """`value.name` or `value[name]`."""

    value: Node
    name: str | Node


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Call(Node):
    """A call; `keywords` are Python's."""

    callee: Node
    arguments: Sequence[Node]
    keywords: Sequence[tuple[str | None, Node]] = ()
    new: bool = False


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Await(Node):
    """Waits for a value."""

    value: Node


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Yield(Node):
    """Hands a value out of a generator."""

    value: Node | None


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Conditional(Node):
    """`test ? then : otherwise`."""

    test: Node
    then: Node
    otherwise: Node


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Logical(Node):
    """`left && right`, `||` or `??`."""

    operator: str
    left: Node
    right: Node


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Binary(Node):
    """`left operator right`."""

    operator: str
    left: Node
    right: Node


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Unary(Node):
    """`operator value`."""

    operator: str
    value: Node


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Assign(Node):
    """`target operator value`."""

    target: Node
    value: Node
    operator: str = "="


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Special(Node):
    """`this` or `super`."""

    kind: str


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Comprehension(Node):
    """Python's loops in an expression."""

    value: Node
    clauses: Sequence[tuple[Node, Node, Sequence[Node], bool]]
    """Target, iterable, conditions, whether it is `async for`."""


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Parameter(Node):
    """A parameter: a pattern, and what the language says of it."""

    pattern: Node
    default: Node | None = None
    rest: str = ""
    """`*` or `**`."""
    field: str = ""
    """The field that TypeScript's `constructor(private x)` sets."""


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Function(Node):
    """A function, method, arrow or lambda."""

    name: str
    parameters: Sequence[Parameter]
    body: Callable[[], Sequence[Node]]
    asynchronous: bool = False
    generator: bool = False
    arrow: bool = False
    """It has no `this` of its own."""
    decorators: Sequence[Node] = ()
    hoisted: Sequence[str] = ()
    """Names that are local although their first assignment stands in a block."""
    words: Sequence[str] = ()
    """The texts that its annotation says it returns."""


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Property(Node):
    """A member of a class."""

    key: str
    value: Node | None
    computed: Node | None = field(default=None, kw_only=True)
    """What the key is where it is not fixed."""
    static: bool = False
    getter: bool = False
    bound: bool = False
    """It gets the class as its first argument."""
    initializer: bool = False
    """Evaluated for each instance (a field), or once (a static block)."""


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Class(Node):
    """A class."""

    name: str
    bases: Sequence[Node]
    members: Callable[[], Sequence[Property]]
    abstract: bool = False
    decorators: Sequence[Node] = ()


# Statements


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Declare(Node):
    """`const pattern = value`; `function` and `class` too, known in the whole block (`hoisted`)."""

    pattern: Node
    value: Node | None
    hoisted: bool = False


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Block(Node):
    """Statements with a scope of their own."""

    body: Sequence[Node]
    label: str = ""


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class If(Node):
    """A chain of tests; a test that is None is `else`."""

    branches: Sequence[tuple[Node | None, Sequence[Node]]]


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Loop(Node):
    """Any loop."""

    kind: str
    body: Sequence[Node]
    before: Sequence[Node] = ()
    """Runs once, before."""
    test: Node | None = None
    """Runs before each round; after it, where `kind` is `do`."""
    after: Sequence[Node] = ()
    """Runs after each round."""
    target: Node | None = None
    iterable: Node | None = None
    finally_: Sequence[Node] = ()
    """Python's `else`."""


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Case(Node):
    """One case; a value that is None is the default."""

    value: Node | None
    text: str
    body: Sequence[Node]
    names: Sequence[str] = ()


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Switch(Node):
    """`switch` and `match`; Python's cases do not fall through."""

    value: Node
    cases: Sequence[Case]


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Try(Node):
    """A try block; a handler may bind a pattern."""

    body: Sequence[Node]
    handlers: Sequence[tuple[Node | None, Sequence[Node]]] = ()
    final: Sequence[Node] | None = None


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class With(Node):
    """`with value as target`."""

    items: Sequence[tuple[Node, Node | None]]
    body: Sequence[Node]


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Leave(Node):
    """`return`, `throw`, `break` and `continue`."""

    kind: str
    value: Node | None = None
    label: str = ""


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Import(Node):
    """Names from a module: (name there, name here); `*` is the module itself."""

    module: str
    names: Sequence[tuple[str, str]]
