"""Workflow Live: the routes, rooms and messages of the article, on top of Stagelight's runs.

What speaks Workflow Live's protocol works unchanged, and each of its workflows is an ordinary run.
"""

from __future__ import annotations

from stagelight_plugins.workflow_live.plugin import WorkflowLive

plugin = WorkflowLive()
register_receivers = plugin.register_receivers
register_routes = plugin.register_routes
shutdown = plugin.shutdown
