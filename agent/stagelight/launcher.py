"""`stagelight run`: start any program with the agent around it, without a change to its code."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from stagelight import interpreter, settings

_NOT_FOUND: Final = 127
_NOT_EXECUTABLE: Final = 126
_LACKS: Final = 77
_QUESTION: Final = f"""\
try:
    import stagelight, opentelemetry.instrumentation
except ImportError:
    raise SystemExit({_LACKS})
"""
_LONGEST_QUESTION: Final = 10.0
_EXAMPLE: Final = """\
example:
  stagelight run python app.py
  stagelight run --step 'myapp.pipeline:load_*' --workflow 'myapp.pipeline:main' python -m myapp
  stagelight run --step '__main__:*' app.py

PATTERN is module.path:function, with * and ? on both sides of the colon:
  '__main__:*' is every top-level function of the script, 'shop.*:load_*' is every load_… below shop,
  'pkg.mod:Class.method*' are methods.
A stagelight.toml may hold the same: [agent] steps = ["…"], workflows = ["…"].
"""


def main(argv: list[str]) -> int:
    """Run a command with the agent in it. Returns only if it cannot be started.

    A Python that lacks the agent is named, and runs the program in the environment as it is.

    Returns:
        127 if the command is not found, 126 if it cannot be executed, 2 if the arguments are wrong.
    """
    try:
        options = _parser().parse_args(argv)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    command = [*options.command]
    if command and command[0] == "--":
        command = command[1:]
    if not command:
        _say("there is nothing to run; for example: stagelight run python app.py")
        return 2
    found = _resolved(command)
    if found is None:
        return _not_found(command[0])
    environ = dict(os.environ)
    if is_foreign(found[0]) and _lacks_agent(found[0]):
        _say(f"{found[0]} has no stagelight; use {sys.executable}")
    else:
        if reason := deafness(found):
            _say(reason)
        environ = environment(options, command, environ)
    try:
        os.execvpe(found[0], found, environ)  # noqa: S606 - that is the job
    except OSError as error:
        _say(f"{found[0]}: {error.strerror or error}")
        return _NOT_EXECUTABLE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stagelight run",
        usage="stagelight run [--step PATTERN]... [--workflow PATTERN]... [--service NAME] [--endpoint URL] CMD ARGS...",
        description="Run a program with the agent in it: its run and its steps appear while it works.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--step", action="append", default=[], metavar="PATTERN", help="functions that become steps"
    )
    parser.add_argument(
        "--workflow", action="append", default=[], metavar="PATTERN", help="functions that become workflows"
    )
    parser.add_argument("--service", metavar="NAME", help="service name (default: the script's name)")
    parser.add_argument(
        "--endpoint", metavar="URL", help=f"the collector (default: {settings.DEFAULT_ENDPOINT})"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="CMD ARGS...", help="the program to run")
    return parser


def _resolved(command: list[str]) -> list[str] | None:
    """Return what to execute; a .py file that is not executable runs with this interpreter."""
    first = command[0]
    if first.endswith(".py") and Path(first).is_file() and not os.access(first, os.X_OK):
        return [sys.executable, *command]
    path = shutil.which(first)
    return None if path is None else [path, *command[1:]]


def _not_found(name: str) -> int:
    """Say what is wrong with a command that cannot be found; return the exit code for it."""
    if not (name.endswith(".py") or os.path.dirname(name)):  # noqa: PTH120 - a Path forgets the ./
        _say(f"{name}: command not found; is it installed in this environment, and spelt so?")
    elif not Path(name).exists():
        _say(f"there is no file {name}")
    else:
        _say(f"{name} is there, but cannot be executed")
        return _NOT_EXECUTABLE
    return _NOT_FOUND


def is_foreign(executable: str) -> bool:
    """Say whether this is a Python of some other environment than ours, judged by names only."""
    path, own = Path(executable), Path(sys.executable)
    return path.name.startswith("python") and (
        path.parent.resolve() != own.parent.resolve() or path.resolve() != own.resolve()
    )


def deafness(command: list[str]) -> str:
    """Say why nothing will be recorded, as far as that can be told beforehand; empty if nothing speaks against it."""
    name, arguments = Path(command[0]).name, command[1:]
    if not name.startswith("python"):
        line = _first_line(command[0])
        if line is None or "python" not in line:
            is_starter = any("python" in argument or argument.endswith(".py") for argument in arguments)
            return (
                "" if is_starter else f"{name} is no Python program; only Python that it starts is recorded"
            )
        arguments = line.split()[1:]
    deaf = interpreter.target(arguments).deaf
    return deaf and f"{name}: python {deaf} keeps the agent out, nothing is recorded; run it without {deaf}"


def _first_line(path: str) -> str | None:
    """Return a script's first line, or what a long one goes on with; None where the file is no script or unreadable."""
    try:
        with Path(path).open("rb") as file:
            start = file.read(512).decode(errors="replace")
    except OSError:
        return None
    if not start.startswith("#!"):
        return None
    first, _, rest = start.partition("\n")
    # Where the path of Python is too long for the kernel, pip has the shell execute it, in the second line.
    return rest.partition("\n")[0] if rest.startswith("'''exec'") else first


def _lacks_agent(python: str) -> bool:
    """Ask an interpreter whether it can import what the agent needs; takes about 50 ms. No answer is no complaint."""
    try:
        done = subprocess.run(  # noqa: S603 - the very program that we were told to run
            [python, "-c", _QUESTION],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LONGEST_QUESTION,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == _LACKS


def environment(options: argparse.Namespace, command: list[str], environ: dict[str, str]) -> dict[str, str]:
    """Return the environment in which the agent loads itself; what the user has set stays."""
    for name, problem in settings.unusable(environ).items():
        _say(problem)
        del environ[name]
    file = settings.agent_table()
    steps = [*options.step] or _patterns(environ, settings.STEPS, file, "steps")
    workflows = [*options.workflow] or _patterns(environ, settings.WORKFLOWS, file, "workflows")
    _put(environ, settings.STEPS, ",".join(steps))
    _put(environ, settings.WORKFLOWS, ",".join(workflows))
    environ[settings.PROCESS_RUN] = "1"
    _endpoint(environ, options.endpoint)
    service = options.service or environ.get("OTEL_SERVICE_NAME") or file.get("service")
    if options.service or "service.name=" not in environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        environ["OTEL_SERVICE_NAME"] = str(service or program_name(command))
    environ.setdefault(settings.DISTRO, "stagelight")
    environ.setdefault("OTEL_PYTHON_CONFIGURATOR", "stagelight")
    environ["PYTHONPATH"] = _python_path(environ.get("PYTHONPATH", ""))
    return environ


def _endpoint(environ: dict[str, str], chosen: str | None) -> None:
    """Say where the collector is; what the file says is handed on, as children may work in other directories."""
    if chosen:
        for signal in ("TRACES_", "LOGS_"):
            environ.pop(f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT", None)
        environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = chosen
    elif found := settings.endpoint(environ):
        environ[settings.ENDPOINT] = found


def _patterns(environ: dict[str, str], name: str, file: dict[str, object], key: str) -> list[str]:
    if name in environ:
        return [*settings.patterns(environ[name])]
    return settings.listed(file.get(key, [])) or []


def _put(environ: dict[str, str], name: str, value: str) -> None:
    if value:
        environ[name] = value
    else:
        environ.pop(name, None)


def program_name(command: list[str]) -> str:
    """Return the script's or module's name; of a plain command, the command's."""
    first = Path(command[0]).name
    if not first.startswith("python"):
        return Path(first).stem
    return interpreter.target(command[1:]).title


def _python_path(existing: str) -> str:
    """Put OpenTelemetry's `sitecustomize` first, and keep what is there; it takes itself out of the child's way."""
    spec = find_spec("opentelemetry.instrumentation.auto_instrumentation")
    assert spec is not None and spec.origin is not None  # noqa: S101, PT018 - a dependency of ours
    first = str(Path(spec.origin).parent)
    rest = [part for part in existing.split(os.pathsep) if part and part != first]
    return os.pathsep.join([first, *rest])


def _say(message: str) -> None:
    print(f"stagelight run: {message}", file=sys.stderr)  # noqa: T201 - it is a command
