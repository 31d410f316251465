"""The agent's errors. None of them ever reaches the host program; they say what is wrong in the log.

StagelightError
├── MissingPackageError
├── NoTracesError
├── UnusableEndpointError
└── UnusableProviderError
"""

from __future__ import annotations


class StagelightError(Exception):
    """The base of every error of the agent."""


class MissingPackageError(StagelightError):
    """What `OTEL_*` asks for is in a package that is not installed."""

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


class UnusableEndpointError(StagelightError):
    """An endpoint for OTLP over HTTP is no URL."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        super().__init__(
            f"the collector's address {endpoint!r} is no URL; write http://{endpoint.lstrip('/')}"
        )


class NoTracesError(StagelightError):
    """The file of `OTEL_CONFIG_FILE` is there and sets up no tracer provider."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(
            f"OTEL_CONFIG_FILE={path} sets up no traces; give it a tracer_provider, or leave the variable out"
        )
