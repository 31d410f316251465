"""A survey of the standard library of the running interpreter: the demo's job, and an example of the agent.

It scans the library's sources, parses them in parallel, measures their functions, looks for functions that are
written twice, and writes a report. An index is written by a child run, which holds a lock meanwhile: the report has
to wait for it and tries again. A second run, the audit, fails for a real reason: it finds a file that is not text.

Nothing here knows of the collector; without one it runs just the same: `python -m stagelight_collector.demo.survey [DIRECTORY]`.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import py_compile
import statistics
import sys
import sysconfig
import tempfile
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import stagelight

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

PARALLEL: Final = 4
LEFT_OUT: Final = frozenset(
    {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "__pycache__"}
)
SHORTEST: Final = 6
"""Shorter functions are alike by nature and do not count as duplicates, in lines."""
PATIENCE: Final = (0.2, 0.4, 0.8, 1.6, 3.2)
"""Seconds between the tries to get the lock."""


@dataclass(frozen=True, slots=True)
class Function:
    """One function of the library."""

    name: str
    place: str
    lines: int
    digest: str


@dataclass(slots=True)
class Findings:
    """What one package holds."""

    package: str
    files: int = 0
    lines: int = 0
    functions: list[Function] = field(default_factory=list["Function"])


@stagelight.workflow(name="standard library survey")
def survey(output: Path, library: Path) -> Path:
    """Survey a library; return the path of the report."""
    packages = scan(library)
    findings = parse_all(packages, library)
    figures = measure(findings)
    duplicates = find_duplicates(findings)
    stagelight.set(files=figures["files"], functions=figures["functions"])
    writing = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        indexing = pool.submit(index_names, output, findings, writing)
        writing.wait()
        report = publish(output, figures, duplicates)
        indexing.result()
    return report


@stagelight.step
def scan(library: Path) -> dict[str, list[Path]]:
    """Group the library's sources by package."""
    packages: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(library.rglob("*.py")):
        place = path.relative_to(library)
        if not LEFT_OUT.intersection(place.parts):
            packages[place.parts[0] if place.parent.name else f"modules {path.name[0].lower()}"].append(path)
    stagelight.set(packages=len(packages), files=sum(map(len, packages.values())))
    return dict(packages)


@stagelight.step(name="parse")
def parse_all(packages: dict[str, list[Path]], library: Path) -> list[Findings]:
    """Parse every package, several at a time."""
    findings: list[Findings] = []
    with ThreadPoolExecutor(PARALLEL) as pool:
        parsing = pool.map(parse, packages, packages.values(), [library] * len(packages))
        for done, found in enumerate(parsing, 1):
            findings.append(found)
            stagelight.progress(done, len(packages), found.package)
    return findings


def parse(package: str, paths: list[Path], library: Path) -> Findings:
    """Parse one package."""
    found = Findings(package)
    with stagelight.step(f"parse {package}") as step:
        for number, path in enumerate(paths, 1):
            source = path.read_bytes()
            found.files += 1
            found.lines += source.count(b"\n")
            found.functions += functions_of(ast.parse(source, path), str(path.relative_to(library)))
            if number % 20 == 0 or number == len(paths):
                stagelight.progress(number, len(paths), path.name)
        step.set(files=found.files, lines=found.lines, functions=len(found.functions))
    return found


def functions_of(tree: ast.Module, place: str) -> Iterator[Function]:
    """Yield the functions of a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            body = "".join(ast.dump(statement) for statement in node.body) if lines >= SHORTEST else ""
            digest = hashlib.blake2b(body.encode(), digest_size=8).hexdigest() if body else ""
            yield Function(node.name, f"{place}:{node.lineno}", lines, digest)


@stagelight.step
def measure(findings: list[Findings]) -> dict[str, float]:
    """Sum up, and find how long functions are."""
    lengths = [function.lines for found in findings for function in found.functions]
    quantiles = statistics.quantiles(lengths, n=10)
    figures = {
        "files": sum(found.files for found in findings),
        "lines": sum(found.lines for found in findings),
        "functions": len(lengths),
        "median_lines": statistics.median(lengths),
        "p90_lines": quantiles[8],
        "longest_lines": max(lengths),
    }
    stagelight.log(
        f"{figures['functions']} functions, half of them within {figures['median_lines']:.0f} lines"
    )
    return figures


@stagelight.step
def find_duplicates(findings: list[Findings]) -> list[list[str]]:
    """Return the places of functions whose bodies are the same."""
    places: dict[str, list[str]] = defaultdict(list)
    for found in findings:
        for function in found.functions:
            if function.digest:
                places[function.digest].append(f"{function.name} ({function.place})")
    groups = sorted((group for group in places.values() if len(group) > 1), key=len, reverse=True)
    stagelight.set(groups=len(groups))
    if groups:
        stagelight.log(f"written {len(groups[0])} times: {groups[0][0]}", severity="WARN")
    return groups


@stagelight.workflow(name="index of names")
def index_names(output: Path, findings: list[Findings], writing: threading.Event) -> int:
    """Write where each name is defined; hold the lock meanwhile, and say when it is held."""
    with lock(output, writing), stagelight.step("write index"):
        names: dict[str, list[str]] = defaultdict(list)
        for done, found in enumerate(findings, 1):
            for function in found.functions:
                names[function.name].append(function.place)
            write(output / "index.json", dict(sorted(names.items())))
            stagelight.progress(done, len(findings), found.package)
    return len(names)


def publish(output: Path, figures: dict[str, float], duplicates: list[list[str]]) -> Path:
    """Write the report, waiting for the lock as long as it takes."""
    for pause in PATIENCE:
        try:
            return write_report(output, figures, duplicates)
        except FileExistsError:
            time.sleep(pause)
    return write_report(output, figures, duplicates)


@stagelight.step
def write_report(output: Path, figures: dict[str, float], duplicates: list[list[str]]) -> Path:
    """Write the report; FileExistsError while the index is being written."""
    with lock(output):
        return write(output / "report.json", {"figures": figures, "duplicates": duplicates[:100]})


@contextmanager
def lock(output: Path, held: threading.Event | None = None) -> Generator[None]:
    """Hold the output directory for one writer; FileExistsError while another holds it."""
    path = output / "lock"
    os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    if held is not None:
        held.set()
    try:
        yield
    finally:
        path.unlink()


def write(path: Path, data: object) -> Path:
    """Replace a file in one go."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(data, indent=1))
    return temporary.replace(path)


@stagelight.workflow(name="text audit")
def audit(output: Path, library: Path) -> int:
    """Check that every file is text. One is not, so this run fails."""
    sample = collect_sample(output, library)
    return sum(read_as_text(path) for path in sample)


@stagelight.step
def collect_sample(output: Path, library: Path) -> list[Path]:
    """Take some sources, and what the interpreter compiles them to."""
    sources = sorted(library.glob("a*.py"))
    compiled = py_compile.compile(str(sources[-1]), cfile=str(output / "compiled.pyc"), doraise=True)
    return [*sources, Path(str(compiled))]


@stagelight.step
def read_as_text(path: Path) -> int:
    """Return how many characters a file has; UnicodeDecodeError if it is not text."""
    stagelight.set(file=path.name)
    return len(path.read_text(encoding="utf-8"))


def main(arguments: Sequence[str]) -> int:
    """Run the survey, then the audit; write to the directory that is given, or to a new one.

    Returns:
        0 also when the audit fails: that is expected, and seen in the page. 130 when interrupted.
    """
    output = Path(arguments[0] if arguments else tempfile.mkdtemp(prefix="stagelight-survey-"))
    try:
        _work(output)
    except KeyboardInterrupt:
        sys.stderr.write("The survey was stopped.\n")
        return 130
    if not arguments:
        sys.stderr.write(f"The survey's report is in {output}\n")
    return 0


def _work(output: Path) -> None:
    library = Path(sysconfig.get_paths()["stdlib"])
    survey(output, library)
    try:
        audit(output, library)
    except UnicodeDecodeError as error:
        sys.stderr.write(f"The audit failed, as it should: {error}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
