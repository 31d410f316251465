"""Patterns: functions that are steps and workflows without saying so, as `stagelight run --step 'shop.orders:load_*'` names them."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SCRIPT: Final = "__main__"


@dataclass(frozen=True, slots=True)
class Patterns:
    """What is named: `module.path:function`, `Class.method` for methods, `*` and `?` on both sides of the colon."""

    steps: Sequence[str] = ()
    workflows: Sequence[str] = ()

    def kind(self, modules: Iterable[str], qualname: str) -> str:
        """Return what a function is, of a module that may have several names: `step`, `workflow` or nothing."""
        names = list(modules)
        for kind, patterns in (("workflow", self.workflows), ("step", self.steps)):
            if any(_names(pattern, module, qualname) for pattern in patterns for module in names):
                return kind
        return ""

    @property
    def script(self) -> bool:
        """Whether the program is a run of its own: there are steps, and no workflow is named."""
        return bool(self.steps) and not self.workflows


def _names(pattern: str, module: str, qualname: str) -> bool:
    of, _, function = pattern.partition(":")
    return (
        fnmatchcase(module, of)
        and fnmatchcase(qualname, function)
        and qualname.count(".") == function.count(".")
    )
