"""What is shipped: the wheel holds the four packages, the built page and nothing else."""

from __future__ import annotations

import email
import tomllib
import zipfile
from configparser import ConfigParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hatchling.builders.wheel import WheelBuilder

if TYPE_CHECKING:
    from email.message import Message

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "stagelight": "agent",
    "stagelight_collector": "collector",
    "stagelight_plugins": "plugins",
    "stagelight_dashboards": "dashboards",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Build the wheel as `pip` does; return its files by name, those of the metadata without version."""
    folder = tmp_path_factory.mktemp("wheel")
    (path,) = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    info = next(name.partition("/")[0] for name in files if ".dist-info/" in name)
    return {name.replace(info, "dist-info", 1): data for name, data in files.items()}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """What `pyproject.toml` says of the project."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project


@pytest.fixture(scope="module")
def metadata(wheel: dict[str, bytes]) -> Message:
    """The wheel's metadata."""
    return email.message_from_bytes(wheel["dist-info/METADATA"])


def test_the_wheel_holds_the_four_packages_and_nothing_else(wheel: dict[str, bytes]) -> None:
    assert {name.partition("/")[0] for name in wheel} == {*PACKAGES, "dist-info"}
    strange = [name for name in wheel if "/ui/" in name or "node_modules" in name or name.endswith(".pyc")]
    assert strange == []


@pytest.mark.parametrize(("package", "folder"), PACKAGES.items())
def test_every_module_is_in_the_wheel_with_its_types(
    wheel: dict[str, bytes], package: str, folder: str
) -> None:
    modules = {str(path.relative_to(ROOT / folder)) for path in (ROOT / folder / package).rglob("*.py")}

    assert modules <= set(wheel)
    assert f"{package}/py.typed" in wheel


def test_the_built_page_is_in_the_wheel_and_names_only_files_that_are(wheel: dict[str, bytes]) -> None:
    static = "stagelight_dashboards/static/"
    page = wheel[f"{static}index.html"].decode()
    assets = [name.removeprefix(static) for name in wheel if name.startswith(f"{static}assets/")]

    assert {Path(name).suffix for name in assets} >= {".js", ".css"}
    assert [name for name in assets if name in page], "the page loads none of its scripts"


def test_the_wheel_says_what_it_needs_and_under_which_licence(
    metadata: Message, project: dict[str, Any], wheel: dict[str, bytes]
) -> None:
    needed = [text for text in metadata.get_all("Requires-Dist", []) if "extra ==" not in text]

    assert metadata["License-Expression"] == "Apache-2.0"
    assert wheel["dist-info/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    assert metadata["Requires-Python"] == project["requires-python"]
    assert all(text.startswith("opentelemetry-") for text in needed), "the agent is light: OpenTelemetry only"
    assert set(metadata.get_all("Provides-Extra", [])) == set(project["optional-dependencies"])


def test_all_is_every_other_extra(project: dict[str, Any]) -> None:
    extras = set(project["optional-dependencies"])
    (everything,) = project["optional-dependencies"]["all"]

    named = everything.removeprefix("stagelight[").removesuffix("]").split(",")
    assert sorted(named) == sorted(extras - {"all"})


def test_the_entry_points_are_those_of_the_project(wheel: dict[str, bytes], project: dict[str, Any]) -> None:
    shipped = ConfigParser(delimiters="=")
    shipped.read_string(wheel["dist-info/entry_points.txt"].decode())
    wanted = {"console_scripts": project["scripts"], **project["entry-points"]}

    assert {group: dict(shipped[group]) for group in shipped.sections()} == wanted
