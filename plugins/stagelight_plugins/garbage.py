"""Garbage collection in a process that serves: next to none while it starts, then rarer, and never over what stays anyway."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator

STARTING: Final = 200_000
"""New objects before the youngest generation is looked through in a start: more than one makes, unless it has much to read again."""
THRESHOLDS: Final = (20_000, 4, 250)
"""New objects, then rounds of the younger generations, before each generation is looked through. With 20 rounds the middle one took
160 ms where most objects stay, as those of rooms do."""


@contextmanager
def left() -> Generator[None]:
    """Look through nothing while modules are imported: they make much that stays and next to no garbage."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def starting() -> Generator[None]:
    """Look through next to nothing while a server starts, and then as `quieten` says.

    Nothing is collected at the end: that took 100 ms of a start, and one object in forty was garbage.
    """
    before = gc.get_threshold()
    gc.set_threshold(STARTING)
    try:
        yield
    except BaseException:
        gc.set_threshold(*before)
        raise
    _leave_alone()


def quieten() -> None:
    """Leave alone what start-up made, and look for cycles less often.

    A full collection stops every viewer: 50 ms with 1,000 of them (measured: the p99 of what they are told fell from 48 to
    15 ms without). What comes and goes with events and requests is freed by counting references.
    """
    gc.collect()
    _leave_alone()


def _leave_alone() -> None:
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
