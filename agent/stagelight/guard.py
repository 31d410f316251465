"""The guard: a fault of the agent is counted and logged once, and the host program never notices.

Standard library only.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

P = ParamSpec("P")
R = TypeVar("R")
D = TypeVar("D")

LOGGER: Final = logging.getLogger("stagelight")
"""Everything the agent has to say goes here, and nothing of it is ever sent to the collector."""
if LOGGER.level == logging.NOTSET:  # OpenTelemetry's own default; `OTEL_LOG_LEVEL` changes it
    LOGGER.setLevel(logging.INFO)

_MOST_PLACES: Final = 256
_lock = threading.RLock()
_faults: Final[dict[str, int]] = {}
_said: Final[set[str]] = set()


def report(place: str, fault: BaseException) -> None:
    """Count a fault of the agent; log the first one of each place, quietly.

    Never raises, whatever the fault's own text does when it is asked for.
    """
    try:
        with _lock:
            known = place in _faults or len(_faults) < _MOST_PLACES
            key = place if known else "elsewhere"
            _faults[key] = count = _faults.get(key, 0) + 1
        if count == 1:
            LOGGER.warning(
                "stagelight: a fault in %s (%s) was contained; further ones are only counted",
                key,
                type(fault).__name__,
                exc_info=LOGGER.isEnabledFor(logging.DEBUG),
            )
    except Exception:  # noqa: S110 - the last line of defence has nobody left to tell
        pass


def say_once(topic: str, text: str, *values: object) -> None:
    """Warn of a mistake in the host's use of the agent, the first time for each topic; at most 256 topics. Never raises."""
    try:
        with _lock:
            if topic in _said or len(_said) >= _MOST_PLACES:
                return
            _said.add(topic)
        LOGGER.warning(f"stagelight: {text}", *values)  # noqa: G004 - the text is a constant of ours
    except Exception:  # noqa: S110 - as above
        pass


def listen(level: int) -> None:
    """Let what the agent and OpenTelemetry say of themselves be heard from this level of `logging` on.

    It goes to stderr for as long as the program itself has not said where its log goes.
    """
    handler = logging.StreamHandler()
    handler.addFilter(lambda _record: not logging.root.handlers)
    for logger in (LOGGER, logging.getLogger("opentelemetry")):
        logger.setLevel(level)
        if not logger.handlers:
            logger.addHandler(handler)


def _after_fork() -> None:
    """Give a forked child a lock that nobody holds."""
    global _lock  # noqa: PLW0603 - a lock cannot be renewed in place
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def faults() -> int:
    """Return how many faults were contained since the process started."""
    return sum(_faults.copy().values())


def faults_by_place() -> dict[str, int]:
    """Return the contained faults by the place where they happened."""
    return _faults.copy()


class guard:  # noqa: N801 - used like a keyword: `with guard("…"):`
    """Contain every `Exception` of a block; `KeyboardInterrupt` and its like pass.

    Only for blocks that hold no code of the user's: what is contained is gone.
    """

    __slots__ = ("_place",)

    def __init__(self, place: str) -> None:
        self._place = place

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if fault is None or not isinstance(fault, Exception):
            return False
        report(self._place, fault)
        return True


def guarded(place: str, default: D) -> Callable[[Callable[P, R]], Callable[P, R | D]]:
    """Make a function return `default` when it raises."""

    def decorate(function: Callable[P, R]) -> Callable[P, R | D]:
        @functools.wraps(function)
        def contained(*args: P.args, **kwargs: P.kwargs) -> R | D:
            try:
                return function(*args, **kwargs)
            except Exception as fault:  # containing is the point
                report(place, fault)
                return default

        return contained

    return decorate
