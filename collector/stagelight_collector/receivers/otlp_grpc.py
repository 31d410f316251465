"""OTLP over gRPC: the same `Export` for each signal, the same limits and the same refusals as over HTTP.

Requests stay bytes until the receiver has counted what is in them, so no generated service code is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped] # it has stubs, but no py.typed

from stagelight_collector.errors import PortTaken
from stagelight_collector.receivers.encoding import PROTOBUF
from stagelight_collector.receivers.services import LOGS, METRICS, TRACES
from stagelight_collector.receivers.status import Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from stagelight_collector.receivers.otlp_http import Receiver
    from stagelight_collector.receivers.services import RequestT, Service

HTTP_PORT: Final = 4318
GRPC_PORT: Final = 4317
"""Taken only beside the usual port of HTTP, so that a second collector does not fight the first for it."""
METADATA_BYTES: Final = 16 << 10
STREAMS: Final = 100
"""Calls at once on one connection."""
DETAILS: Final = "grpc-status-details-bin"


class GrpcServer:
    """Listens from `start` to `stop`."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._grpc: Any = None
        self._server: Any = None

    async def offer(self, host: str, http_port: int, asked: int | None) -> str:
        """Listen where `grpc_port` says; return where that is, or why it is not, in words ("" where nobody asked).

        Raises:
            PortTaken: The port that was asked for. That the usual one is taken stops nobody.
        """
        if asked == -1 or (asked is None and http_port != HTTP_PORT):
            return ""
        where = f"[{host.strip('[]')}]" if ":" in host else host
        try:
            port = await self.start(where, GRPC_PORT if asked is None else asked)
        except OSError as error:
            if asked is not None:
                raise PortTaken(host, asked, "--grpc-port") from error
            return f"Port {GRPC_PORT} is taken, so OTLP over gRPC is off; choose another with --grpc-port."
        return f"OTLP over gRPC is received on {where}:{port}."

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port, which is a free one where 0 was given.

        Raises:
            OSError: It cannot listen there.
        """
        self._grpc = importlib.import_module("grpc")  # 0.1 s and 20 MB: only where it is used
        server = importlib.import_module("grpc.aio").server(
            options=[
                # Of a message as sent, and decompressed.
                ("grpc.max_receive_message_length", self._receiver.limits.body_bytes),
                ("grpc.max_metadata_size", METADATA_BYTES),
                ("grpc.max_concurrent_streams", STREAMS),
                ("grpc.so_reuseport", 0),  # a port that another collector has is taken
            ]
        )
        server.add_generic_rpc_handlers([self._handler(TRACES), self._handler(LOGS), self._handler(METRICS)])
        try:
            found: int = server.add_insecure_port(f"{host}:{port}")
        except RuntimeError as error:
            raise OSError(str(error)) from error
        if not found:
            raise OSError(f"cannot listen on {host}:{port}")
        await server.start()
        self._server = server
        return found

    async def stop(self, seconds: float) -> None:
        """Stop accepting; let what is under way finish for so long. Safe before `start`, and twice."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(seconds)

    def _handler(self, service: Service[RequestT]) -> Any:
        method = self._grpc.unary_unary_rpc_method_handler(self._export(service))
        return self._grpc.method_handlers_generic_handler(service.rpc, {"Export": method})

    def _export(self, service: Service[RequestT]) -> Callable[[bytes, Any], Awaitable[bytes]]:
        codes = {code.value[0]: code for code in self._grpc.StatusCode}

        async def export(body: bytes, context: Any) -> bytes:
            try:
                await self._receiver.take(body, service)
            except Refused as refused:
                status = refused.status()
                if "Retry-After" in refused.headers:
                    retry = RetryInfo()
                    retry.retry_delay.seconds = int(refused.headers["Retry-After"])
                    status.details.add().Pack(retry)
                context.set_trailing_metadata(((DETAILS, PROTOBUF.encode(status)),))
                await context.abort(codes[status.code], status.message)
            return PROTOBUF.encode(service.response())

        return export
