"""What is said of an alert: one sentence, made from what is known."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from stagelight_plugins.alerting.rules.spans import said

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stagelight_plugins.alerting.rules.rule import Rule

MOST: Final = 500
"""Characters of one annotation."""

_SENTENCES: Final = {
    "run_failed": "{workflow} failed[ {count} times]: {error}",
    "step_failed": "Step {step} of {workflow} failed[ {count} times]: {error}",
    "run_too_long": "{workflow} has been running for {duration}, {usual}",
    "step_too_long": "Step {step} of {workflow} has been running for {duration}, {usual}",
    "stuck": "{workflow} has been silent for {duration}, {usual}",
    "waiting": "{workflow} has been waiting for an answer for {duration}",
    "error_rate": "{rate} of the runs of {workflow} failed",
    "missed": "{workflow} did not start: {expected}",
    "heartbeat": "{workflow} has not been heard of for {duration}",
}
_OPTIONAL: Final = re.compile(r"\[([^\]]*)\]")
_FIELD: Final = re.compile(r"\{(\w+)\}")


def summary(rule: Rule, known: Mapping[str, str]) -> str:
    """Return the rule's sentence about what is known. What stands in brackets is left out where a part is not known."""
    if not rule.summary and known.get("finding"):
        return short(known["finding"])
    sentence = rule.summary or _SENTENCES.get(rule.when, "{rule} holds[ for {workflow}]")
    if not rule.summary:
        sentence = _OPTIONAL.sub(lambda part: part[1] if _all_known(part[1], known) else "", sentence)
    return short(_FIELD.sub(lambda field: known.get(field[1], ""), sentence).strip(" :,"))


def meaning(rule: Rule) -> str:
    """Return what a rule waits for, in words: `a step takes longer than 5 min, where workflow is billing*`."""
    say = _MEANINGS.get(rule.when)
    found = say(rule) if say is not None else f"{rule.when} says so"
    places: list[tuple[str, Sequence[str]]] = [
        ("workflow", rule.match.workflow), ("step", rule.match.step), ("service", rule.match.service),
    ]  # fmt: skip
    places += rule.match.attributes.items()
    where = ", ".join(f"{name} is {' or '.join(patterns)}" for name, patterns in places if patterns)
    wait = f", for {said(rule.wait)}" if rule.wait else ""
    return short(f"{found}{wait}" + (f", where {where}" if where else ""))


def _longer(limit: float | None) -> str:
    return said(limit) if limit is not None else "it usually does"


def _missed(rule: Rule) -> str:
    if rule.cron:
        return f"no run starts by its schedule {rule.cron} ({rule.timezone})"
    if rule.every is not None:
        return f"no run starts within {said(rule.every)}"
    return "no run starts when one usually does"


_MEANINGS: Final[Mapping[str, Callable[[Rule], str]]] = {
    "run_failed": lambda _: "a run fails",
    "step_failed": lambda _: "a step fails and is not tried again",
    "run_too_long": lambda rule: f"a run takes longer than {_longer(rule.longer_than)}",
    "step_too_long": lambda rule: f"a step takes longer than {_longer(rule.longer_than)}",
    "stuck": lambda rule: f"a run is silent for longer than {_longer(rule.silent_for)}",
    "waiting": lambda rule: (
        "a run waits for an answer"
        + (f" for longer than {said(rule.longer_than)}" if rule.longer_than else "")
    ),
    "error_rate": lambda rule: f"{rule.above:.0%} or more of the runs within {said(rule.window)} fail",
    "missed": _missed,
    "heartbeat": lambda rule: f"nothing is heard for {said(rule.within)}",
    "sql": lambda _: "a question to history has rows",
}


def short(text: str) -> str:
    """Return text that is not longer than an annotation may be, without control characters."""
    clean = "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text[: 4 * MOST])
    return clean if len(clean) <= MOST else f"{clean[: MOST - 1]}…"


def _all_known(part: str, known: Mapping[str, str]) -> bool:
    return all(known.get(name, "") for name in _FIELD.findall(part))
