"""What holds for the whole house: where things are, who may import whom, what is shipped."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = {
    "agent": "stagelight",
    "collector": "stagelight_collector",
    "plugins": "stagelight_plugins",
    "dashboards": "stagelight_dashboards",
}
TOP_LEVEL = {
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "agent",
    "collector",
    "plugins",
    "dashboards",
    "tests",
}
GENERIC = {"utils.py", "util.py", "helpers.py", "common.py", "base.py", "misc.py"}


def tracked() -> list[Path]:
    """Return the files under version control; all files where there is none (an sdist)."""
    listing = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    return [Path(name) for name in listing.stdout.splitlines() if (ROOT / name).is_file()]


def sources() -> list[Path]:
    """Return the Python sources."""
    return [path for path in tracked() if path.suffix == ".py" and path.parts[0] in ROOMS]


def test_the_top_level_is_fixed() -> None:
    found = {path.parts[0] for path in tracked() if not path.parts[0].startswith(".")}

    assert found == TOP_LEVEL


@pytest.mark.parametrize(("folder", "package"), ROOMS.items())
def test_a_source_root_holds_exactly_one_package(folder: str, package: str) -> None:
    inside = {path.parts[1] for path in tracked() if path.parts[0] == folder and len(path.parts) > 2}
    loose = {
        path.name
        for path in tracked()
        if path.parts[0] == folder and len(path.parts) == 2 and path.suffix == ".py"
    }

    assert inside - {"ui", "grafana"} == {package}
    assert loose <= {"build_ui.py"}, (
        "a stray module would be importable under a generic name in an editable install"
    )


def test_modules_are_named_by_nouns() -> None:
    assert [path for path in sources() if path.name in GENERIC] == []


def test_every_module_says_what_it_is_for() -> None:
    silent = [path for path in sources() if not ast.get_docstring(ast.parse((ROOT / path).read_text()))]

    assert silent == []


def test_values_are_bound_to_sqlite_without_numbers() -> None:
    """`?1` beside a sequence is an error from Python 3.14 on."""
    numbered = re.compile(r"(?:VALUES|WHERE|LIMIT|SET)\b.*[\s(]\?\d")
    found = [
        (path, line)
        for path in sources()
        for line in (ROOT / path).read_text().splitlines()
        if numbered.search(line)
    ]

    assert found == []


def test_imports_go_one_way() -> None:
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command as main; main()",
            "--no-cache",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    "module", ["stagelight", "stagelight.events", "stagelight.conventions", "stagelight.testing"]
)
def test_the_wire_contract_loads_no_opentelemetry(module: str) -> None:
    script = f"import sys, {module}; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("module", ["stagelight_plugins.hookspecs", "stagelight_plugins.manager"])
def test_plugins_load_neither_the_collector_nor_a_database(module: str) -> None:
    script = f"import sys, {module}; sys.exit(bool({{'stagelight_collector', 'chdb', 'aiohttp'}} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize(
    "group", ["opentelemetry_distro", "opentelemetry_configurator", "pytest11", "console_scripts"]
)
def test_entry_points_can_be_loaded(group: str) -> None:
    (point,) = [point for point in entry_points(group=group) if point.name == "stagelight"]

    assert point.load()


def test_the_agent_alone_answers_with_the_extra() -> None:
    script = (
        "import sys\nsys.modules['click'] = None\nsys.argv = ['stagelight', 'up']\n"
        "from stagelight_collector.__main__ import main\nsys.exit(main())"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert result.returncode == 2
    assert "pip install 'stagelight[collector]'" in result.stderr
