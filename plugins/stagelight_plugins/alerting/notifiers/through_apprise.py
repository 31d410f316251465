"""Apprise, for the rest: some 180 services. It opens its own connections, in threads, by its own rules."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stagelight_plugins.errors import DeliveryFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stagelight_plugins.hookspecs import Notification


@dataclass(slots=True)
class AppriseNotifier:
    """Sends to addresses of Apprise."""

    urls: Sequence[str]

    async def send(self, notification: Notification) -> None:
        """Send it to all of them; where one does not take it, all are sent it again."""
        if not await asyncio.to_thread(self._notify, notification):
            raise DeliveryFailed("Apprise could not deliver it; its own log says why")

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
