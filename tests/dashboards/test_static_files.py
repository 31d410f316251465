"""What the collector gets to serve."""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING, Final

import pytest

from stagelight_dashboards import manifest, static_files

if TYPE_CHECKING:
    from pathlib import Path

    from stagelight_dashboards import StaticFile

MOST_AT_ONCE: Final = 60 << 10
"""Bytes of what a page loads first, gzipped; the diagram and the alerts come when somebody looks at them."""
MOST_GZIPPED: Final = 100 << 10
"""Of all of it together."""


@pytest.fixture
def files(built_page: Path) -> dict[str, StaticFile]:  # noqa: ARG001  # it must be built first
    return dict(static_files())


def test_all_scripts_and_styles_together_are_small(files: dict[str, StaticFile]) -> None:
    code = [file.body for path, file in files.items() if path.endswith((".js", ".css"))]
    assert sum(len(gzip.compress(body)) for body in code) < MOST_GZIPPED


def test_what_a_page_loads_first_is_smaller(files: dict[str, StaticFile]) -> None:
    named = re.findall(r'(?:src|href)="\.?/?([^"]+\.(?:js|css))"', files["index.html"].body.decode())
    assert len(named) > 1
    assert sum(len(gzip.compress(files[path].body)) for path in named) < MOST_AT_ONCE


def test_only_files_with_a_hash_in_their_name_are_immutable(files: dict[str, StaticFile]) -> None:
    for path, file in files.items():
        assert file.immutable is bool(re.search(r"-[\w-]{8}\.(js|css)$", path)), path


def test_every_file_has_a_content_type_and_a_strong_tag_of_its_own(files: dict[str, StaticFile]) -> None:
    assert {path.rsplit(".", 1)[1] for path in files} == {"html", "js", "css", "svg"}
    assert all(re.fullmatch(r'"[0-9a-f]{32}"', file.etag) for file in files.values())
    assert len({file.etag for file in files.values()}) == len(files)


def test_the_page_refers_to_its_files_by_relative_addresses_only(files: dict[str, StaticFile]) -> None:
    references = re.findall(r'(?:src|href)="([^"]*)"', files["index.html"].body.decode())
    assert references
    for reference in references:
        assert reference.startswith("./")
        assert reference.removeprefix("./") in files


def test_the_page_holds_no_inline_script_style_or_handler(files: dict[str, StaticFile]) -> None:
    html = files["index.html"].body.decode()
    assert re.findall(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", html) == []


def test_an_installation_without_the_page_says_so_and_how_to_get_it(tmp_path: Path) -> None:
    files = manifest.read(tmp_path / "static")
    assert list(files) == ["index.html"]
    assert b"was not built" in files["index.html"].body
    assert b"pip install" in files["index.html"].body
