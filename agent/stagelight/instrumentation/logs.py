"""`logging`: records made inside a run become log lines of the current step."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from stagelight.guard import LOGGER, report
from stagelight.scope import current

if TYPE_CHECKING:
    from collections.abc import Callable

    from stagelight.scope import Scope

_OWN: Final = ("stagelight", "opentelemetry", "urllib3")
_OFF: Final = "off"
_ORIGINAL: Final = "_stagelight_original"
_installed: list[logging.Handler] = []


class _LineHandler(logging.Handler):
    """Hands records to the current scope. Never raises, and never asks a record for more than its message."""

    def __init__(self, level: int, otherwise: Callable[[], Scope | None]) -> None:
        super().__init__(level)
        self._otherwise = otherwise

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if record.name.partition(".")[0].startswith(_OWN):
                return
            scope = current() or self._otherwise()
            if scope is not None:
                scope.log(record.getMessage(), record.levelname, logger=record.name)
        except Exception as fault:  # a bad format string is the user's, and logging says it itself
            report("logging", fault)


def instrument(level: str = "INFO", otherwise: Callable[[], Scope | None] = current) -> None:
    """Listen to all loggers from a level on; `off` listens to nothing. `otherwise` gives a scope outside any run."""
    if _installed or level.strip().lower() == _OFF:
        return
    number = logging.getLevelNamesMapping().get(level.strip().upper())
    if number is None:
        LOGGER.warning("STAGELIGHT_LOG_LEVEL=%r is no level: use DEBUG, INFO, WARNING, ERROR or off", level)
        number = logging.INFO
    handler = _LineHandler(number, otherwise)
    _installed.append(handler)
    _watch(handler)


def _watch(handler: logging.Handler) -> None:
    """Listen in `Logger.callHandlers`.

    A handler on the root logger would change what the program prints: `basicConfig` does nothing once there is one, and
    logging's last resort is silent.
    """
    original = logging.Logger.callHandlers

    def callHandlers(self: logging.Logger, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        if record.levelno >= handler.level:
            handler.handle(record)
        original(self, record)

    setattr(callHandlers, _ORIGINAL, original)
    logging.Logger.callHandlers = callHandlers  # type: ignore[method-assign]  # that is what patching is


def uninstrument() -> None:
    """Stop listening, unless somebody else has patched over it since."""
    original = getattr(logging.Logger.callHandlers, _ORIGINAL, None)
    if original is not None:
        logging.Logger.callHandlers = original  # type: ignore[method-assign]  # as above
        _installed.clear()
