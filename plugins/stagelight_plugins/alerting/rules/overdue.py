"""What does not happen: runs and steps that go on too long, silence, starts that do not come. Found by the clock."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from stagelight_plugins.alerting.rules.spans import said
from stagelight_plugins.alerting.state.book import Fact

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from stagelight_plugins.alerting.rules.baselines import Baseline
    from stagelight_plugins.alerting.rules.open import KnownStep, KnownWorkflow, OpenRun, OpenStep
    from stagelight_plugins.alerting.rules.rule import Rule
    from stagelight_plugins.alerting.rules.watch import Watch
    from stagelight_plugins.alerting.state.alert import Alert

LOOK_SECONDS: Final = 1.0
"""How often the clock is looked at."""
GIVEN_UP_SECONDS: Final = 86_400.0
"""What is overdue for longer was given up by its owners: it is not told anew after a restart."""
LATEST_SECONDS: Final = 15.0
"""A run is looked at so often whatever its limits are: they are learned meanwhile."""
EARLY: Final = 60.0
"""A start so long before the time of a schedule counts for it."""


class Overdue:
    """Looks for what is overdue, and says when it is not any more."""

    def __init__(self, watch: Watch, tell: Callable[[Fact], None]) -> None:
        self._watch = watch
        self._tell = tell
        self._looked = -math.inf
        self._begun = 0.0
        self._missing: set[tuple[str, str]] = set()

    def turn(self, now: float) -> None:
        """Look at everything that is open, at most once a second."""
        if 0 <= now - self._looked < LOOK_SECONDS:
            return
        if self._looked == -math.inf:
            self._begun = now
            self._expect_the_named(now)
        self._looked = now
        for run in self._watch.runs.values():
            self._look_at_run(run, now)
        for step in list(self._watch.steps.values()):
            if step.open and step.too_long:
                self._look_at_step(step, now)
        for known in list(self._watch.workflows.values()):
            self._look_at_workflow(known, now)

    def change_rules(self, anew: Collection[str], now: float) -> None:
        """Forget what rules said that begin anew, and look at everything soon."""
        self._missing = {key for key in self._missing if key[0] not in anew}
        for run in self._watch.runs.values():
            run.told.difference_update(anew)
            run.look_at = 0.0
        for step in self._watch.steps.values():
            for each in step.open.values():
                each.told.difference_update(anew)
        if self._looked != -math.inf:
            self._expect_the_named(now)

    def _after(self, at: float) -> float:
        """Return a time after whatever was said by the clock here, also where the sender's clock is behind."""
        return max(at, self._looked + 1e-6)

    # --- runs -----------------------------------------------------------------------------------------------------

    def _look_at_run(self, run: OpenRun, now: float) -> None:
        if now < run.look_at:
            return
        run.look_at = now + LATEST_SECONDS
        for rule in run.known.of("stuck"):
            limit = rule.silent_for if rule.silent_for is not None else run.known.silence.limit
            if run.waits:
                continue
            if now - run.last > limit:
                notes = _notes(now - run.last, rule.silent_for, run.known.silence)
                self._tell_of_run(rule, run, now, notes, quiet=True)
            else:
                run.look_at = min(run.look_at, run.last + limit)
        for rule in run.known.of("waiting") if run.asks else ():
            if now - run.last >= (rule.longer_than or 0.0):
                self._tell_of_run(rule, run, now, {"duration": said(now - run.last)}, quiet=True)
            else:
                run.look_at = min(run.look_at, run.last + (rule.longer_than or 0.0))
        for rule in run.known.of("run_too_long"):
            limit = rule.longer_than if rule.longer_than is not None else run.known.length.limit
            if now - run.started > limit:
                notes = _notes(now - run.started, rule.longer_than, run.known.length)
                self._tell_of_run(rule, run, now, notes)
            else:
                run.look_at = min(run.look_at, run.started + limit)

    def _tell_of_run(
        self, rule: Rule, run: OpenRun, now: float, notes: dict[str, str], *, quiet: bool = False
    ) -> None:
        if rule.name in run.told:
            return
        if rule.needs_more and not rule.match.fits_rest(run.service, run.attributes):
            return
        run.told.add(rule.name)
        run.told_quiet |= quiet
        about = (("workflow", run.known.name), ("run", run.id))
        self._tell(Fact(rule, about, True, now, {**notes, "service": run.service}))

    def moves_again(self, run: OpenRun, at: float) -> None:
        """Say that a run is no longer stuck, nor waits."""
        run.told_quiet = False
        for rule in (*run.known.of("stuck"), *run.known.of("waiting")):
            self._no_longer(rule, run, at)

    def has_ended(self, run: OpenRun, at: float) -> None:
        """Say that nothing is the matter with a run any more: it has ended."""
        if not run.told:
            return
        for rule in (*run.known.of("stuck"), *run.known.of("waiting"), *run.known.of("run_too_long")):
            self._no_longer(rule, run, at)

    def _no_longer(self, rule: Rule, run: OpenRun, at: float) -> None:
        if rule.name in run.told:
            run.told.discard(rule.name)
            about = (("workflow", run.known.name), ("run", run.id))
            self._tell(Fact(rule, about, False, self._after(at)))

    # --- steps ----------------------------------------------------------------------------------------------------

    def _look_at_step(self, step: KnownStep, now: float) -> None:
        for rule in step.too_long:
            limit = rule.longer_than if rule.longer_than is not None else step.usual.limit
            for each in step.open.values():
                lasted = now - each.started
                if lasted <= limit:
                    break  # those that follow began later
                run = self._watch.runs.get(each.run)
                if rule.name in each.told or (run is not None and run.waits):
                    continue
                if rule.needs_more and (run is None or not rule.match.fits_rest(run.service, run.attributes)):
                    continue
                each.told.add(rule.name)
                notes = _notes(lasted, rule.longer_than, step.usual)
                self._tell(Fact(rule, _about_step(step, each), True, now, notes))

    def step_has_ended(self, step: KnownStep, ended: OpenStep, at: float) -> None:
        """Say that a step does not go on any more."""
        for rule in step.too_long if ended.told else ():
            if rule.name in ended.told:
                self._tell(Fact(rule, _about_step(step, ended), False, self._after(at)))

    # --- workflows ------------------------------------------------------------------------------------------------

    def _look_at_workflow(self, known: KnownWorkflow, now: float) -> None:
        for rule in known.of("missed"):
            due, expected = self._due(rule, known, now)
            if due is None or now <= due or now - due > GIVEN_UP_SECONDS:
                continue
            notes = {
                "expected": expected,
                "last": said(now - known.cadence.last) if known.cadence.last else "",
            }
            self._say_missing(rule, known.name, now, notes)
        for rule in known.of("heartbeat"):
            silent = now - (known.last or known.seen)
            if rule.within < silent < rule.within + GIVEN_UP_SECONDS:
                self._say_missing(rule, known.name, now, {"duration": said(silent)})
            elif (rule.name, known.name) in self._missing and silent <= rule.within:
                self._say_found(rule, known.name, now)
        for rule in known.of("error_rate"):
            if rule.window in known.rates:
                self.look_at_rate(rule, known, now)

    def _due(self, rule: Rule, known: KnownWorkflow, now: float) -> tuple[float | None, str]:
        last = known.cadence.last
        if rule.cron:
            scheduled = rule.previous(now - rule.grace)
            missed = last < scheduled - EARLY and scheduled >= known.seen
            return (scheduled + rule.grace if missed else None), f"its schedule is {rule.cron}"
        if rule.every is not None:
            return max(last, known.seen) + rule.every + rule.grace, f"it should every {said(rule.every)}"
        due = known.cadence.due
        usual = said(known.cadence.period)
        return due, f"it usually does every {usual}, and last did {said(now - last)} ago"

    def _expect_the_named(self, now: float) -> None:
        """A rule that names one workflow waits for it also where it was never seen."""
        for rule in self._watch.rules:
            if rule.when in {"missed", "heartbeat"}:
                for name in rule.match.workflow:
                    if not set(name) & set("*?[!"):
                        self._watch.workflow(name, now)

    def has_started(self, known: KnownWorkflow, at: float) -> None:
        """Say that what was missed has come."""
        for rule in known.of("missed"):
            if (rule.name, known.name) in self._missing:
                self._say_found(rule, known.name, self._after(at))

    def _say_missing(self, rule: Rule, workflow: str, now: float, notes: dict[str, str]) -> None:
        if (rule.name, workflow) not in self._missing:
            self._missing.add((rule.name, workflow))
            self._tell(Fact(rule, (("workflow", workflow),), True, now, notes))

    def _say_found(self, rule: Rule, workflow: str, at: float) -> None:
        self._missing.discard((rule.name, workflow))
        self._tell(Fact(rule, (("workflow", workflow),), False, at))

    def remember(self, alert: Alert, now: float) -> Fact | None:
        """Take up an alert from before a restart; return that it is over where what it is about has ended meanwhile."""
        rule = next((rule for rule in self._watch.rules if rule.name == alert.rule), None)
        workflow, run_id = alert.labels.get("workflow", ""), alert.labels.get("run", "")
        if rule is None or rule.when in {"run_failed", "step_failed"}:
            return None
        if not run_id:
            self._missing.add((rule.name, workflow))
            return None
        run = self._watch.runs.get(run_id)
        if run is not None and rule.when in {"stuck", "waiting", "run_too_long"}:
            run.told.add(rule.name)
            run.told_quiet |= rule.when != "run_too_long"
            return None
        step = self._watch.steps.get((workflow, alert.labels.get("step", "")))
        going_on = [each for each in step.open.values() if each.run == run_id] if step else []
        for each in going_on:
            each.told.add(rule.name)
        about = tuple(
            (name, alert.labels[name]) for name in ("workflow", "step", "run") if name in alert.labels
        )
        return None if going_on else Fact(rule, about, False, max(now, alert.bad_at + 1e-6))

    def look_at_rate(self, rule: Rule, known: KnownWorkflow, now: float) -> None:
        """Say whether too many runs fail."""
        ended, failed = known.rates[rule.window].counts(now)
        key = (rule.name, known.name)
        if ended >= rule.at_least and failed / ended >= rule.above:
            self._missing.add(key)
            notes = {"rate": f"{failed / ended:.0%} ({failed} of {ended})"}
            self._tell(Fact(rule, (("workflow", known.name),), True, now, notes))
        elif key in self._missing and (ended >= rule.at_least or now - self._begun > rule.window):
            self._say_found(rule, known.name, now)


def _about_step(step: KnownStep, each: OpenStep) -> tuple[tuple[str, str], ...]:
    return (("workflow", step.workflow), ("step", step.name), ("run", each.run))


def _notes(lasted: float, limit: float | None, usual: Baseline) -> dict[str, str]:
    """Return how long, and what it is measured by: the rule's limit, or what is usual."""
    if limit is not None:
        return {"duration": said(lasted), "usual": f"more than {said(limit)}"}
    times = lasted / max(usual.usual, 1e-3)
    factor = f"{times:.0f}\u00d7 its usual" if times >= 2 else "beyond its usual"
    return {
        "duration": said(lasted),
        "usual": f"{factor} {said(usual.usual)} (median of its last {len(usual)})",
    }
