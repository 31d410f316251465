"""Compressed blocks, as ClickHouse sends them for `compress=1`: checksum, method, sizes, LZ4.

The layout is that of the native protocol (ClickHouse source, `CompressionInfo.h`): 16 bytes of CityHash128 over all that
follows, the method, both sizes as little-endian UInt32 (the first with its own nine bytes), the data.
"""

from __future__ import annotations

import importlib
import struct
from typing import Any, Final

_lz4: Final[Any] = importlib.import_module("lz4.block")
_cityhash: Final[Any] = importlib.import_module("clickhouse_cityhash.cityhash")
"""Neither has types."""

BLOCK: Final = 1 << 20
"""Bytes of one block before compression; the size that ClickHouse's server uses."""
_LZ4: Final = 0x82
_HEADER: Final = struct.Struct("<BII")
_CHECKSUM: Final = struct.Struct("<QQ")
_LOW: Final = (1 << 64) - 1


def compress(body: bytes) -> bytes:
    """Return the body as compressed blocks; an empty one has none."""
    return b"".join(_block(body[start : start + BLOCK]) for start in range(0, len(body), BLOCK))


def _block(data: bytes) -> bytes:
    packed: bytes = _lz4.compress(data, store_size=False)
    framed = _HEADER.pack(_LZ4, _HEADER.size + len(packed), len(data)) + packed
    return checksum(framed) + framed


def checksum(framed: bytes) -> bytes:
    """Return the checksum of a block without it."""
    found: int = _cityhash.CityHash128(framed)
    return _CHECKSUM.pack(found >> 64, found & _LOW)
