"""The program: what `stagelight run` watches beyond decorated code.

The whole process is one run, named after the script, unless it runs workflows of its own. It is shown as soon as a
step happens outside any workflow, or after a second in which the program has not touched `stagelight.workflow`; at the
latest at its end, if no workflow ran in it, or if an error ends it that no workflow has shown.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import Context

import stagelight
from stagelight import runtime, script, settings
from stagelight.conventions import RUN_ID, WORKFLOW_NAME
from stagelight.guard import guard, guarded, say_once
from stagelight.instrumentation import functions, logs
from stagelight.scope import Run, is_failure
from stagelight.sources import SCRIPT

if TYPE_CHECKING:
    from stagelight.runtime import Runtime

_PATIENCE: Final = 1.0
_LONGEST_CHAIN: Final = 100
"""Of errors that led to one another."""


def watch() -> None:
    """Apply the patterns, listen to `logging`, and open the program's own run where it was asked for."""
    using = runtime.active
    if using is None:
        return
    steps = settings.patterns(os.environ.get(settings.STEPS, ""))
    workflows = settings.patterns(os.environ.get(settings.WORKFLOWS, ""))
    patched = functions.Instrumentation(functions.parse(steps, workflows))
    if steps or workflows:
        patched.apply()
    run = None
    is_first = bool(os.environ.pop(settings.PROCESS_RUN, ""))
    if is_first:  # a child program may well have none of these functions
        atexit.register(_say_unused, patched, os.getpid())
    if is_first and not workflows:
        run = ProgramRun(using)
        run.begin(has_steps=bool(steps))
    logs.instrument(os.environ.get(settings.LOG_LEVEL) or "INFO", _nowhere if run is None else run.shown)
    script.install(
        lambda module, name: _kind(patched, module, name), run.failed if run is not None else _ignore
    )


@guarded("program", None)
def _say_unused(patched: functions.Instrumentation, home: int) -> None:
    """Say at the end which patterns have named nothing, most likely by a slip of the pen."""
    for pattern in patched.unused() if os.getpid() == home else ():
        say_once(
            f"unused {pattern}", "%s names no function of a module that this program has loaded", pattern
        )


def _kind(patched: functions.Instrumentation, module: str, qualname: str) -> str | None:
    pattern = patched.match(module, qualname)
    return None if pattern is None else "workflow" if pattern.is_workflow else "step"


def _nowhere() -> None:
    return None


def _ignore(_: BaseException) -> None:
    return None


class ProgramRun:
    """The run that stands for the process."""

    def __init__(self, using: Runtime) -> None:
        self._using = using
        self._home = os.getpid()
        self._lock = threading.RLock()
        self._is_shown = False
        self._error: BaseException | None = None
        self._is_news = False
        """Whether no workflow has shown that error."""
        self._run: Run | None = None

    def begin(self, *, has_steps: bool) -> None:
        """Open the run; it is shown once it is clear that the program has no workflows of its own.

        With steps by patterns the script's code is what can be drawn of it.
        """
        name = settings.script_name()
        span = self._using.tracer.start_span(name, Context())
        run_id = f"{span.get_span_context().trace_id:032x}"
        attributes: dict[str, Any] = {WORKFLOW_NAME: name, RUN_ID: run_id}
        self._run = Run(
            name,
            span=span,
            run_id=run_id,
            workflow=name,
            module=SCRIPT if has_steps else "",
            start_attributes=attributes,
            processor=self._using.processor,
        )
        self._using.fallback = self.adopt
        self._using.shown = self.shown
        sys.excepthook = _excepthook(sys.excepthook, self.failed)
        atexit.register(self.end)
        timer = threading.Timer(_PATIENCE, self._show_unless_workflows)
        timer.name, timer.daemon = "stagelight-patience", True
        timer.start()

    def adopt(self) -> Run | None:
        """Return the run as the parent of what happens outside any workflow; that shows it."""
        with self._lock:
            run = self._run
            if run is not None and not self._is_shown and os.getpid() == self._home:
                self._is_shown = True
                run.span.set_attributes(run.start_attributes)
                self._using.processor.started(run)
            return run

    def shown(self) -> Run | None:
        """Return the run if it is to be seen already."""
        return self._run if self._is_shown else None

    @guarded("program", None)
    def _show_unless_workflows(self) -> None:
        if "workflow" not in vars(stagelight) and not self._using.has_workflows:
            self.adopt()

    def failed(self, error: BaseException) -> None:
        """Remember the error that left the script; `SystemExit` with 0 or nothing is none."""
        if is_failure(error):
            self._error = error
            self._is_news = not (isinstance(error, KeyboardInterrupt) or self._was_seen(error))

    def _was_seen(self, error: BaseException) -> bool:
        """Say whether a workflow has failed of this very error, or of one that led to it; an exit code may say no more."""
        seen = self._using.processor.failure
        if isinstance(error, SystemExit) and seen:
            return True
        cause: BaseException | None = error
        for _ in range(_LONGEST_CHAIN):
            if cause is None or id(cause) == seen:
                break
            cause = cause.__cause__ or cause.__context__
        return cause is not None and id(cause) == seen

    def end(self) -> None:
        """End the run with the program; in a forked child nothing happens, the run is the parent's."""
        with guard("program"):
            is_wanted = self._is_shown or self._is_news or not self._using.has_workflows
            if os.getpid() == self._home and is_wanted:
                run = self.adopt()
                self._run = None
                if run is not None:
                    run.end(self._error)


def _excepthook(original: Any, tell: Any) -> Any:
    def excepthook(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        with guard("excepthook"):
            tell(error)
            trace = script.without_runner(trace)
            error = error.with_traceback(trace)
        original(kind, error, trace)

    return excepthook
