"""What bounds the reading of one source, and how much of them is sent at once."""

from __future__ import annotations

import time
from typing import Final

from stagelight_plugins.diagram.errors import TooComplex

MAX_SOURCE: Final = 16 * 1024 * 1024
"""Bytes of JavaScript or TypeScript; a bundle may be large."""
MAX_PYTHON: Final = 256 * 1024
"""Bytes of Python: its parser takes quadratic time for some input."""
MAX_NODES: Final = 20_000
MAX_DEPTH: Final = 100
MAX_WORK: Final = 400_000
"""Expressions and statements looked at."""
MAX_SECONDS: Final = 2.0
"""Processor time."""
MAX_MODULES: Final = 200
MOST_BODY: Final = 8 * 1024 * 1024
"""Bytes of what is pushed to a collector at once."""


class Budget:
    """What is left for one source."""

    def __init__(self) -> None:
        self._work = 0
        self._nodes = 0
        self._until = time.process_time() + MAX_SECONDS

    def spend(self) -> None:
        """Count one expression or statement.

        Raises:
            TooComplex: There is nothing left.
        """
        self._work += 1
        if self._work > MAX_WORK:
            raise TooComplex(f"more than {MAX_WORK} expressions")
        if not self._work % 512 and time.process_time() > self._until:
            raise TooComplex(f"more than {MAX_SECONDS:g} s of work")

    def node(self, depth: int) -> None:
        """Count one node of the graph.

        Raises:
            TooComplex: The graph is too large or too deep.
        """
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise TooComplex(f"more than {MAX_NODES} nodes")
        if depth > MAX_DEPTH:
            raise TooComplex(f"nested deeper than {MAX_DEPTH}")
