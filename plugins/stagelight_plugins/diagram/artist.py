"""The artist: has code read by a child process, one at a time, and keeps what comes of it.

The child has limits of its own; here is the one that it cannot have, of time that passes. Whatever becomes of it,
killed, hung or talking too much, is an answer that can be shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from stagelight_plugins.diagram.store import Drawing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stagelight_plugins.diagram.store import Store

COMMAND: Final = (sys.executable, "-I", "-m", "stagelight_plugins.diagram.child")
SECONDS: Final = 2.8
"""How long a child may live while somebody waits for what it finds."""
PATIENT_SECONDS: Final = 20.0
"""The same where nobody does: on a busy machine even a short life takes long. Its processor time is bounded as ever."""
MOST_OUTPUT: Final = 6 * 1024 * 1024
"""Bytes that a child may say."""
MOST_ERRORS: Final = 4096

_PLACE: Final = {"PATH": os.environ.get("PATH", "")}
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Pencil:
    """Has one piece of code read."""

    command: Sequence[str] = COMMAND
    seconds: float = SECONDS
    parsers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Parsers of other plugins by suffix, as `module:function`."""

    async def draw(self, files: Mapping[str, str], main: str, *, patient: bool = False) -> Drawing:
        """Return the graphs of the workflows in a file, or why there are none. Never raises for what the code did."""
        directory = await asyncio.to_thread(_written, files)
        try:
            return await self._ask(directory, main, PATIENT_SECONDS if patient else self.seconds)
        finally:
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    def _parser(self, main: str) -> list[str]:
        name = self.parsers.get(PurePosixPath(main).suffix)
        return [name] if name else []

    async def _ask(self, directory: str, main: str, seconds: float) -> Drawing:
        process = await asyncio.create_subprocess_exec(
            *self.command, directory, main, *self._parser(main),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_PLACE,
            cwd=directory,
            start_new_session=True,
        )  # fmt: skip
        try:
            async with asyncio.timeout(seconds):
                said, complaint = await asyncio.gather(
                    _read(process, process.stdout, MOST_OUTPUT), _read(process, process.stderr, MOST_ERRORS)
                )
                code = await process.wait()
        except TimeoutError:
            return Drawing(error=f"too complex: it takes longer than {seconds:g} s to read")
        finally:
            await _end(process)
        if len(said) > MOST_OUTPUT:
            return Drawing(error="too complex: the diagram is larger than a page could show")
        if code:
            return Drawing(error=_death(code, complaint))
        return await asyncio.to_thread(_drawing, said)


async def _read(process: asyncio.subprocess.Process, stream: asyncio.StreamReader | None, most: int) -> bytes:
    """Read to the end; a child that says more than may be is killed, and a byte more than that is returned."""
    assert stream is not None  # noqa: S101 - both are pipes
    parts = bytearray()
    while part := await stream.read(65536):
        if len(parts) <= most:
            parts += part
        if len(parts) > most:
            _kill(process)
    return bytes(parts[: most + 1])


def _kill(process: asyncio.subprocess.Process) -> None:
    """Kill the child and whatever it may have started: it leads a session of its own."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Return when nothing is left of the child. It is waited for to the end of its pipes, so they are emptied."""
    _kill(process)
    for stream in (process.stdout, process.stderr):
        while stream is not None and await stream.read(65536):
            pass
    await process.wait()


def _death(code: int, complaint: bytes) -> str:
    if code in {-24, -9}:  # SIGXCPU, and SIGKILL where the limit was met again
        return "too complex: reading it was stopped at its limit of time or memory"
    last = complaint.decode(errors="replace").strip().splitlines()
    _log.warning("the reader of a diagram ended with %d: %s", code, last[-1] if last else "")
    if last and "MemoryError" in last[-1]:
        return "too complex: it takes too much memory to read"
    return f"the reader ended with code {code}; the collector's log says more"


def _drawing(said: bytes) -> Drawing:
    try:
        head, *graphs = said.decode().splitlines()
        found = json.loads(head)
        named = zip(found["workflows"], graphs, strict=True)
        return Drawing(
            error=found["error"], graphs=[(name, function, graph) for (name, function), graph in named]
        )
    except (ValueError, KeyError, TypeError) as error:
        _log.warning("the reader of a diagram answered something else: %s", error)
        return Drawing(error="the reader gave no answer")


def _written(files: Mapping[str, str]) -> str:
    """Write files into a new directory of nobody else's; return it."""
    directory = tempfile.mkdtemp(prefix="stagelight-diagram-")
    for path, text in files.items():
        place = Path(directory, path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8", errors="replace", newline="")
    return directory


def is_inside(path: str) -> bool:
    """Say whether a path is relative and stays below where it starts."""
    parts = PurePosixPath(path).parts
    return (
        0 < len(parts) <= 32
        and len(path) <= 512
        and not path.startswith("/")
        and "\\" not in path
        and path.isprintable()
        and ".." not in parts
        and all(len(part.encode("utf-8", "replace")) < 200 for part in parts)
    )


class Artist:
    """Draws what waits in the store, for as long as the collector runs."""

    def __init__(self, store: Store, pencil: Pencil | None = None) -> None:
        self._store = store
        self._pencil = pencil or Pencil()
        self._woken = asyncio.Event()
        self._one_at_a_time = asyncio.Semaphore(1)
        self._task: asyncio.Task[None] | None = None
        self.pending = 0
        """How many wait to be drawn while somebody waits for the answer."""

    def start(self) -> None:
        """Begin, with what was left from before."""
        self._woken.set()
        self._task = asyncio.create_task(self._work(), name="diagrams")

    async def stop(self) -> None:
        """Stop; what is being drawn is drawn again after the next start. Safe to call twice."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def wake(self) -> None:
        """Say that something waits."""
        self._woken.set()

    async def draw(self, version: str) -> None:
        """Draw a version now, after those that are being drawn."""
        self.pending += 1
        try:
            async with self._one_at_a_time:
                await self._draw(version, patient=False)
        finally:
            self.pending -= 1

    async def _work(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            while (version := await self._store.waiting()) is not None:
                async with self._one_at_a_time:
                    await self._draw(version, patient=True)

    async def _draw(self, version: str, *, patient: bool) -> None:
        files = await self._store.files(version)
        if not files:
            return await self._store.settle(version, Drawing(error="there is no code"))
        try:
            drawing = await self._pencil.draw(files, next(iter(files)), patient=patient)
        except OSError as error:
            _log.warning("no reader could be started: %s", error)
            drawing = Drawing(error=f"no reader could be started: {error}")
        return await self._store.settle(version, drawing)
