"""The plugin interface: `hookimpl` marks the functions that a plugin author writes."""

from __future__ import annotations

from typing import Final

import pluggy

hookimpl: Final = pluggy.HookimplMarker("stagelight")
"""Marks a function or method as an implementation of a hook in `stagelight_plugins.hookspecs`."""

__all__ = ["hookimpl"]
