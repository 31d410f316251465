"""Imports: what other files of a project give to a workflow, in both languages and both kinds of modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from stagelight_plugins.diagram.commands import diagram
from stagelight_plugins.diagram.outline import outline
from stagelight_plugins.diagram.parse import parse

if TYPE_CHECKING:
    from pathlib import Path

HEAD = 'import { WorkflowEntrypoint } from "cloudflare:workers";\n'
SCRIPTS = {
    "src/index.ts": 'export { Orders } from "./flows/orders"; export { default as Third } from "./flows/third";',
    "src/flows/orders.ts": """import { save } from "../lib"; import helpers, { LABELS as L } from "../lib/helpers.js";
        import * as all from "@/lib/all"; import { Base } from "../lib/base";
        export class Orders extends Base { async run(event, step) {
          await save(step); await helpers.load(step); await all.deep(step); await this.inherited(step);
          const { lazy } = await import("../lib/lazy"); await lazy(step); await step.do(L.second, f) } }""",
    "src/flows/third.tsx": HEAD
    + "export default class extends WorkflowEntrypoint { async run(e, step) { await step.do('mail', () => <b>x</b>) } }",
    "src/lib/index.ts": 'export * from "./save";',
    "src/lib/save.ts": "export const save = async (s) => { await s.do('save', f) };",
    "src/lib/helpers.ts": "export enum LABELS { second = 'label' } const load = async (s) => s.do('load', f); export default { load };",
    "src/lib/all.ts": "export async function deep(s) { await s.do('deep', f) }",
    "src/lib/lazy.cjs": "exports.lazy = async (s) => { await s.do('lazy', f) };",
    "src/lib/base.ts": HEAD
    + 'import { Orders } from "../flows/orders"; export abstract class Base extends WorkflowEntrypoint { async inherited(s) { await s.do("inherited", f) } }',
    "package.json": "{}",
}
MODULES = {
    "shop/__init__.py": "from .flows import *\n",
    "shop/flows.py": """import stagelight
from . import parts
from .parts.load import load as fetch
from .parts.names import *
from shop.parts import save
import shop.parts.mail as post
from .base import Base
@stagelight.workflow
def nightly():
    fetch(); save.save(); post.send(); parts.tidy(); starred()
    Base().go()
""",
    "shop/parts/__init__.py": "import stagelight\n@stagelight.step\ndef tidy(): ...\n",
    "shop/parts/load.py": "import stagelight\n@stagelight.step(name='load ' + 'it')\ndef load(): ...\n",
    "shop/parts/save.py": "import stagelight\n@stagelight.step\ndef save(): ...\n",
    "shop/parts/mail.py": "import stagelight\n@stagelight.step\ndef send(): ...\n",
    "shop/parts/names.py": "import stagelight\n@stagelight.step\ndef starred(): ...\n",
    "shop/base.py": "from stagelight import step\nclass Base:\n    @step\n    def go(self):\n        with step('in base'): ...\n",
    "pyproject.toml": "",
}


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return root


def steps(workflow: dict[str, Any]) -> list[str]:
    """Return the names of a workflow's steps in their order, functions at the place of their call."""
    return [
        line.split(maxsplit=1)[1] for line in outline(workflow).splitlines() if line.strip().startswith("do ")
    ]


def test_scripts_follow_their_imports(tmp_path: Path) -> None:
    root = written(tmp_path, SCRIPTS)
    main = root / "src/flows/orders.ts"
    [orders] = parse(main.read_bytes(), str(main), root=root)["workflows"]
    assert sorted(steps(orders)) == ["deep", "inherited", "label", "lazy", "load", "save"]
    assert {name: each["nodes"][0]["file"] for name, each in orders["functions"].items()} == {
        "save": "src/lib/save.ts",
        "load": "src/lib/helpers.ts",
        "deep": "src/lib/all.ts",
        "inherited": "src/lib/base.ts",
        "lazy": "src/lib/lazy.cjs",
    }


def test_a_file_that_passes_workflows_on_has_them(tmp_path: Path) -> None:
    root = written(tmp_path, SCRIPTS)
    main = root / "src/index.ts"
    found = parse(main.read_bytes(), str(main), root=root)["workflows"]
    assert {each["class_name"]: each["file"] for each in found} == {
        "Orders": "src/flows/orders.ts",
        "Third": "src/flows/third.tsx",
    }
    assert found[0]["nodes"][-1]["line"] == 5


def test_modules_follow_their_imports(tmp_path: Path) -> None:
    root = written(tmp_path, MODULES)
    main = root / "shop/flows.py"
    [nightly] = parse(main.read_bytes(), str(main), root=root)["workflows"]
    assert steps(nightly) == ["load it", "save", "send", "tidy", "starred", "go", "in base"]


@pytest.mark.parametrize(
    ("files", "path", "names"),
    [
        (SCRIPTS, "src", ["Orders", "default"]),
        (SCRIPTS, "src/index.ts", ["Orders", "Third"]),
        (MODULES, ".", ["nightly"]),
        (MODULES, "shop/flows.py", ["nightly"]),
    ],
)
def test_the_command_follows_imports_inside_the_project(
    tmp_path: Path, files: dict[str, str], path: str, names: list[str]
) -> None:
    root = written(tmp_path, files)
    told = CliRunner().invoke(diagram, [str(root / path)])
    assert told.exit_code == 0, told.output
    assert [
        line for line in told.output.splitlines() if line and not line.startswith((" ", "function "))
    ] == names
    assert ("do save" in told.output) == (names != ["Third"])


def test_nothing_outside_of_the_root_is_read(tmp_path: Path) -> None:
    written(
        tmp_path,
        {"out.ts": "export const save = async (s) => { await s.do('secret', f) };", "in/package.json": "{}"},
    )
    (tmp_path / "in" / "link.ts").symlink_to(tmp_path / "out.ts")
    text = f"{HEAD}import {{ save }} from '../out'; import {{ save as other }} from './link';\nexport class W extends WorkflowEntrypoint {{ async run(e, step) {{ await save(step); await other(step); await step.do('own', f) }} }}"
    [drawn] = parse(text.encode(), str(tmp_path / "in/w.ts"), root=tmp_path / "in")["workflows"]
    assert steps(drawn) == ["own"]
