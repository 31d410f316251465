"""The interpreter's command line: what `python …` is told to run, as apart from what it hands on to that program.

Standard library only.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_WITH_VALUE: Final = "WX"
_DEAF: Final = "IES"
"""Options that keep `PYTHONPATH` or `sitecustomize`, by which the agent comes in, out of the interpreter."""
_LONG_WITH_VALUE: Final = "--check-hash-based-pycs"


class Target(NamedTuple):
    """What an interpreter runs."""

    kind: Literal["script", "module", "code", "input"]
    name: str = ""
    """The script's path, or the module's dotted name; empty for code and for what comes from standard input."""
    deaf: str = ""
    """The option, such as `-I`, with which the interpreter does not let the agent in; empty if there is none."""

    @property
    def title(self) -> str:
        """What people call it: the script's name without its suffix, the module's last part, else `python`."""
        if self.kind == "module":
            return self.name.rpartition(".")[2] or "python"
        return Path(self.name).stem or "python"


def target(arguments: Sequence[str]) -> Target:
    """Read an interpreter's arguments, without its own name, up to what it runs; all behind that is the program's."""
    deaf = ""
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            return _script(next(rest, ""), deaf)
        if argument.startswith("--"):
            if argument == _LONG_WITH_VALUE:
                next(rest, None)
            continue
        if not argument.startswith("-") or argument == "-":
            return _script(argument, deaf)
        letter, value = _stop(argument[1:])
        deaf = deaf or next((f"-{flag}" for flag in _flags(argument[1:]) if flag in _DEAF), "")
        if letter == "m":
            return Target("module", value or next(rest, ""), deaf)
        if letter == "c":
            return Target("code", deaf=deaf)
        if letter and not value:
            next(rest, None)
    return Target("input", deaf=deaf)


def _script(name: str, deaf: str) -> Target:
    return Target("input", deaf=deaf) if name in {"", "-"} else Target("script", name, deaf)


def _flags(letters: str) -> str:
    """Return the letters of a group, such as `-uI`, that take no value."""
    end = next((place for place, letter in enumerate(letters) if letter in "mc" + _WITH_VALUE), len(letters))
    return letters[:end]


def _stop(letters: str) -> tuple[str, str]:
    """Return the letter that ends a group because it takes a value, and the value if it is attached (`-Xdev`)."""
    end = len(_flags(letters))
    return letters[end : end + 1], letters[end + 1 :]
