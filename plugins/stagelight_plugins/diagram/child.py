"""The child: reads somebody's code in a process that may fail, and never runs it.

`python -m stagelight_plugins.diagram.child DIRECTORY MAIN [PARSER]` writes to standard output one line that says what was
found, then one line of JSON for each workflow. Limits of memory, time and files are set before the code is looked at;
whatever would start a program, open a connection or write a file is refused from then on.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tomllib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stagelight_plugins.diagram.patterns import Patterns

if TYPE_CHECKING:
    from collections.abc import Callable

MEMORY: Final = 256 * 1024 * 1024
"""Bytes of address space."""
SECONDS: Final = 2
"""Processor time."""
FILES: Final = 64

_REFUSED: Final = (
    "subprocess.",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.system",
    "os.spawn",
    "socket.",
    "ctypes.",
)


def main(arguments: list[str]) -> int:
    """Read a file and write what is in it."""
    directory, name, *parser = arguments
    read = _parser(Path(directory), *parser)
    limit()
    try:
        answer = read(Path(directory, name).read_bytes(), name)
    except MemoryError:
        answer = {"success": False, "error": f"too complex: it takes more than {MEMORY >> 20} MiB to read"}
    except RecursionError:
        answer = {"success": False, "error": "too complex: it is nested too deeply"}
    except Exception as error:  # noqa: BLE001 - whatever the code did to its reader is an answer
        answer = {"success": False, "error": f"the code cannot be read: {type(error).__name__}: {error}"}
    for line in report(answer):
        sys.stdout.write(f"{line}\n")
    return 0


def _parser(directory: Path, name: str = "") -> Callable[[bytes, str], dict[str, Any]]:
    """Return ours, or the one of another plugin. What it imports is not the code's to limit."""
    if name:
        from stagelight_plugins.diagram.others import asked, found  # noqa: PLC0415 - rarely

        return partial(asked, found(name))
    from stagelight_plugins.diagram.parse import parse  # noqa: PLC0415 - as above

    def read(source: bytes, path: str) -> dict[str, Any]:
        return parse(source, path, root=directory, patterns=_patterns(directory / "stagelight.toml"))

    return read


def _patterns(file: Path) -> Patterns | None:
    """Return what a configuration that came with the code names; it may be anybody's."""
    try:
        table = tomllib.loads(file.read_text()).get("agent", {})
        lists = [[str(each) for each in table.get(key, ())] for key in ("steps", "workflows")]
    except (OSError, ValueError, AttributeError, TypeError):
        return None
    return Patterns(*lists)


def report(answer: dict[str, Any]) -> list[str]:
    """Return the lines: what was found, then each workflow."""
    workflows: list[dict[str, Any]] = answer.get("workflows") or []
    found = [[_name(workflow), str(workflow.get("class_name", ""))] for workflow in workflows]
    error = "" if answer.get("success") else str(answer.get("error") or "the code cannot be read")
    head = {"error": error[:2000], "workflows": found}
    return [json.dumps(line, separators=(",", ":"), ensure_ascii=True) for line in (head, *workflows)]


def _name(workflow: dict[str, Any]) -> str:
    return str(workflow.get("name") or workflow.get("class_name", ""))


def limit() -> None:
    """Give up what reading does not need."""
    with contextlib.suppress(ImportError):
        import resource  # noqa: PLC0415 - Windows has none

        for kind, most in (
            (resource.RLIMIT_AS, MEMORY),
            (resource.RLIMIT_CPU, SECONDS),
            (resource.RLIMIT_NOFILE, FILES),
            (resource.RLIMIT_FSIZE, 0),
            (resource.RLIMIT_CORE, 0),
        ):
            with contextlib.suppress(ValueError, OSError):  # a limit that is lower already stays
                resource.setrlimit(kind, (most, most))
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    writes = (
        event == "open"
        and isinstance(arguments[1], str)
        and not {"w", "a", "x", "+"}.isdisjoint(arguments[1])
    )
    if writes or event.startswith(_REFUSED):
        raise PermissionError(event)


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(
        status
    )  # to give back a tree of a hundred megabytes piece by piece takes as long as a third of reading it
