"""Server-sent events as bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from stagelight_collector.rooms.channel import Message

HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}


@dataclass(slots=True)
class Events:
    """Messages as server-sent events (HTML standard, section 9.2), in chunks of HTTP/1.1 where asked for."""

    epoch: Callable[[], str]
    """What ids begin with; it changes when the bus begins other numbers."""
    chunked: bool = False

    def frame(self, message: Message) -> bytes:
        """Return a message with its id."""
        return self._chunk(
            b"id: %b-%d\nevent: %b\ndata: %b\n\n"
            % (self.epoch().encode(), message.seq, message.type.encode(), message.data)
        )

    def frame_without_id(self, message: Message) -> bytes:
        """Return a message that nobody may resume after."""
        return self._chunk(b"event: %b\ndata: %b\n\n" % (message.type.encode(), message.data))

    def still_here(self) -> bytes:
        """Return a comment."""
        return self._chunk(b": still here\n\n")

    def _chunk(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self.chunked else data
