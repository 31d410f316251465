"""The agent's errors. None of them ever reaches the host program; they say what is wrong in the log.

StagelightError
├── MissingExporterError
└── UnusableProviderError
"""

from __future__ import annotations


class StagelightError(Exception):
    """The base of every error of the agent."""


class MissingExporterError(StagelightError):
    """An exporter was asked for by `OTEL_*` and is not installed."""

    def __init__(self, wanted: str, package: str) -> None:
        self.wanted = wanted
        self.package = package
        super().__init__(f"{wanted} needs a package that is not installed: pip install {package}")


class UnusableProviderError(StagelightError):
    """The global tracer provider is not an SDK one, so nothing can be recorded through it."""

    def __init__(self, provider: str) -> None:
        self.provider = provider
        super().__init__(
            f"the tracer provider {provider} takes no span processor; pass an SDK one to stagelight.configure(tracer_provider=…)"
        )
