"""The end of a WebSocket, which must come even where the other side takes nothing any more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from aiohttp import web

SECONDS: Final = 3.0
"""How long a goodbye may take."""


async def say_goodbye(
    socket: web.WebSocketResponse, request: web.Request, *, code: int, message: bytes
) -> None:
    """Close a WebSocket with a code and a reason; who does not take them in time is cut off.

    Closing waits for the other side, and so does a transport that has something left to write: without a cut, a peer
    that reads nothing keeps its place for as long as it likes.
    """
    transport = request.transport
    if transport is None:
        return
    cut = asyncio.get_running_loop().call_later(SECONDS, _cut, transport)
    # In a task of its own: a write that was given up before makes aiohttp raise CancelledError in the next one.
    await asyncio.wait({asyncio.ensure_future(socket.close(code=code, message=message, drain=False))})
    if not transport.get_write_buffer_size():
        cut.cancel()


def _cut(transport: asyncio.WriteTransport) -> None:
    if transport.get_write_buffer_size():
        transport.abort()
