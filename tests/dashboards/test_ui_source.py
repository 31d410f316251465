"""Rules for the source of the page that no compiler holds."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

import build_ui

UI: Final = Path(build_ui.__file__).parent / "ui"
SOURCES: Final = [
    path for path in sorted((UI / "src").rglob("*")) if path.suffix in {".ts", ".svelte", ".css"}
]
TEXT_CONTRAST: Final = 4.5
GRAPHICS_CONTRAST: Final = 3.0


def test_nothing_writes_markup_or_style_text_into_the_page() -> None:
    """The content security policy would stop it; this says so earlier."""
    forbidden = re.compile(
        r"\{@html|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\seval\(|\sstyle=\""
    )
    for path in SOURCES:
        assert forbidden.findall(path.read_text()) == [], path.name


def test_the_lock_file_names_no_registry_and_pins_every_package_by_hash() -> None:
    packages = json.loads((UI / "package-lock.json").read_text())["packages"]
    installed = {name: entry for name, entry in packages.items() if name}
    assert installed
    assert [name for name, entry in installed.items() if "resolved" in entry] == []
    bundled = {name for name, entry in installed.items() if entry.get("inBundle")}
    assert [
        name for name, entry in installed.items() if "integrity" not in entry and name not in bundled
    ] == []


def test_source_files_stay_short() -> None:
    assert [path.name for path in SOURCES if len(path.read_text().splitlines()) > 400] == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_can_be_told_apart(theme: str) -> None:
    colours = tokens(theme)
    surfaces = [colours[name] for name in ("surface", "surface-sunken", "surface-hover", "surface-chosen")]
    for name in ("text", "text-quiet", "accent", "running", "waiting", "good", "bad", "quiet"):
        assert min(contrast(colours[name], surface) for surface in surfaces) >= TEXT_CONTRAST, name
    for tone in ("running", "waiting", "good", "bad", "quiet"):
        assert contrast(colours[tone], colours[f"{tone}-soft"]) >= TEXT_CONTRAST, tone
        assert contrast(colours[f"{tone}-bar"], colours["surface"]) >= GRAPHICS_CONTRAST, tone


def test_the_chosen_dark_theme_is_the_same_as_the_preferred_one() -> None:
    preferred, chosen = (re.findall(r"--[\w-]+: [^;]+", block) for block in dark_blocks())
    assert preferred == chosen


def tokens(theme: str) -> dict[str, str]:
    light = (UI / "src" / "styles" / "tokens.css").read_text().split("@media")[0]
    text = light if theme == "light" else light + dark_blocks()[0]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", text))


def dark_blocks() -> tuple[str, str]:
    preferred, chosen = (UI / "src" / "styles" / "tokens.css").read_text().split("color-scheme: dark;")[1:]
    return preferred, chosen


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio as WCAG 2.2 defines it."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("command", ["check", "test"])
def test_the_page_passes_its_own_checks(command: str) -> None:
    """`svelte-check` and `vitest`, where the packages of the page are installed."""
    npm = shutil.which("npm")
    if npm is None or not (UI / "node_modules").is_dir():
        pytest.skip("run `npm ci` in dashboards/ui first")
    done = subprocess.run(
        [npm, "run", command], cwd=UI, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
