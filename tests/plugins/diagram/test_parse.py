"""The one way in: the article's samples, and what is bad or hostile."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from stagelight_plugins.diagram.mermaid import mermaid
from stagelight_plugins.diagram.parse import parse
from stagelight_plugins.diagram.patterns import Patterns

if TYPE_CHECKING:
    from pathlib import Path

HEAD = 'import { WorkflowEntrypoint } from "cloudflare:workers";\n'


def workflow(body: str, before: str = "") -> dict[str, Any]:
    source = (
        f"{HEAD}{before}\nexport class W extends WorkflowEntrypoint {{ async run(event, step) {{ {body} }} }}"
    )
    answer = parse(source.encode(), "w.ts")
    assert answer["success"], answer
    found: dict[str, Any] = answer["workflows"][0]
    return found


def bare(node: Any) -> Any:
    """Return a node as the public API has it."""
    return json.loads(json.dumps(node), object_hook=without_ours)


def without_ours(node: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in node.items() if key not in {"id", "line", "loop", "jump"}}


def test_an_if_is_the_articles_sample() -> None:
    made = workflow('if (loop > maxLoops) { await step.do("notify max loop reached", async () => {}); }')
    config: dict[str, Any] = {
        "retries": {"limit": 5, "delay": 1000, "backoff": "exponential"},
        "timeout": 10000,
    }
    step: dict[str, Any] = {
        "type": "step_do",
        "name": "notify max loop reached",
        "config": config,
        "nodes": [],
    }
    assert bare(made["nodes"]) == [
        {"type": "if", "branches": [{"condition": "loop > maxLoops", "nodes": [step]}]}
    ]


def test_a_wait_whose_timeout_is_not_known_is_the_articles_sample() -> None:
    made = workflow(
        "const a = step.do(`correctness agent (loop ${loop})`, async () => 1); const b = step.do('b', f); await b;"
        "await step.do('c', f); await step.waitForEvent(`wait (loop ${loop})`, { type: 'user-response', timeout: t });"
        "await a"
    )
    group = bare(made["nodes"])[0]
    assert (group["type"], group["kind"], group["nodes"][0]["starts"]) == ("parallel", "all", 1)
    assert group["nodes"][3] == {
        "type": "step_wait_for_event",
        "name": "wait (loop ${...})",
        "options": {"event_type": "user-response", "timeout": "unknown"},
        "starts": 3,
        "resolves": 4,
    }


def test_the_engines_own_steps_are_drawn() -> None:
    source = """
from stagelight_plugins.engine import WorkflowEntrypoint

class Refund(WorkflowEntrypoint):
    async def run(self, event, step):
        await step.wait_for_approval("approve", timeout="3 days")
        await step.child("pack", "Packing", {"items": 1})
"""
    approve, pack = parse(source.encode(), "flows.py")["workflows"][0]["nodes"]

    assert bare(approve) == {
        "type": "step_wait_for_event",
        "name": "approve",
        "options": {"event_type": "approval", "timeout": "3 days"},
    }
    assert (pack["type"], pack["name"]) == ("step_do", "pack")


def test_a_function_without_steps_is_trimmed_with_its_calls() -> None:
    before = """async function functionA(s) { console.log(await functionB(s), await functionC()) }
    async function functionB(s) { await s.do("in B", async () => 1) } async function functionC() { return 1 }"""
    made = workflow("await functionA(step)", before)
    assert sorted(made["functions"]) == ["functionA", "functionB"]
    assert [node["name"] for node in made["functions"]["functionA"]["nodes"]] == ["functionB"]


def test_what_is_read_from_the_payload_is_its_shape() -> None:
    made = workflow("const { a } = event.payload; await step.do('x', async () => event.payload.b.c)")
    fields = made["payload"]["fields"]
    assert fields == {"a": {"type": "unknown"}, "b": {"type": "object", "fields": {"c": {"type": "unknown"}}}}


def test_settings_are_resolved_and_the_rest_is_the_default() -> None:
    before = "const M = 60 * 1000; const C = { retries: { limit: 3, delay: 2 * M } } as const;"
    made = workflow("await step.do('x', { ...C, timeout: M }, async () => 1)", before)
    expected = {"retries": {"limit": 3, "delay": 120000, "backoff": "exponential"}, "timeout": 60000}
    assert made["nodes"][0]["config"] == expected


def test_an_id_stays_when_other_code_changes() -> None:
    one = workflow('await step.do("a", f); await step.do("b", f)')["nodes"][-1]["id"]
    other = workflow('await step.do("new", f); await step.do("a", f); await step.do("b", f)')["nodes"][-1][
        "id"
    ]
    assert one == other


def test_imports_are_followed_inside_the_root(tmp_path: Path) -> None:
    (tmp_path / "base.ts").write_text(
        HEAD + "export abstract class Base extends WorkflowEntrypoint { async go(s) { await s.do('go', f) } }"
    )
    main = tmp_path / "main.ts"
    main.write_text(
        'import { Base } from "./base"; export class Main extends Base { async run(e, s) { await this.go(s) } }'
    )
    answer = parse(main.read_bytes(), str(main), root=tmp_path)
    assert [found["class_name"] for found in answer["workflows"]] == ["Main"]
    assert list(answer["workflows"][0]["functions"]) == ["go"]


@pytest.mark.parametrize(
    ("source", "path"),
    [
        (b"def broken(:\n", "a.py"),
        (b"x = 1\x00", "a.py"),
        (b"# coding: no-such\n", "a.py"),
        (b"(" * 100_000, "a.py"),
        (b"x" * 300_000, "a.py"),
        (b"class A { run() {" + b"[" * 50_000, "a.js"),
        (b"class run {}" + b"a" * (17 * 1024 * 1024), "a.js"),
    ],
)
def test_what_cannot_be_read_is_an_answer(source: bytes, path: str) -> None:
    answer = parse(source, path)
    assert answer["workflows"] == []
    assert answer["success"] or (answer["errors"] and "\n" not in answer["error"])


@pytest.mark.parametrize(
    "body",
    [
        "if (a) {} " + "else if (b) { await step.do('x', f) } " * 5_000,
        "await step.do('x', f);" * 25_000,
        "a = " + "+".join("b" for _ in range(20_000)) + "; await step.do('x', f)",
        "{" * 300 + "await step.do('x', f)" + "}" * 300,
        "if (a) " * 300 + "await step.do('x', f)",
        "f(" * 2_000 + ")" * 2_000,
    ],
    ids=["else-if", "steps", "sum", "blocks", "ifs", "calls"],
)
def test_a_bomb_is_drawn_or_called_too_complex(body: str) -> None:
    source = f"{HEAD}export class W extends WorkflowEntrypoint {{ async run(event, step) {{ {body} }} }}"
    answer = parse(source.encode(), "w.js")
    assert answer["success"] or answer["error"].startswith("too complex")


def test_arbitrary_bytes_never_raise() -> None:
    chance = random.Random(4)
    words = b"class run step await extends WorkflowEntrypoint { } ( ) => async . do ; export import def : \n \x00 \xff ` ${".split(
        b" "
    )
    for _ in range(300):
        source = b" ".join(chance.choices(words, k=60))
        assert "our parser failed" not in parse(source, chance.choice(["a.js", "a.ts", "a.tsx", "a.py"])).get(
            "error", ""
        )


def test_python_is_never_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    source = f"open({str(canary)!r}, 'w')\n@(lambda f: open({str(canary)!r}, 'w'))\ndef f(x=open({str(canary)!r}, 'w')): ..."
    assert parse(source.encode(), "a.py")["success"]
    assert not canary.exists()


def test_mermaid_lets_nothing_out_of_a_label() -> None:
    made = workflow("""await step.do('"]; click n1 href "javascript:alert(1)" <script>', f)""")
    drawing = mermaid(made)
    assert '"javascript:' not in drawing
    assert "<script>" not in drawing


def test_a_step_of_another_file_says_which(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "save.py").write_text("import stagelight\n\n@stagelight.step\ndef save(): ...\n")
    (tmp_path / "helper.js").write_text("\n\nexports.help = async (s) => { await s.do('help', f) };")
    flow = "import stagelight\nfrom parts.save import save\n@stagelight.workflow\ndef flow():\n    save()\n"
    python = parse(flow.encode(), str(tmp_path / "app.py"), root=tmp_path)["workflows"][0]["nodes"][0]
    assert (python["name"], python["line"], python.get("file")) == ("save", 5, None)
    worker = f"{HEAD}const {{ help }} = require('./helper.js');\nexport class W extends WorkflowEntrypoint {{ async run(e, step) {{ await help(step) }} }}"
    [drawn] = parse(worker.encode(), str(tmp_path / "w.ts"), root=tmp_path)["workflows"]
    assert drawn["nodes"][0]["type"] == "function_call"
    assert "file" not in drawn["nodes"][0]
    step = drawn["functions"]["help"]["nodes"][0]
    assert (step["name"], step["line"], step["file"]) == ("help", 3, "helper.js")


@pytest.mark.parametrize(
    "condition",
    [
        "(await a()) or b",
        "b or (await a())",
        "(await a()) and (b or c)",
        "((await a()) or b) and c",
        "not (a and b)",
    ],
)
def test_a_condition_is_shown_as_it_is_written(condition: str) -> None:
    source = f"import stagelight\n@stagelight.step\nasync def s(): ...\n@stagelight.workflow\nasync def w():\n    if {condition}:\n        await s()\n"
    [made] = parse(source.encode(), "w.py")["workflows"]
    assert made["nodes"][-1]["branches"][0]["condition"] == condition


PROGRAM = """
import helpers
def load_a(): return 1
def other():
    def load_inner(): ...
    load_inner()
class Shop:
    def load_goods(self): ...
def main():
    load_a()
    other()
    Shop().load_goods()
    helpers.load_b()
if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize(
    ("steps", "flows", "found"),
    [
        (["*:load_*"], [], {"app": ["load_a", "load_b"]}),
        (["__main__:load_*"], ["app:main"], {"main": ["load_a"]}),
        (["app:Shop.*", "helpers:load_b"], ["*:main"], {"main": ["load_goods", "load_b"]}),
        (["other:load_*"], [], {}),
        ([], [], {}),
    ],
)
def test_patterns_name_steps(
    tmp_path: Path, steps: list[str], flows: list[str], found: dict[str, list[str]]
) -> None:
    (tmp_path / "helpers.py").write_text("def load_b(): ...\n")
    path = str(tmp_path / "app.py")
    answer = parse(PROGRAM.encode(), path, root=tmp_path, patterns=Patterns(steps, flows))
    drawn = {flow["class_name"]: [name for _, name in told(flow)] for flow in answer["workflows"]}
    assert drawn == found


def told(workflow: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the steps of a workflow and of its functions."""
    nodes = [*workflow["nodes"], *(node for one in workflow["functions"].values() for node in one["nodes"])]
    return [(node["type"], node["name"]) for node in nodes if node["type"] == "step_do"]
