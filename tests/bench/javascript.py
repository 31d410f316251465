"""OpenTelemetry's SDK for JavaScript sends traces, logs and metrics over every protocol it has: all of it arrives.

Installs the SDK from npm into a temporary folder, starts a collector and runs `javascript.mjs` once for each of gRPC,
protobuf and JSON over HTTP. `value` is how many of the 15 things that were sent (three protocols: a run, its step, a
log line, a data point, and the run as completed) are there as they should be.

    python tests/bench/javascript.py
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from stagelight_collector.app import Collector
from stagelight_collector.config import Settings

PROTOCOLS: Final = ("grpc", "proto", "http")
SIGNALS: Final = ("trace", "logs", "metrics")
SDK: Final = ("api", "resources", "sdk-logs", "sdk-metrics", "sdk-trace-node")
# The reader sends its points at a flush and at the end.
CHECKS: Final = {
    "a run": "SELECT count() FROM otel_traces WHERE ServiceName = {service:String} AND SpanName = 'import' AND StatusCode = 'Unset'",
    "a step": "SELECT count() FROM otel_traces WHERE ServiceName = {service:String} AND SpanAttributes['rows'] = '3' AND SpanAttributes['shares'] = '[0.5,1]'",
    "a log line": "SELECT count() FROM otel_logs WHERE ServiceName = {service:String} AND Body = 'loaded' AND SeverityText = 'INFO' AND SpanId != ''",
    "a data point": "SELECT uniqExact(Value) FROM otel_metrics_sum WHERE ServiceName = {service:String} AND MetricName = 'rows' AND Value = 3 AND Attributes['table'] = 'orders'",
    "a completed run": "SELECT count() FROM stagelight_runs WHERE RunId = {service:String} AND Status = 'completed' AND Workflow = 'import'",
}


async def ran(*command: str, folder: Path) -> None:
    """Run a program to its end."""
    process = await asyncio.create_subprocess_exec(*command, cwd=folder)
    if await asyncio.wait_for(process.wait(), 300):
        raise SystemExit(f"{command[0]} ended with {process.returncode}")


async def install(folder: Path) -> None:
    """Install the SDK."""
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    exporters = [f"exporter-{signal}-otlp-{protocol}" for signal in SIGNALS for protocol in PROTOCOLS]
    packages = [f"@opentelemetry/{name}" for name in (*SDK, *exporters)]
    await ran("npm", "install", "--silent", "--no-audit", "--no-fund", *packages, folder=folder)
    shutil.copy(Path(__file__).with_suffix(".mjs"), folder)


async def arrived(folder: Path) -> dict[str, list[str]]:
    """Send over every protocol; return what is missing of each."""
    settings = {"data_dir": folder / "data", "port": 0, "grpc_port": 0}
    async with Collector(Settings.model_validate(settings)) as collector:
        grpc = collector.grpc.removeprefix("OTLP over gRPC is received on ").removesuffix(".")
        for protocol in PROTOCOLS:
            url = f"http://{grpc}" if protocol == "grpc" else collector.url
            await ran("node", "javascript.mjs", protocol, url, folder=folder)
        await collector.settle()
        await collector.pipeline.archive.drain()
        missing: dict[str, list[str]] = {protocol: [] for protocol in PROTOCOLS}
        for protocol in PROTOCOLS:
            for what, sql in CHECKS.items():
                found = await collector.query(sql, {"service": f"js-{protocol}"})
                if found.rows[0][0] != 1:
                    missing[protocol].append(what)
        return missing


async def main() -> None:
    """Install, send, look, print."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise SystemExit("this needs Node and npm on the PATH")
    with tempfile.TemporaryDirectory(prefix="stagelight-js-") as folder:
        await install(Path(folder))
        missing = await arrived(Path(folder))
    wanted = len(PROTOCOLS) * len(CHECKS)
    value = wanted - sum(map(len, missing.values()))
    line = {
        "name": "javascript",
        "value": value,
        "unit": "things that arrived",
        "peer": wanted,
        "ratio": value / wanted,
        "missing": missing,
    }
    print(json.dumps(line))
    sys.exit(os.EX_OK if value == wanted else 1)


if __name__ == "__main__":
    asyncio.run(main())
