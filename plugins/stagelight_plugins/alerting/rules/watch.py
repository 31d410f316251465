"""The watch: events in, facts out. An event costs a look-up or two; what does *not* happen is found by a clock.

Names are matched once per name, limits are computed once in a while, and open steps of one name are kept in the order
in which they began: only the first can be the first to be overdue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from stagelight.conventions import EventType
from stagelight_plugins.alerting.rules.open import (
    MOST_NAMES,
    MOST_RUNS,
    MOST_STEPS,
    Ended,
    KnownStep,
    KnownWorkflow,
    OpenRun,
    OpenStep,
    Rate,
    by_kind,
)
from stagelight_plugins.alerting.rules.overdue import Overdue
from stagelight_plugins.alerting.state.book import Fact

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from stagelight.events import Event
    from stagelight_plugins.alerting.rules.rule import Rule

NS: Final = 1e9
_WAITS: Final = frozenset(
    {EventType.RUN_WAITING, EventType.RUN_PAUSED, EventType.SLEEP_STARTED, EventType.WAIT_STARTED}
)
_ASIDE: Final = frozenset({EventType.HEARTBEAT, EventType.LOG})
"""A sign of life of the process, not of progress: a run that only says these is stuck all the same."""


class _Handler(Protocol):
    def __call__(self, event: Event, known: KnownWorkflow, now: float) -> None: ...


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a type of event means here."""

    handler: _Handler | None
    moves: bool
    """Whether it says that its run goes on."""
    waits: bool
    asks: bool


class Watch:
    """Evaluates rules.

    Args:
        rules: All of them; those of kinds that are asked for again and again (`sql`) are not evaluated here.
        tell: Takes facts.
        is_told: Whether an alert of a rule about these labels is open: what is well needs no fact where nothing was wrong.
        is_any_told: Whether any alert is open at all.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        tell: Callable[[Fact], None],
        is_told: Callable[[Rule, tuple[tuple[str, str], ...]], bool],
        is_any_told: Callable[[], bool],
    ) -> None:
        self.rules = rules
        self.runs: dict[str, OpenRun] = {}
        self.workflows: dict[str, KnownWorkflow] = {}
        self.steps: dict[tuple[str, str], KnownStep] = {}
        self.open_steps = 0
        self.let_go = 0
        """Runs and steps for which there was no place."""
        self._tell = tell
        self._is_told = is_told
        self._is_any_told = is_any_told
        self._ended = Ended()
        self.overdue = Overdue(self, tell)
        handlers = self._handlers()
        # By identity: an enumeration's own hash is a call of Python's for every look-up.
        self._kinds = {
            id(kind): _Kind(
                handlers.get(kind), kind not in _ASIDE, kind in _WAITS, kind is EventType.WAIT_STARTED
            )
            for kind in EventType
        }

    def take(self, events: Iterable[Event], now: float) -> None:
        """Take events as they come."""
        kinds, runs = self._kinds, self.runs
        for event in events:
            kind, run = kinds[id(event.type)], runs.get(event.run_id)
            if run is not None and kind.moves:
                self._moved(run, kind, event.received / NS or now)
            if kind.handler is not None:
                known = run.known if run is not None else self.workflow(_name(event), now)
                known.last = now
                kind.handler(event, known, now)
            elif run is not None:
                run.known.last = now

    def _moved(self, run: OpenRun, kind: _Kind, heard: float) -> None:
        """Note that something was heard of a run."""
        if heard > run.last:
            run.longest_silence = max(run.longest_silence, heard - run.last)
            run.last = heard
        run.asks = kind.asks or (run.asks and kind.waits)
        run.waits = kind.waits
        if run.asks:
            run.look_at = 0.0
        if run.told_quiet:
            self.overdue.moves_again(run, heard)

    def _handlers(self) -> Mapping[EventType, _Handler]:
        return {
            EventType.RUN_STARTED: self._run_started,
            EventType.RUN_COMPLETED: self._run_ended,
            EventType.RUN_FAILED: self._run_ended,
            EventType.RUN_TERMINATED: self._run_ended,
            EventType.STEP_STARTED: self._step_started,
            EventType.ATTEMPT_STARTED: self._step_started,
            EventType.STEP_COMPLETED: self._step_ended,
            EventType.STEP_SKIPPED: self._step_ended,
            EventType.STEP_FAILED: self._step_ended,
        }

    def change_rules(
        self, rules: Sequence[Rule], changed: Collection[str], anew: Collection[str], now: float
    ) -> None:
        """Evaluate other rules from now on. What is open stays open; what rules said that begin anew is forgotten."""
        self.rules = rules
        new = [rule for rule in rules if rule.name in changed]
        for known in self.workflows.values():
            fitting = [rule for rule in new if rule.match.fits_names(known.name)]
            left = [rule for kind in known.rules.values() for rule in kind if rule.name not in changed]
            known.rules = by_kind([*left, *fitting])
        for step in self.steps.values():
            fitting = [rule for rule in new if rule.match.fits_names(step.workflow, step.name)]
            step.failed = _changed(step.failed, "step_failed", fitting, changed)
            step.too_long = _changed(step.too_long, "step_too_long", fitting, changed)
        self.overdue.change_rules(anew, now)

    def turn(self, now: float) -> None:
        """Look for what did not happen."""
        self.overdue.turn(now)

    # --- what is known by name ------------------------------------------------------------------------------------

    def workflow(self, name: str, now: float) -> KnownWorkflow:
        """Return what is known of a workflow."""
        known = self.workflows.get(name)
        if known is None:
            if len(self.workflows) >= MOST_NAMES:
                del self.workflows[next(iter(self.workflows))]
            rules = by_kind(rule for rule in self.rules if rule.match.fits_names(name))
            known = self.workflows[name] = KnownWorkflow(name, rules, now)
        return known

    def step(self, known: KnownWorkflow, name: str) -> KnownStep:
        """Return what is known of a step."""
        found = self.steps.get((known.name, name))
        if found is None:
            if len(self.steps) >= MOST_NAMES:
                idle = next((key for key, each in self.steps.items() if not each.open), None)
                self.open_steps -= len(self.steps.pop(idle or next(iter(self.steps))).open)
            fitting = {
                kind: [rule for rule in known.of(kind) if rule.match.fits_names(known.name, name)]
                for kind in ("step_failed", "step_too_long")
            }
            found = KnownStep(known.name, name, fitting["step_failed"], fitting["step_too_long"])
            self.steps[known.name, name] = found
        return found

    # --- runs -----------------------------------------------------------------------------------------------------

    def _run_started(self, event: Event, known: KnownWorkflow, now: float) -> None:
        started = event.time / NS
        if not event.parent_run_id:
            known.cadence.add(started)
            self.overdue.has_started(known, started)
        if event.run_id not in self._ended and event.run_id not in self.runs:
            self.open_run(event.run_id, known, started, event.received / NS or now, event)

    def open_run(
        self, run_id: str, known: KnownWorkflow, started: float, last: float, event: Event | None = None
    ) -> OpenRun:
        """Note that a run goes on."""
        if len(self.runs) >= MOST_RUNS:
            self.let_go += 1
            self._close_steps(self.runs.pop(next(iter(self.runs))))
        run = self.runs[run_id] = OpenRun(
            run_id, known, started, last, event.service if event else "", event.attributes if event else {}
        )
        return run

    def _run_ended(self, event: Event, known: KnownWorkflow, now: float) -> None:
        run = self.runs.pop(event.run_id, None)
        first_time = event.run_id not in self._ended
        self._ended.add(event.run_id)
        at = event.time / NS
        if run is not None:
            self._close_steps(run)
            self.overdue.has_ended(run, at)
            if event.type is EventType.RUN_COMPLETED:
                known.silence.add(run.longest_silence)
                known.length.add(at - run.started)
        if event.type is EventType.RUN_FAILED:
            self._failures(known.of("run_failed"), (("workflow", known.name),), event, run, firm=True)
            if run is not None:
                self._firm_up(run)
        elif event.type is EventType.RUN_COMPLETED:
            self._well(known.of("run_failed"), (("workflow", known.name),), event)
        if first_time and event.type is not EventType.RUN_TERMINATED:
            self._count(known, event, now)

    def _firm_up(self, run: OpenRun) -> None:
        """A step that failed in a run that is over will not be tried again: its alert need not wait."""
        for step in run.failed:
            about = (("workflow", step.workflow), ("step", step.name))
            for rule in step.failed:
                if self._is_told(rule, about):
                    self._tell(Fact(rule, about, True, 0.0, firm=True))

    def _count(self, known: KnownWorkflow, event: Event, now: float) -> None:
        failed = event.type is EventType.RUN_FAILED
        for window in {rule.window for rule in known.of("error_rate")}:
            if window not in known.rates:
                known.rates[window] = Rate(window)
            known.rates[window].add(now, failed)
        for rule in known.of("error_rate") if failed else ():
            # What is well makes no rate worse; that it got better is seen by the clock.
            self.overdue.look_at_rate(rule, known, now)

    # --- steps ----------------------------------------------------------------------------------------------------

    def _step_started(self, event: Event, known: KnownWorkflow, now: float) -> None:
        del now
        if not event.step_name or event.run_id in self._ended:
            return
        step = self.step(known, event.step_name)
        attempt = event.attempt or 1
        if f"{event.step_id}/{attempt}" in self._ended:
            return
        before = step.open.get(event.step_id)
        if before is not None and before.attempt >= attempt:
            return
        if before is None and self.open_steps >= MOST_STEPS:
            self.let_go += 1
            return
        if attempt > 1:
            self._well(step.failed, (("workflow", known.name), ("step", step.name)), event, only_pending=True)
        self.open_steps += before is None
        step.open[event.step_id] = OpenStep(event.step_id, event.run_id, event.time / NS, attempt)
        run = self.runs.get(event.run_id)
        if run is not None:
            run.steps[event.step_id] = step

    def _step_ended(self, event: Event, known: KnownWorkflow, now: float) -> None:
        del now
        if not event.step_name and event.run_id in self.runs:
            step = self.runs[event.run_id].steps.get(event.step_id)
        else:
            step = self.step(known, event.step_name)
        if step is None:
            return
        self._ended.add(f"{event.step_id}/{event.attempt or 1}")
        run = self.runs.get(event.run_id)
        ended = self._close_step(step, event.step_id)
        if run is not None:
            run.steps.pop(event.step_id, None)
        if ended is not None:
            self.overdue.step_has_ended(step, ended, event.time / NS)
            if event.type is EventType.STEP_COMPLETED:
                step.usual.add(event.time / NS - ended.started)
        about = (("workflow", known.name), ("step", step.name))
        if event.type is EventType.STEP_FAILED:
            if run is not None and step.failed and step not in run.failed:
                run.failed.append(step)
            self._failures(step.failed, about, event, run, firm=event.run_id in self._ended)
        elif event.type is EventType.STEP_COMPLETED:
            self._well(step.failed, about, event)

    def _close_step(self, step: KnownStep, step_id: str) -> OpenStep | None:
        ended = step.open.pop(step_id, None)
        self.open_steps -= ended is not None
        return ended

    def _close_steps(self, run: OpenRun) -> None:
        for step_id, step in run.steps.items():
            ended = self._close_step(step, step_id)
            if ended is not None:
                self.overdue.step_has_ended(step, ended, run.last)

    # --- facts ----------------------------------------------------------------------------------------------------

    def _failures(
        self,
        rules: Sequence[Rule],
        about: tuple[tuple[str, str], ...],
        event: Event,
        run: OpenRun | None,
        *,
        firm: bool,
    ) -> None:
        for rule in rules:
            if rule.needs_more and not rule.match.fits_rest(*_rest(event, run)):
                continue
            notes = {"error": _error(event), "service": event.service}
            self._tell(Fact(rule, about, True, event.time / NS, notes, event.run_id, firm))

    def _well(
        self,
        rules: Sequence[Rule],
        about: tuple[tuple[str, str], ...],
        event: Event,
        *,
        only_pending: bool = False,
    ) -> None:
        for rule in rules if self._is_any_told() else ():
            if self._is_told(rule, about) and not (only_pending and rule.wait == 0):
                self._tell(Fact(rule, about, False, event.time / NS))


def _changed(
    before: Sequence[Rule], kind: str, fitting: Sequence[Rule], changed: Collection[str]
) -> list[Rule]:
    left = [rule for rule in before if rule.name not in changed]
    return [*left, *(rule for rule in fitting if rule.when == kind)]


def _name(event: Event) -> str:
    return event.workflow or event.service or "unnamed"


def _rest(event: Event, run: OpenRun | None) -> tuple[str, dict[str, Any]]:
    if run is None:
        return event.service, dict(event.attributes)
    return event.service or run.service, {**run.attributes, **event.attributes}


def _error(event: Event) -> str:
    if event.error is None:
        return ""
    first = event.error.message.split("\n", 1)[0]
    return ": ".join(filter(None, [event.error.type, first]))
