"""Mistakes on the command line: one voice, one line, the nearest match."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from .conftest import command

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Answer

BROKEN = {
    "raises": "raise RuntimeError('out of order')",
    "misspelt": "from stagelight_plugins import hookimpl\n\n@hookimpl\ndef register_command(cli): ...\n",
    "unwilling": "from stagelight_plugins import hookimpl\n\n@hookimpl\ndef register_commands(cli): raise OSError('no')\n",
}
WILLING = """
import click
from stagelight_plugins import hookimpl

@hookimpl
def register_commands(cli):
    cli.add_command(click.Command('wave', help='Wave.', callback=lambda: click.echo('hello')))
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install plugins and name them in stagelight.toml."""

    def write(**sources: str) -> None:
        place = tmp_path / "site"
        metadata = place / "strangers-1.dist-info"
        metadata.mkdir(parents=True)
        for name, source in sources.items():
            (place / f"strange_{name}.py").write_text(source)
        entries = "\n".join(f"{name} = strange_{name}" for name in sources)
        (metadata / "entry_points.txt").write_text(f"[stagelight]\n{entries}\n")
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: strangers\nVersion: 1\n")
        (tmp_path / "stagelight.toml").write_text(f"[plugins]\nload = {list(sources)}\n")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(place), *sys.path]))

    return write


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("rnus", "`stagelight` has no command `rnus`; did you mean `runs`?"),
        ("runs lst", "`stagelight runs` has no command `lst`; did you mean `list`?"),
        ("runs qqq", "`stagelight runs` has no command `qqq`; `stagelight runs --help` lists them"),
        ("runs list --jsn", "`stagelight runs list` has no option `--jsn`; did you mean `--json`?"),
        ("up --port 99999", "invalid value for '--port': 99999 is not in the range 0<=x<=65535; see `stagelight up --help`"),
        ("runs show", "missing argument 'RUN_ID'; see `stagelight runs show --help`"),
        ("runs list --url ftp://x", "'ftp://x' is not an address; write --url http://127.0.0.1:4318"),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_in_one_line(
    stagelight: Callable[..., Answer], arguments: str, line: str
) -> None:
    answer = stagelight(*arguments.split())

    assert (answer.code, answer.out, answer.err) == (2, "", f"stagelight: {line}\n")


def test_config_show_prints_what_is_right_and_says_what_is_wrong(
    stagelight: Callable[..., Answer], tmp_path: Path
) -> None:
    (tmp_path / "stagelight.toml").write_text("prot = 1\nhost = '::1'\n")
    answer = stagelight("config", "show")

    assert answer.code == 2
    assert 'host = "::1"' in answer.out
    assert answer.err == "stagelight: stagelight.toml: `prot` is no setting; did you mean `port`?\n"
    assert stagelight("runs", "list").err == answer.err


def test_config_show_keeps_to_itself_who_logs_in(stagelight: Callable[..., Answer], tmp_path: Path) -> None:
    (tmp_path / "stagelight.toml").write_text("history = 'clickhouse://me:s3cr@t@db:8123/x'\n")

    for answer in (stagelight("config", "show"), stagelight("config", "show", "--json")):
        assert "clickhouse://\u2026@db:8123/x" in answer.out.replace("\\u2026", "\u2026")
        assert "s3cr" not in answer.out


def test_help_lists_the_commands_of_plugins_and_leaves_out_broken_ones(install: Callable[..., None]) -> None:
    install(**BROKEN, willing=WILLING)

    for arguments in (["--help"], []):
        answer = command(*arguments)
        assert "wave" in answer.stdout + answer.stderr
        assert answer.stderr.count("stagelight: warning: plugin ") == 3
        assert "Traceback" not in answer.stderr
    assert command("wave").stdout == "hello\n"


def test_plugins_lists_a_broken_one_with_its_reason(install: Callable[..., None]) -> None:
    install(raises=BROKEN["raises"])
    answer = command("plugins")

    assert answer.returncode == 0
    assert "broken" in answer.stdout
    assert "RuntimeError: out of order" in answer.stderr


def test_plugins_lists_what_is_blocked_and_names_a_block_that_blocks_nothing(tmp_path: Path) -> None:
    (tmp_path / "stagelight.toml").write_text('[plugins]\nblock = ["workflow_live", "alertin"]\n')
    answer = command("plugins")
    assert re.search(r"workflow_live +built-in +blocked", answer.stdout)
    assert re.search(r"alerting +built-in +yes", answer.stdout)
    assert answer.stderr == "stagelight: [plugins] block names 'alertin', but no plugin is called so\n"

    listed = json.loads(command("plugins", "--json").stdout)
    found = {plugin["name"]: (plugin["loaded"], plugin["blocked"]) for plugin in listed}
    assert (found["workflow_live"], found["alerting"]) == ((False, True), (True, False))


def test_up_refuses_a_broken_plugin(install: Callable[..., None], tmp_path: Path) -> None:
    install(raises=BROKEN["raises"])
    answer = command("up", "--port", "0", "--data-dir", str(tmp_path / "data"))

    assert answer.returncode == 2
    assert answer.stderr.count("out of order") == 1
    assert "Traceback" not in answer.stderr


def test_ctrl_c_during_the_imports_leaves_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt")
    answer = subprocess.run(
        [sys.executable, "-m", "stagelight_collector", "up"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (answer.returncode, answer.stderr) == (130, "stagelight: stopped\n")


def test_every_command_fits_a_line_of_the_help(stagelight: Callable[..., Answer]) -> None:
    listing = stagelight("--help").out.partition("Commands:")[2].partition("\n\n")[0]

    assert "..." not in listing
    assert max(len(line.split(maxsplit=1)[1]) for line in listing.strip().splitlines()) < 50


@pytest.mark.parametrize("arguments", [["up", "--help"], ["--help"]])
def test_a_command_whose_libraries_are_missing_names_the_extra(arguments: list[str]) -> None:
    code = f"""
import sys
from stagelight_collector.__main__ import main
sys.modules["aiohttp"] = None
sys.argv = ["stagelight", *{arguments}]
sys.exit(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr == (
        "stagelight: this command needs the collector; install it with: pip install 'stagelight[collector]'"
        " (missing: aiohttp)\n"
    )
    assert done.returncode == 2


def test_a_command_that_asks_a_collector_loads_none_of_it() -> None:
    code = """
import gc, sys
from stagelight_collector.__main__ import main
sys.argv = ["stagelight", "runs", "list", "--help"]
main()
assert gc.isenabled()
print({"aiohttp", "chdb", "stagelight_collector.app"} & set(sys.modules), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == "set()\n"
    assert "stagelight runs list [OPTIONS]" in done.stdout
