"""OpenTelemetry's loggers: as with tracers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry._logs._internal import ProxyLogger
from opentelemetry.sdk._logs import LoggerProvider

from stagelight.standin import slots

if TYPE_CHECKING:
    from opentelemetry._logs import Logger


class _Logger(ProxyLogger):
    """A logger of whichever provider is in charge."""

    def __init__(self, stand_in: StandInLoggers, scope: tuple[Any, ...]) -> None:
        super().__init__(*scope)

        def make(provider: Any) -> Logger:
            made: Logger = stand_in.own(scope) if provider is stand_in else provider.get_logger(*scope)
            return made

        self._latest = slots.Latest(stand_in, make)

    @property
    def _logger(self) -> Logger:
        return self._latest()


class StandInLoggers(LoggerProvider):
    """Makes OpenTelemetry's loggers until the program has a provider of its own."""

    slot = slots.LOGS
    successor: Any = None

    @classmethod
    def hold(cls, provider: LoggerProvider) -> None:
        """Let a provider that nobody has seen yet stand in for the program's."""
        provider.__class__ = cls
        slots.hold(cls.slot, provider)

    def stand_aside(self, successor: Any) -> None:
        """Give everything over to the program's own provider."""
        self.successor = successor

    def own(self, scope: tuple[Any, ...]) -> Logger:
        """Return the SDK's own logger."""
        return super().get_logger(*scope)

    def get_logger(
        self,
        name: str,
        version: str | None = None,
        schema_url: str | None = None,
        attributes: Any = None,
    ) -> Logger:
        """Return a logger of whichever provider is in charge."""
        return _Logger(self, (name, version, schema_url, attributes))
