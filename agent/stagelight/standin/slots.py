"""Slots: where OpenTelemetry keeps the provider of each signal, and how they are held for somebody else.

They are private parts of the API. Where they are not as we know them, the provider is set in the public way.
"""

from __future__ import annotations

import contextlib
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from opentelemetry.util._once import Once

from stagelight.guard import guard

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

T = TypeVar("T")


class Slot(NamedTuple):
    """Where the API keeps the provider of one signal, and the lock that lets it be set once."""

    module: str
    provider: str
    once: str
    setter: str


TRACES: Final = Slot(
    "opentelemetry.trace", "_TRACER_PROVIDER", "_TRACER_PROVIDER_SET_ONCE", "set_tracer_provider"
)
LOGS: Final = Slot(
    "opentelemetry._logs._internal", "_LOGGER_PROVIDER", "_LOGGER_PROVIDER_SET_ONCE", "set_logger_provider"
)
METRICS: Final = Slot(
    "opentelemetry.metrics._internal", "_METER_PROVIDER", "_METER_PROVIDER_SET_ONCE", "set_meter_provider"
)


class _Gate(Once):
    """The lock of a slot, still open; tells when somebody has gone through."""

    def __init__(self, then: Callable[[], None]) -> None:
        super().__init__()
        self._then = then

    def do_once(self, func: Callable[[], None]) -> bool:
        """As in the API: say whether `func` was called."""
        did = super().do_once(func)
        if did:
            with guard("stand-in"):
                self._then()
        return did


def hold(slot: Slot, provider: Any) -> None:
    """Put a stand-in into a slot that nobody else has set, and leave the slot open."""
    module = import_module(slot.module)
    if not (isinstance(getattr(module, slot.once, None), Once) and hasattr(module, slot.provider)):
        getattr(module, slot.setter)(provider)
        return

    def stand_aside() -> None:
        successor = getattr(module, slot.provider)
        if successor is not provider:
            provider.stand_aside(successor)

    if _holder(slot) in {None, provider}:
        setattr(module, slot.once, _Gate(stand_aside))
        setattr(module, slot.provider, provider)


def _holder(slot: Slot) -> Any:
    return getattr(import_module(slot.module), slot.provider, None)


@contextlib.contextmanager
def adopting(*stand_ins: Any) -> Generator[None]:
    """Let the SDK's providers that are set inside the block, where none was before, stand in for the program's own."""
    free = [stand_in for stand_in in stand_ins if _holder(stand_in.slot) is None]
    try:
        yield
    finally:
        for stand_in in free:
            found = _holder(stand_in.slot)
            if type(found) is stand_in.__base__:  # and nothing of somebody else's making
                stand_in.hold(found)


class Latest(Generic[T]):
    """Something that the provider in charge makes, made anew once another is in charge."""

    __slots__ = ("_made", "_make", "_of", "_stand_in")

    def __init__(self, stand_in: Any, make: Callable[[Any], T]) -> None:
        self._stand_in = stand_in
        self._make = make
        self._of: Any = stand_in
        self._made: T = make(stand_in)

    def __call__(self) -> T:
        """Return it; cheap for as long as nothing has changed."""
        in_charge = self._stand_in.successor or self._stand_in
        if in_charge is not self._of:
            self._made = self._make(in_charge)
            self._of = in_charge
        return self._made
