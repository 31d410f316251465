"""Debian's Alertmanager takes our alerts, and calls them by the same fingerprints."""

from __future__ import annotations

import asyncio
import shutil
import socket
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import pytest

from stagelight_plugins.alerting.notifiers import webhook

from .conftest import Receiver, world

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

BINARY = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
pytestmark = pytest.mark.skipif(BINARY is None, reason="Debian's `prometheus-alertmanager` is not installed")


@asynccontextmanager
async def alertmanager(folder: Path, receiver: Receiver) -> AsyncGenerator[str]:
    """Run one that passes on what it is told."""
    (folder / "am.yml").write_text(
        "route: {receiver: echo, group_wait: 0s, group_by: [alertname, workflow]}\n"
        f"receivers: [{{name: echo, webhook_configs: [{{url: '{receiver.url}/theirs'}}]}}]\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    process = await asyncio.create_subprocess_exec(
        str(BINARY), f"--config.file={folder}/am.yml", f"--storage.path={folder}/am", f"--web.listen-address={address}",
        "--cluster.listen-address=", stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        async with asyncio.timeout(60):
            async for line in process.stderr:
                if b"Listening on" in line or b"msg=Listening" in line:
                    break
        yield f"http://{address}"
    finally:
        process.kill()
        await process.communicate()


async def test_it_takes_our_alerts_and_tells_them_as_we_do(tmp_path: Path, receiver: Receiver) -> None:
    here = world(now=time.time())
    here.fail(message="naïve “quotes” 🔴")
    (delivery,) = here.pass_(2)
    ours = webhook.body(delivery.notification)

    async with alertmanager(tmp_path, receiver) as url, aiohttp.ClientSession() as session:
        async with session.post(f"{url}/api/v2/alerts", json=ours["alerts"]) as answer:
            assert answer.status == 200, await answer.text()
        async with session.get(f"{url}/api/v2/alerts") as answer:
            (theirs,) = await answer.json()
        (heard,) = await receiver.until(1)

    assert theirs["fingerprint"] == ours["alerts"][0]["fingerprint"]
    assert theirs["labels"] == ours["alerts"][0]["labels"]
    assert theirs["annotations"] == ours["alerts"][0]["annotations"]
    assert heard.json.keys() == ours.keys()
    assert heard.json["alerts"][0].keys() == ours["alerts"][0].keys()
    for name in ("version", "status", "groupLabels", "commonLabels", "commonAnnotations", "truncatedAlerts"):
        assert heard.json[name] == ours[name], name
