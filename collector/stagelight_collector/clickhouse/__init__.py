"""ClickHouse's HTTP interface on the embedded history, read-only: for Grafana, DBeaver, Metabase and any other client.

A port of its own, off unless `clickhouse_port` is set. It speaks as much of the interface as clients need: statements
in the body or in `?query=`, parameters, settings, `default_format`, compression, exception codes and headers
(ClickHouse documentation, "HTTP Interface"). Nothing can be written, and no session is kept.
"""

from __future__ import annotations

from stagelight_collector.clickhouse.interface import ClickHouseInterface

__all__ = ["ClickHouseInterface"]
