"""Why a collector cannot start."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class PortTaken(Exception):
    """Another program listens there."""

    def __init__(self, host: str, port: int, option: str = "--port") -> None:
        super().__init__(
            f"port {port} on {host} is taken, perhaps by another collector; stop it, or choose another with {option}"
        )
        self.port = port


class PortRefused(Exception):
    """The system does not let this process listen there."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(
            f"cannot listen on port {port} of {host} ({reason}); choose a port above 1023 with --port, "
            "or another loopback address with --host"
        )
        self.port = port


class DataDirUnusable(Exception):
    """Nothing can be kept in the data directory."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"the data directory {path} cannot be used ({reason}); choose another with --data-dir"
        )
        self.path = path


class ClickHousePortUnusable(Exception):
    """Clients of ClickHouse cannot be let in at the port that the configuration names."""

    def __init__(self, port: int, reason: str) -> None:
        super().__init__(f"clickhouse_port {port} cannot be used: {reason}, or leave `clickhouse_port` out")
        self.port = port
