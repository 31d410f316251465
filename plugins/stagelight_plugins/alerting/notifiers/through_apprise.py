"""Apprise, for the rest: some 180 services. It opens its own connections, in threads, by its own rules."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from stagelight_plugins.errors import DeliveryFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stagelight_plugins.hookspecs import Notification

THREADS: Final = 4


def _threads() -> ThreadPoolExecutor:
    # Its own: in those that everybody shares, a service that hangs would keep others from writing their files.
    return ThreadPoolExecutor(THREADS, thread_name_prefix="apprise")


@dataclass(slots=True)
class AppriseNotifier:
    """Sends to addresses of Apprise."""

    urls: Sequence[str]
    _pool: ThreadPoolExecutor = field(default_factory=_threads)

    async def send(self, notification: Notification) -> None:
        """Send it to all of them; where one does not take it, all are sent it again."""
        loop = asyncio.get_running_loop()
        if not await loop.run_in_executor(self._pool, self._notify, notification):
            raise DeliveryFailed("Apprise could not deliver it; its own log says why")

    async def close(self) -> None:
        """Begin nothing more; what hangs ends by Apprise's own timeouts."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _notify(self, notification: Notification) -> bool:
        import apprise  # noqa: PLC0415 - an extra of its own

        sender: Any = apprise.Apprise()  # its methods are not typed
        for url in self.urls:
            if not sender.add(url):
                raise DeliveryFailed("Apprise does not know one of the addresses", final=True)
        kind = apprise.NotifyType.FAILURE if notification.status == "firing" else apprise.NotifyType.SUCCESS
        text = f"{notification.text}\n{notification.url}"
        return bool(
            sender.notify(
                title=notification.title, body=text, notify_type=kind, body_format=apprise.NotifyFormat.TEXT
            )
        )
