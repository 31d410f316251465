"""A million broken programs: whatever a source says, the diagram parser has an answer that can be shown.

Coverage-guided (`pip install atheris`): the corpus is mutated by bytes, by lines and by splicing two programs. An exception, an answer that
says that our parser failed, an SVG that is no XML, and anything of a program that is run (told by the interpreter's audit events) end
it all, and the program that did it is written down beside it.

    python tests/fuzz/diagram.py [-runs=1000000] [-max_total_time=600]    # further options are libFuzzer's

Prints one JSON line at the end (source of the number: `-runs`).
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import random
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

atheris: Any = importlib.import_module("atheris")

with atheris.instrument_imports(include=["stagelight_plugins.diagram"]):
    from stagelight_plugins.diagram.mermaid import mermaid
    from stagelight_plugins.diagram.outline import outline
    from stagelight_plugins.diagram.parse import parse
    from stagelight_plugins.diagram.svg import render

    importlib.import_module("stagelight_plugins.diagram.javascript.workflows")
    importlib.import_module("stagelight_plugins.diagram.python.workflows")

if TYPE_CHECKING:
    from collections.abc import Iterator

CORPUS: Final = Path(__file__).parent.parent / "plugins" / "diagram" / "corpus"
NAMES: Final = ("a.py", "a.ts", "a.tsx", "a.js")
"""By the first byte of an input."""
LONGEST: Final = 1_000
"""Bytes of a program: what is larger is read too slowly to be changed often, and nests no other way."""
ONE_IN: Final = 2
DEFECT: Final = "our parser failed"
TRAPS: Final = (
    b'open("canary", "w")\n',
    b'@__import__("os").system("touch canary")\n',
    b"import antigravity, this\n",
    b"class A(metaclass=print): x: int = exec('raise SystemExit')\n",
    b"def f(x=__import__('subprocess').run('true')): ...\n",
    b"require('child_process').execSync('touch canary');\n",
)
"""Lines that would be seen if they ran."""
RUNS: Final = ("exec", "os.system", "os.posix_spawn", "subprocess.Popen", "socket.connect", "webbrowser.open")
"""Audit events of what runs."""

COUNTED: Final = ("programs", "refused", "drawn")

ran: Any = multiprocessing.RawArray("Q", len(COUNTED))
"""Programs read, refused with a reason, and workflows drawn; shared, because libFuzzer ends its process without a goodbye."""
lines: list[bytes] = [*TRAPS] * 20
reading: list[bool] = []
"""Not empty while a program is read."""


def seeds() -> Iterator[bytes]:
    """Yield the programs of the corpus, each behind the byte that chooses its language."""
    for file in sorted(CORPUS.rglob("*")):
        if file.suffix in {".txt", ".ts", ".js", ".tsx"}:
            kind = 0 if ".py" in file.name else 3 if file.suffix == ".js" else 1
            source = file.read_bytes()
            lines.extend(line for line in source.splitlines(keepends=True)[:2_000] if len(line) < LONGEST)
            for part in source.split(b"\n== ")[:200]:
                yield bytes([kind]) + part.partition(b"\n--\n")[0][:LONGEST]


def never(event: str, arguments: tuple[object, ...]) -> None:
    """Refuse what would run a program, while one is read."""
    if reading and event in RUNS:
        print(f"{event} {arguments!r:.200}", file=sys.stderr)
        raise RuntimeError(event)


def read(data: bytes) -> None:
    """Draw a program in every form; raise where something is wrong with that."""
    if not data:
        return
    reading.append(True)
    try:
        draw(data)
    finally:
        reading.clear()


def draw(data: bytes) -> None:
    """Draw it."""
    answer = parse(data[1:], NAMES[data[0] % len(NAMES)])
    ran[0] += 1
    if not answer["success"]:
        ran[1] += 1
        if DEFECT in answer["error"]:
            raise AssertionError(answer["error"])
        return
    json.dumps(answer).encode("ascii")
    for workflow in answer["workflows"]:
        ran[2] += 1
        ET.fromstring(render(workflow))  # noqa: S314 - our own
        assert mermaid(workflow).startswith("flowchart"), mermaid(workflow)[:80]
        outline(workflow).encode()


def mutate(data: bytes, longest: int, seed: int) -> bytes:
    """Change bytes, or lines: most changes of bytes are no program any more."""
    chance = random.Random(seed)
    if chance.randrange(ONE_IN) or not data:
        return bytes(atheris.Mutate(data, longest))
    parts = data[1:].splitlines(keepends=True)
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(parts))
        match chance.randrange(3):
            case 0:
                parts.insert(at, chance.choice(lines))
            case 1:
                del parts[at : at + chance.randint(1, 3)]
            case _:
                parts[at:at] = parts[chance.randint(0, len(parts)) :][: chance.randint(1, 5)]
    return (data[:1] + b"".join(parts))[:longest]


def splice(one: bytes, other: bytes, longest: int, seed: int) -> bytes:
    """Put the end of one program after the beginning of another."""
    chance = random.Random(seed)
    return (one[: chance.randint(1, max(1, len(one)))] + other[chance.randint(0, len(other)) :])[:longest]


def fuzz() -> None:
    """Write the seeds, and go; the process ends in here."""
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds()):
            Path(folder, str(number)).write_bytes(seed)
        options = ["-runs=1000000", f"-max_len={LONGEST}", "-timeout=60", "-verbosity=0", *sys.argv[1:]]
        for name in NAMES:  # what is imported late is imported
            parse(b"export class A {}\ndef run(): ...", name)
        sys.addaudithook(never)
        atheris.Setup([sys.argv[0], *options, folder], read, custom_mutator=mutate, custom_crossover=splice)
        atheris.Fuzz()


def main() -> None:
    """Fuzz in a process of its own, then print the line."""
    child = multiprocessing.get_context("fork").Process(target=fuzz)
    child.start()
    child.join()
    counts = dict(zip(COUNTED, ran, strict=True))
    print(
        json.dumps(
            {
                "name": "diagram_fuzz",
                "value": counts["programs"],
                "unit": "programs",
                "failed": child.exitcode != 0,
                **counts,
            }
        )
    )
    sys.exit(1 if child.exitcode else 0)


if __name__ == "__main__":
    main()
