"""The readings: the article's samples and hostile programs, as they are written, and as three bundlers write them."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from tests.plugins.diagram.readings import Case, cases, drawn, listed, read, score

from stagelight_plugins.diagram.parse import parse

CORPUS = Path(__file__).parent / "corpus"
SOURCES = {".ts": list(cases(CORPUS / "readings.txt")), ".py": list(cases(CORPUS / "readings.py.txt"))}
BUNDLERS = ("esbuild", "wrangler", "vite", "rspack")
"""`wrangler` is esbuild as it is there by default: not minified, with the names kept."""


def bundles(bundler: str) -> dict[str, str]:
    """Return what a bundler made of the cases, by their names."""
    text = (CORPUS / "readings" / f"{bundler}.txt").read_text()
    found = (section.partition("\n") for section in re.split(r"^== ", text, flags=re.MULTILINE)[1:])
    return {title: code for title, _, code in found}


def described(case: Case, code: str, path: str, *, bundled: bool = False) -> str:
    """Return what differs between a reading and a diagram, after their likeness."""
    answer = parse(code.encode(), path)
    assert answer["success"], answer
    likeness = score(case.reading, answer["workflows"], bundled=bundled)
    if likeness == 1:
        return ""
    found = {str(each["class_name"]): drawn(each) for each in answer["workflows"]}
    read = listed(case.reading, bundled=bundled)
    return f"{case.name}: {likeness:.3f}\nread  {read}\ndrawn {listed(found, bundled=bundled)}"


@pytest.mark.parametrize("suffix", SOURCES)
def test_sources_are_drawn_as_a_person_reads_them(suffix: str) -> None:
    wrong = [said for case in SOURCES[suffix] if (said := described(case, case.source, f"source{suffix}"))]
    assert len(SOURCES[suffix]) >= 8
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("bundler", BUNDLERS)
def test_bundles_are_drawn_as_a_person_reads_their_sources(bundler: str) -> None:
    made = bundles(bundler)
    told = [case for case in SOURCES[".ts"] if case.name in made]
    wrong = [said for case in told if (said := described(case, made[case.name], "bundle.js", bundled=True))]
    assert len(told) >= 25
    assert not wrong, "\n".join(wrong)


RIGHT = "W\n  do a\n  loop\n    do b\n  if\n    do c\n  else\n    do d\n  all\n    do e\n    do f\n"
SMALL = """import { WorkflowEntrypoint } from "cloudflare:workers";
export class W extends WorkflowEntrypoint { async run(event, step) {
  await step.do("a", f); for (const x of event.payload) await step.do("b", f);
  if (x) await step.do("c", f); else await step.do("d", f);
  await Promise.all([step.do("e", f), step.do("f", f)]);
} }"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("do a", "do z"),
        ("  loop\n    do b", "  do b"),
        ("  do a\n", ""),
        ("  all", "  race"),
        ("do a", "sleep a"),
    ],
)
def test_a_reading_that_differs_has_a_lower_score(old: str, new: str) -> None:
    workflows = parse(SMALL.encode(), "small.ts")["workflows"]
    assert score(read(RIGHT), workflows) == 1
    assert score(read(RIGHT.replace(old, new, 1)), workflows) < 1


BROKEN = (
    "{",
    "}",
    "(",
    ")",
    "=>",
    "...",
    "await ",
    "step",
    "class ",
    "`",
    "${",
    "*",
    ">>",
    "|",
    ":",
    "\n    ",
    "@",
    "\u202e",
    "\0",
)
"""What is put into sources to damage them."""


@pytest.mark.parametrize("suffix", SOURCES)
def test_a_damaged_source_is_answered(suffix: str) -> None:
    chance = random.Random(11)
    for case in chance.choices(SOURCES[suffix], k=250):
        words = re.findall(r"\s+|\w+|[^\w\s]", case.source)
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(words))
            words[at : at + chance.randrange(4)] = chance.choices(
                (*BROKEN, chance.choice(words)), k=chance.randrange(3)
            )
            words = words or [" "]
        source = "".join(words)
        assert "our parser failed" not in parse(source.encode(), f"damaged{suffix}").get("error", ""), source
