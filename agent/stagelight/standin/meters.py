"""Meters: as with tracers, down to each instrument."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from opentelemetry.metrics import Asynchronous
from opentelemetry.metrics._internal import _ProxyMeter  # pyright: ignore[reportPrivateUsage]  # its instruments can change
from opentelemetry.sdk.metrics import MeterProvider

from stagelight.standin import slots

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter


class _Instruments(WeakSet[Any]):
    """The instruments of a meter; each works from the moment it is added. Who observes is kept, as the SDK does."""

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self._meter = meter
        self._observing: list[Any] = []

    def append(self, instrument: Any) -> None:
        """Add an instrument."""
        instrument.on_meter_set(self._meter)
        self.add(instrument)
        if isinstance(instrument, Asynchronous):
            self._observing.append(instrument)


class StandInMeters(MeterProvider):
    """Makes the meters of the program until it has a provider of its own; their instruments move over."""

    slot = slots.METRICS
    successor: Any = None

    @classmethod
    def hold(cls, provider: MeterProvider) -> None:
        """Let a provider that nobody has seen yet stand in for the program's."""
        provider.__class__ = cls
        vars(provider)["_handed_out"] = {}
        slots.hold(cls.slot, provider)

    def stand_aside(self, successor: Any) -> None:
        """Give everything over to the program's own provider."""
        self.successor = successor
        for meter in list(vars(self)["_handed_out"].values()):
            meter.on_set_meter_provider(successor)

    def get_meter(
        self,
        name: str,
        version: str | None = None,
        schema_url: str | None = None,
        attributes: Any = None,
    ) -> Meter:
        """Return a meter whose instruments can change their provider."""
        if self.successor is not None:
            made: Meter = self.successor.get_meter(name, version, schema_url, attributes)
            return made
        known: dict[Any, Meter] = vars(self)["_handed_out"]
        key = (name, version, schema_url, str(attributes))
        if key not in known:
            meter = _ProxyMeter(name, version, schema_url)
            vars(meter)["_instruments"] = _Instruments(
                super().get_meter(name, version, schema_url, attributes)
            )
            known[key] = meter
        return known[key]
