"""The `stagelight` command. With the agent alone installed, `stagelight run` works and the rest names the extra."""

from __future__ import annotations

import gc
import sys

_EXTRA = "stagelight: this command needs the collector; install it with: pip install 'stagelight[collector]'"


def main() -> int:
    """Run the command line; return the exit code."""
    try:
        return _main(sys.argv[1:])
    except KeyboardInterrupt:  # during the imports
        sys.stderr.write("stagelight: stopped\n")
        return 130


def _main(arguments: list[str]) -> int:
    if arguments[:1] == ["run"]:
        from stagelight.launcher import main as run  # noqa: PLC0415 - the agent's own way, light to start

        return run(arguments[1:])
    gc.disable()  # imports make much that stays and next to no garbage: looking through it takes a tenth of the start
    try:
        from stagelight_collector.cli import main as collector  # noqa: PLC0415 - needs the extra
    except ModuleNotFoundError as error:
        return _missing(error)
    finally:
        gc.enable()
    try:
        return collector(arguments)
    except ModuleNotFoundError as error:  # commands are imported when they are asked for
        return _missing(error)


def _missing(error: ModuleNotFoundError) -> int:
    if error.name is None or error.name.startswith("stagelight"):
        raise error
    sys.stderr.write(f"{_EXTRA} (missing: {error.name})\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
