"""Apprise, the real library, and a service of its kind `json` on loopback."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import warnings
from typing import TYPE_CHECKING, Final

import pytest

from stagelight_plugins.alerting.notifiers.through_apprise import THREADS, AppriseNotifier
from stagelight_plugins.alerting.settings import read
from stagelight_plugins.errors import BadSettings, DeliveryFailed

from .conftest import Receiver, world
from .test_alerting import failing, running

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import web

    from stagelight_plugins.hookspecs import Notification

apprise = pytest.importorskip("apprise")

SHARED: Final = min(32, (os.cpu_count() or 1) + 4)
"""Threads that `asyncio.to_thread` has, at most."""


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    """Load its services here, and not in a thread: one of them imports what is deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        apprise.Apprise().add("json://localhost")


def a_notification() -> Notification:
    """Return what is said of a failed run."""
    here = world()
    here.fail(workflow="nightly", message="naïve <b>*rows*</b>")
    (delivery,) = here.pass_(2)
    return delivery.notification


async def test_a_failure_and_its_end_reach_a_service_through_apprise(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CHAT", receiver.url.replace("http://", "json://") + "/S3CRET")
    caplog.set_level(logging.DEBUG, "stagelight_plugins")
    receiver.answers.append(500)
    rules = {"run-failed": {"when": "run_failed", "keep_firing_for": "0s"}}
    table = {"apprise": "env:CHAT", "group_interval": "0.1s", "rules": rules}
    async with running(tmp_path, table) as client:
        await client.collector.accept(failing("one", "nightly"))
        found = await client.until("deliveries?state=waiting", lambda found: found["deliveries"] and found["deliveries"][0]["problem"])  # fmt: skip
        (delivery,) = found["deliveries"]
        assert delivery["problem"] == "Apprise could not deliver it; its own log says why"
        assert (await client.ask("POST", f"deliveries/{delivery['id']}/retry"))[0] == 200
        await receiver.until(2)
        again = receiver.heard[1]
        assert again.path == "/S3CRET"
        assert again.json["title"] == "nightly failed: ValueError: no rows"
        assert (again.json["type"], f"{client.collector.url}/#/alerts" in again.json["message"]) == (
            "failure",
            True,
        )
        assert (await client.ask("POST", "receivers/apprise/test"))[0] == 200
        _, listed = await client.ask("GET", "alerts")
        assert listed["receivers"][0]["address"] == "through Apprise"
        assert "S3CRET" not in str(listed)
    assert "S3CRET" not in caplog.text


async def test_what_is_said_is_text_and_a_resolved_one_is_a_success(receiver: Receiver) -> None:
    notifier = AppriseNotifier([receiver.url.replace("http://", "json://")])
    await notifier.send(a_notification())
    await notifier.close()
    assert receiver.heard[0].json["title"] == "nightly failed: ValueError: naïve <b>*rows*</b>"


async def test_an_address_that_apprise_does_not_know_is_given_up_at_once() -> None:
    notifier = AppriseNotifier(["nosuchthing://x"])
    with pytest.raises(DeliveryFailed, match="does not know one of the addresses") as failed:
        await notifier.send(a_notification())
    await notifier.close()
    assert failed.value.final


async def test_a_service_that_hangs_takes_no_thread_from_others(receiver: Receiver) -> None:
    """The store writes in the threads that everybody shares: more hang here than there are of those."""
    go_on = asyncio.Event()

    async def hang(_request: web.Request) -> web.Response:
        await go_on.wait()
        raise ConnectionResetError

    receiver.answers.extend([hang] * 100)
    notifiers = [AppriseNotifier([receiver.url.replace("http://", "json://")]) for _ in range(SHARED)]
    tasks = [asyncio.create_task(each.send(a_notification())) for each in notifiers for _ in range(THREADS)]
    await receiver.until(SHARED, 60)
    await asyncio.to_thread(threading.current_thread)
    # What waits its turn behind them is served when most of them have given up.
    assert sum(task.done() for task in tasks) < len(tasks) / 2
    go_on.set()
    assert {type(each) for each in await asyncio.gather(*tasks, return_exceptions=True)} == {DeliveryFailed}
    for each in notifiers:
        await each.close()


def test_an_address_of_apprise_is_a_secret() -> None:
    with pytest.raises(BadSettings, match="a secret does not belong into this file") as refused:
        read({"apprise": "tgram://S3CRET/chat"})
    assert "S3CRET" not in str(refused.value)
