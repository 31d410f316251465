"""Cursors of lists: a place in the order of creation, with the filters, in one opaque word."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import orjson

from stagelight_plugins.engine.errors import Invalid
from stagelight_plugins.engine.store.sqlite import STATUSES


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """Where a page begins."""

    workflow: str
    status: tuple[str, ...]
    created_from: int
    created_to: int
    direction: str
    place: int = 0
    """The seq of the instance before the page (after it, where the page is a previous one); 0 for the first page."""
    back: bool = False

    def text(self, *, place: int, back: bool = False) -> str:
        """Return the cursor of another page."""
        parts = [
            self.workflow,
            self.status,
            self.created_from,
            self.created_to,
            self.direction,
            place,
            int(back),
        ]
        return base64.urlsafe_b64encode(orjson.dumps(parts)).decode().rstrip("=")

    @classmethod
    def read(cls, text: str, workflow: str) -> Cursor:
        """Read what `text` wrote.

        Raises:
            Invalid: It is none of ours, or another workflow's.
        """
        refusal = Invalid("the cursor is none of this list; begin again without one")
        try:
            parts: list[Any] = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            name, status, created_from, created_to, direction, place, back = parts
            known = set(status) <= set(STATUSES)
        except (ValueError, TypeError, binascii.Error):
            raise refusal from None
        numbers = all(isinstance(number, int) for number in (created_from, created_to, place, back))
        if not (known and numbers) or name != workflow or direction not in {"asc", "desc"}:
            raise refusal
        return cls(
            workflow=name,
            status=tuple(status),
            created_from=created_from,
            created_to=created_to,
            direction=direction,
            place=place,
            back=bool(back),
        )
