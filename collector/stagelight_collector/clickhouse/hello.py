"""The first question of clients that read the format Native with a revision (clickhouse-go, and so Grafana).

They send the revision of the native protocol that they know, and ask for the server's; whatever comes after is read with
the lower of the two. The engine in this process writes Native of revision 0 only, so the answer to this one question is
written here, in the client's revision, and says 0.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

QUESTION: Final = "select displayname(), version(), revision(), timezone()"
"""In small letters."""
ENGINE: Final = "SELECT displayName(), version(), toString(0), timezone() FORMAT TSV"

_CUSTOM_SERIALIZATION: Final = 54454
"""From this revision on, each column says whether its serialization is a special one."""
_BLOCK_INFO: Final = b"\x01\x00\x02" + struct.pack("<i", -1) + b"\x00"


def is_hello(sql: str, revision: int) -> bool:
    """Whether a statement is the first question of such a client."""
    return revision > 0 and sql.strip().rstrip(";").lower() == QUESTION


def block(row: str, revision: int) -> bytes:
    """Return the answer as one block of Native, from the engine's answer to `ENGINE`."""
    return b"".join(_block(row.rstrip("\n").split("\t"), revision))


def _block(values: list[str], revision: int) -> Iterator[bytes]:
    name, version, number, timezone = values
    flag = b"\x00" if revision >= _CUSTOM_SERIALIZATION else b""
    yield _BLOCK_INFO + _varint(4) + _varint(1)
    for column, text in (("displayName()", name), ("version()", version)):
        yield _text(column) + _text("String") + flag + _text(text)
    yield _text("revision()") + _text("UInt32") + flag + struct.pack("<I", int(number))
    yield _text("timezone()") + _text("String") + flag + _text(timezone)


def _text(value: str) -> bytes:
    data = value.encode()
    return _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
