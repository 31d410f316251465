"""What is said of an alert: one sentence, made from what is known."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

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


def short(text: str) -> str:
    """Return text that is not longer than an annotation may be, without control characters."""
    clean = "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text[: 4 * MOST])
    return clean if len(clean) <= MOST else f"{clean[: MOST - 1]}…"


def _all_known(part: str, known: Mapping[str, str]) -> bool:
    return all(known.get(name, "") for name in _FIELD.findall(part))
