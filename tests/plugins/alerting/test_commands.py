"""`stagelight alerts`, as a user has it, on a running collector."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from stagelight_collector.cli import main

from .test_alerting import failing, running

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Receiver
    from .test_alerting import Client


class Terminal:
    """Runs commands against a collector; a thread of its own, as the collector runs in this one."""

    def __init__(self, client: Client, capsys: pytest.CaptureFixture[str]) -> None:
        self._url = client.collector.url
        self._capsys = capsys

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        """Return exit code, output and errors."""
        self._capsys.readouterr()
        code = await asyncio.to_thread(main, ["alerts", *arguments, "--url", self._url])
        told = self._capsys.readouterr()
        return code, told.out, told.err


async def test_the_commands_show_test_silence_and_retry(
    tmp_path: Path, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver.answers.append(410)
    async with running(tmp_path, {"slack": f"{receiver.url}/slack"}) as client:
        terminal = Terminal(client, capsys)
        assert (await terminal.run("list"))[1:] == ("", "Nothing fires.\n")
        await client.collector.accept(failing("one", "nightly \x1b[31mimport"))
        await client.until("deliveries?state=failed", lambda found: found["deliveries"])

        code, out, err = await terminal.run("list")
        assert code == 0
        assert "nightly  [31mimport failed: ValueError: no rows" in out, "nothing moves the cursor"
        assert "receiver slack answered 410" in err
        assert "1 messages were not delivered" in err
        (listed,) = json.loads((await terminal.run("list", "--json"))[1])["alerts"]

        (delivery,) = json.loads((await terminal.run("deliveries", "--json"))[1])["deliveries"]
        assert "answered 410" in (await terminal.run("deliveries"))[1]
        assert (await terminal.run("retry", delivery["id"]))[0] == 0
        await receiver.until(2)

        assert (await terminal.run("ack", listed["fingerprint"]))[0] == 0
        silenced = json.loads(
            (await terminal.run("silence", "workflow=nightly*", "--for", "2h", "--json"))[1]
        )
        assert silenced["match"] == {"workflow": "nightly*"}
        assert silenced["id"] in (await terminal.run("silences"))[1]
        assert f"silence {silenced['id']}" in (await terminal.run("list"))[1]
        assert (await terminal.run("unsilence", silenced["id"]))[0] == 0
        assert "acknowledged" in (await terminal.run("history"))[1]
        history = json.loads((await terminal.run("history", "--json"))[1])["changes"]
        assert [change["what"] for change in history] == ["acknowledged", "fired"]

        assert (await terminal.run("test", "slack"))[:2] == (0, "slack took it.\n")
        assert "this is a sample" in receiver.heard[2].json["text"]
        assert (
            json.loads((await terminal.run("preview", "--rule", "slow-step", "--json"))[1])["receiver"]
            == "slack"
        )


async def test_the_rules_are_listed_with_where_they_come_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = {"off": ["missed-run"], "rules": {"late": {"when": "stuck", "silent_for": "10m"}}}
    async with running(tmp_path, table) as client:
        await client.ask(
            "POST", "rules", {"name": "paid", "rule": {"when": "run_failed", "match": {"workflow": "b\x1b*"}}}
        )
        terminal = Terminal(client, capsys)
        _, out, _ = await terminal.run("rules")
        rows = [[cell for cell in line.split("  ") if cell] for line in out.splitlines()[1:]]
        assert [[cell.strip() for cell in row] for row in rows] == [
            ["missed-run", "no", "configuration", "no run starts when one usually does"],
            ["run-failed", "yes", "built in", "a run fails"],
            ["slow-step", "yes", "built in", "a step takes longer than it usually does"],
            ["stuck-run", "yes", "built in", "a run is silent for longer than it usually does"],
            ["late", "yes", "configuration", "a run is silent for longer than 10 min"],
            ["paid", "yes", "page", "a run fails, where workflow is b *"],
        ]
        found = json.loads((await terminal.run("rules", "--json"))[1])
        assert found["rules"][4]["rule"] == {"when": "stuck", "silent_for": 600.0}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("test", "slak"), "There is no receiver 'slak'; there are: none yet"),
        (("ack", "0"), "No alert of this fingerprint fires"),
        (("retry", "msg_0"), "There is no such delivery"),
        (("unsilence", "0"), "There is no such silence"),
        (("silence", "nightly"), "write each match as label=pattern"),
        (("silence", "workflow=x", "--for", "long"), "this is no span of time"),
        (("preview", "--rule", "x"), "There is no receiver ''"),
    ],
)
async def test_what_cannot_be_done_is_said_with_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    async with running(tmp_path, {}) as client:
        code, out, err = await Terminal(client, capsys).run(*arguments)
    assert (code, out) == (2, "")
    assert said in err


def test_without_a_collector_the_command_says_how_to_start_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["alerts", "list", "--url", "http://127.0.0.1:9"]) == 2
    assert (
        "no collector answers at http://127.0.0.1:9; start one with `stagelight up`"
        in capsys.readouterr().err
    )
