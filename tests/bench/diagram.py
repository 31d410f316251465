"""A minified bundle of 1.3 MB to its diagram, beside npm's `oxc-parser` in Node, which only parses.

python tests/bench/diagram.py                       # a bundle made here
OXC=/path/to/node_modules python tests/bench/diagram.py
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CORPUS = Path(__file__).parent.parent / "plugins" / "diagram" / "corpus" / "bundles"
PEER = """
const { parseSync } = require(process.argv[1] + '/oxc-parser');
const source = require('fs').readFileSync(process.argv[2], 'utf8');
const began = process.hrtime.bigint();
JSON.stringify(parseSync('b.js', source).program);
console.log(Number(process.hrtime.bigint() - began) / 1e9);
"""


def bundle() -> bytes:
    """Return a bundle of 1.3 MB: a library's worth of functions and classes around a real workflow."""
    parts = [(CORPUS / "patterns.esbuild.js").read_bytes()]
    size = 0
    while size < 1_300_000:
        n = len(parts)
        parts.append(
            f"var v{n}=(e,t)=>{{for(let r=0;r<t.length;r++)if(e[r]!==t[r])return e?.x??t.y.map(n=>n+`a${{r}}`);"
            f"return e&&t||{{a:1,b:[2,3,{n}]}}}};class k{n} extends Array{{constructor(e){{super(e),this.q=v{n}(e,[])}}get z(){{return this.q}}}}".encode()
        )
        size += len(parts[-1])
    return b"\n".join(parts)


def measure() -> None:
    """Draw the bundle in this process; print seconds and peak memory."""
    source = Path(sys.argv[2]).read_bytes()
    began = time.perf_counter()
    from stagelight_plugins.diagram.parse import parse

    answer = parse(source, "bundle.js")
    seconds = time.perf_counter() - began
    assert len(answer["workflows"]) == 2, answer
    print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))


def peer(path: str) -> float | None:
    """Return the peer's seconds; None where there is no Node or no `oxc-parser`."""
    modules = os.environ.get("OXC", "node_modules")
    if shutil.which("node") is None or not Path(modules, "oxc-parser").is_dir():
        return None
    command = ["node", "-e", PEER, str(Path(modules).resolve()), path]
    return float(subprocess.run(command, capture_output=True, check=True, timeout=120).stdout)


def main() -> None:
    """Measure both in processes of their own, in turn."""
    with tempfile.NamedTemporaryFile(suffix=".js") as file:
        file.write(bundle())
        file.flush()
        command = [sys.executable, __file__, "--measure", file.name]
        rounds = [
            json.loads(subprocess.run(command, capture_output=True, check=True, timeout=120).stdout)
            for _ in range(3)
        ]
        seconds, memory = min(rounds)
        other = peer(file.name)
    ratio = None if other is None else round(seconds / other, 2)
    line = {"name": "stagelight", "value": round(seconds, 3), "unit": "s", "peer": other, "ratio": ratio}
    print(json.dumps({**line, "memory_mib": round(memory)}))


if __name__ == "__main__":
    measure() if "--measure" in sys.argv else main()
