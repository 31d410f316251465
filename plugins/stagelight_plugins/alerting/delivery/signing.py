"""Signatures of Standard Webhooks 1.0: HMAC-SHA256 over `id.timestamp.body`, one for each secret of a rotation."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

PREFIX: Final = "whsec_"
LEAST_BYTES: Final = 24
MOST_BYTES: Final = 64


def key_of(secret: str) -> bytes:
    """Return the key within a secret `whsec_…`.

    Raises:
        ValueError: It is none; the secret is not repeated.
    """
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"this is no secret of Standard Webhooks; {_REMEDY}") from error
    if not LEAST_BYTES <= len(key) <= MOST_BYTES:
        raise ValueError(f"the secret has {len(key)} bytes, and must have 24 to 64; {_REMEDY}")
    return key


_REMEDY: Final = "make one with: python3 -c \"import base64, os; print('whsec_' + base64.b64encode(os.urandom(32)).decode())\""


def headers(secrets: Sequence[str], identity: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers of one try. The id stays the same over all tries; the time is that of this one."""
    found = {"webhook-id": identity, "webhook-timestamp": str(timestamp)}
    if secrets:
        found["webhook-signature"] = " ".join(
            _signature(secret, identity, timestamp, body) for secret in secrets
        )
    return found


def _signature(secret: str, identity: str, timestamp: int, body: bytes) -> str:
    signed = f"{identity}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(key_of(secret), signed, hashlib.sha256)).decode()}"
