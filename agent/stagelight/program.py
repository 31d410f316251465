"""The program: what `stagelight run` watches beyond decorated code."""

from __future__ import annotations


def watch() -> None:
    """Start watching."""
