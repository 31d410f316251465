"""The distro: how `stagelight run` and `opentelemetry-instrument` find the agent."""

from __future__ import annotations

import contextlib
import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.instrumentation.distro import BaseDistro  # type: ignore[attr-defined]  # the module is untyped
from opentelemetry.sdk import _configuration

from stagelight import runtime, settings
from stagelight.guard import guard, say_once
from stagelight.standin import slots
from stagelight.standin.loggers import StandInLoggers
from stagelight.standin.meters import StandInMeters
from stagelight.standin.tracers import StandInTracers

if TYPE_CHECKING:
    from collections.abc import Generator

_EXPORTER: Final = "OTEL_TRACES_EXPORTER"
_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"


class StagelightDistro(BaseDistro):  # type: ignore[misc]  # as above
    """Sets defaults where the environment is silent."""

    def _configure(self, **kwargs: Any) -> None:
        del kwargs
        if not settings.is_disabled():
            os.environ.setdefault("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")


# The underscore notwithstanding, it says of itself that distros should subclass it.
class StagelightConfigurator(_configuration._OTelSDKConfigurator):  # noqa: SLF001 - as it says  # pyright: ignore[reportPrivateUsage]
    """Sets the SDK up as the environment asks, with the agent's processor in place of the batch processor."""

    def _configure(self, **kwargs: Any) -> None:
        if settings.is_disabled():
            return
        if not os.environ.get(runtime.CONFIG_FILE):  # else the runtime does as the file says
            self._by_variables(kwargs)
        with guard("configurator"):
            runtime.configure()
        with guard("program"):
            from stagelight import program  # only here is the whole program ours to watch

            program.watch()
        with guard("sitecustomize"):
            _run_shadowed()

    def _by_variables(self, kwargs: dict[str, Any]) -> None:
        try:
            with _varied(), slots.adopting(StandInTracers, StandInLoggers, StandInMeters):
                attributes = dict(runtime.resource().attributes)
                super()._configure(resource_attributes=attributes, **kwargs)  # type: ignore[no-untyped-call]  # pyright: ignore[reportUnknownMemberType]  # upstream is untyped here
        except (
            Exception
        ) as error:  # a variable that asks for what is not there; runs and steps are recorded all the same
            say_once("variables", "OpenTelemetry is not set up as OTEL_* asks: %s", error)


def _run_shadowed() -> None:
    """Run the `sitecustomize` that OpenTelemetry's own, first on the path, has put in the shade."""
    shown = getattr(sys.modules.get("sitecustomize"), "__file__", None)
    if shown is None:
        return
    behind = [entry for entry in sys.path if Path(entry).resolve() != Path(shown).resolve().parent]
    spec = PathFinder.find_spec("sitecustomize", behind)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(module_from_spec(spec))


@contextlib.contextmanager
def _varied() -> Generator[None]:
    """Change the environment for the configurator.

    It would add a second exporter for the spans that our processor sends; and metrics go where spans and records go.
    """
    before = {name: os.environ.get(name) for name in (_EXPORTER, _ENDPOINT)}
    os.environ.pop(_EXPORTER, None)
    if not before[_ENDPOINT] and (found := settings.endpoint()):
        os.environ[_ENDPOINT] = found
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
