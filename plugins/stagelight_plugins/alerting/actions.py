"""Action links: signed, expiring, single-use addresses that act on a run. Off unless switched on.

Whoever holds a link may use it once: it is as good as a password, so it is only in messages and says nothing but what
it does. Opening it only shows a page that asks; a preview of a chat or a scanner of mail presses no button.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import logging
import os
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stagelight.conventions import EventType
from stagelight.events import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from stagelight_plugins.alerting.state.store import Store
    from stagelight_plugins.hookspecs import Actions, Collector, Notification

WORDS: Final = {"approve": "Approve", "reject": "Reject", "retry": "Retry", "skip": "Skip the step"}
KEY_BYTES: Final = 32

_log = logging.getLogger(__name__)


class LinkRefused(Exception):
    """A link that does nothing; the sentence is for whoever opened it."""


@dataclass(frozen=True, slots=True)
class Link:
    """What a link does."""

    id: str
    """Shared by the links of one question: when one was used, the others are, too."""
    action: str
    run: str
    step: str
    workflow: str
    expires: float


@dataclass(slots=True)
class ActionLinks:
    """Makes links, and does what they say."""

    collector: Collector
    store: Store
    actions: Sequence[Actions]
    key: bytes
    base_url: str
    lasts: float
    now: Callable[[], float] = time.time

    async def offer(self, notification: Notification) -> tuple[tuple[str, str], ...]:
        """Return links for the first run of a notification on which something can be done."""
        for alert in notification.alerts:
            run = alert.labels.get("run") or alert.annotations.get("run", "")
            step, workflow = alert.labels.get("step", ""), alert.labels.get("workflow", "")
            offered = await self._offered(workflow, run) if run and alert.status == "firing" else ()
            if offered:
                identity, expires = secrets.token_hex(12), self.now() + self.lasts
                links = (Link(identity, action, run, step, workflow, expires) for action in offered)
                return tuple((WORDS[link.action], self.address(link)) for link in links)
        return ()

    def address(self, link: Link) -> str:
        """Return a link's address."""
        fields = [link.id, link.action, link.run, link.step, link.workflow, int(link.expires)]
        payload = _encoded(json.dumps(fields, separators=(",", ":")).encode())
        return f"{self.base_url}/-/alerting/actions/{payload}.{self._signature(payload)}"

    def read(self, token: str) -> Link:
        """Return what a link does.

        Raises:
            LinkRefused: It is none of ours, or has expired.
        """
        payload, _, signature = token.partition(".")
        if not hmac.compare_digest(self._signature(payload).encode(), signature.encode()):
            raise LinkRefused("This link was not made here, or was changed on its way.")
        identity, action, run, step, workflow, expires = json.loads(_decoded(payload))
        link = Link(identity, action, run, step, workflow, expires)
        if link.expires < self.now():
            raise LinkRefused("This link has expired. Open the run to see how it stands.")
        return link

    async def use(self, link: Link) -> str:
        """Do what a link says, and write it into the run's history; return what was done.

        Raises:
            LinkRefused: It was used before, or cannot be done any more.
        """
        if not await self.store.use_link(link.id, self.now()):
            raise LinkRefused("This was answered already, by this link or another one of the same message.")
        for actions in self.actions:
            if link.action in await actions.offered(link.workflow, link.run):
                try:
                    done = await actions.act(
                        link.action, link.workflow, link.run, step=link.step, reason="link in an alert"
                    )
                except ValueError as error:
                    raise LinkRefused(f"This cannot be done any more: {error}") from error
                await self._note(link)
                return done
        raise LinkRefused("This cannot be done any more. Open the run to see how it stands.")

    async def _note(self, link: Link) -> None:
        said = f"{WORDS[link.action]}: done by a link in an alert"
        event = Event(
            type=EventType.LOG, run_id=link.run, time=int(self.now() * 1e9), workflow=link.workflow, message=said,
            severity="INFO", attributes={"alerting.action": link.action, "alerting.link": link.id},
        )  # fmt: skip
        await self.collector.accept([event])

    async def _offered(self, workflow: str, run: str) -> Sequence[str]:
        for actions in self.actions:
            try:
                offered = [action for action in await actions.offered(workflow, run) if action in WORDS]
            except Exception:  # noqa: BLE001 - a message without links is better than none
                _log.exception("what can be done to run %s is not known", run)
                continue
            if offered:
                return offered
        return ()

    def _signature(self, payload: str) -> str:
        return _encoded(hmac.digest(self.key, payload.encode(), hashlib.sha256))


def link_key(path: Path) -> bytes:
    """Return the key of this collector's links, made at first; only its owner can read the file."""
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        key = b""
    if len(key) == KEY_BYTES:
        return key
    # Written beside and renamed: with a key that a crash left empty, anybody could sign.
    key, beside = secrets.token_bytes(KEY_BYTES), path.with_suffix(".new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(descriptor)
    beside.replace(path)
    return key


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> Any:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as error:
        raise LinkRefused("This link is not whole.") from error
