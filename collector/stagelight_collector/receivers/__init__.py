"""A request becomes journal entries: content types, gzip, limits and status bodies, to the letter of OTLP."""

from __future__ import annotations

from stagelight_collector.receivers.counters import ReceiverCounters
from stagelight_collector.receivers.limits import RUNNER_OPTIONS, Limits
from stagelight_collector.receivers.otlp_grpc import GrpcServer
from stagelight_collector.receivers.otlp_http import Ingest, Receiver, routes

__all__ = ["RUNNER_OPTIONS", "GrpcServer", "Ingest", "Limits", "Receiver", "ReceiverCounters", "routes"]
