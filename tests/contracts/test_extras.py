"""Each extra alone gives what it promises: the collector starts with it, whatever the others would bring."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
EXTRAS: Final[dict[str, list[str]]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
    "optional-dependencies"
]
PATIENCE_SECONDS: Final = 60

WITHOUT: Final = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""


def distributions(extra: str) -> set[str]:
    """Return what an extra installs of its own and by other extras, as far as the project names it."""
    found: set[str] = set()
    for requirement in EXTRAS[extra]:
        if nested := re.fullmatch(r"stagelight\[(.+)\]", requirement):
            found = found.union(*(distributions(name) for name in nested[1].split(",")))
        else:
            found.add(re.split(r"[<>=~\[; ]", requirement, maxsplit=1)[0].lower())
    return found


def modules(names: set[str]) -> set[str]:
    """Return the modules at the top of distributions."""
    return {
        module
        for module, owners in packages_distributions().items()
        if names & {owner.lower() for owner in owners}
    }


def without_others(extra: str, folder: Path) -> dict[str, str]:
    """Return an environment in which nothing can be imported that only other extras install."""
    missing = modules(distributions("all")) - modules(distributions(extra))
    (folder / "sitecustomize.py").write_text(WITHOUT.format(names=missing))
    return {**os.environ, "PYTHONPATH": str(folder)}


@pytest.mark.parametrize("extra", sorted(EXTRAS.keys() - {"all"}))
def test_the_collector_starts_with_one_extra_alone(extra: str, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "stagelight_collector",
        "up",
        "--port",
        "0",
        "--data-dir",
        str(tmp_path / "data"),
    ]
    with subprocess.Popen(
        command,
        env=without_others(extra, tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.terminate()
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)

    assert line.startswith("Stagelight is listening on "), errors
    assert process.returncode == 0
