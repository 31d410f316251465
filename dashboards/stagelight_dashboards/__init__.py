"""What people look at: the live page, built into this package, and the Grafana dashboards."""

from __future__ import annotations

from stagelight_dashboards.manifest import StaticFile, static_files

__all__ = ["StaticFile", "static_files"]
