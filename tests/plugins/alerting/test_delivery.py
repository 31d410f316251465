"""Delivery to real receivers: W1 (delivered or visibly failed), W2 (signed) and the isolation of W4."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from stagelight_plugins.alerting.delivery.addresses import check_url
from stagelight_plugins.alerting.delivery.delivery import SCHEDULE, Delivery
from stagelight_plugins.alerting.delivery.guarded import Caller
from stagelight_plugins.alerting.delivery.lanes import Lane
from stagelight_plugins.alerting.notifiers.pagerduty import PagerDutyNotifier
from stagelight_plugins.alerting.notifiers.slack import SlackNotifier
from stagelight_plugins.alerting.notifiers.webhook import WebhookNotifier
from stagelight_plugins.alerting.state.store import Save, Store

from .conftest import START, Receiver, World, world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from stagelight_plugins.hookspecs import Notifier

OLD, NEW = ("whsec_" + base64.b64encode(letter * 32).decode() for letter in (b"o", b"n"))


class Yard:
    """A store and lanes, with a clock of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "alerts.sqlite")
        self.now = START
        self.desk: World = world()
        self.stack = contextlib.AsyncExitStack()

    def caller(self, receiver: Receiver, seconds: float = 5.0) -> Caller:
        caller = Caller(check_url(receiver.url), seconds=seconds)
        self.stack.push_async_callback(caller.close)
        return caller

    def lane(self, notifier: Notifier, name: str = "webhook") -> Lane:
        lane = Lane(name, notifier, self.store, lambda: self.now, chance=lambda: 0.5)
        task = asyncio.create_task(lane.run())

        async def end() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self.stack.push_async_callback(end)
        return lane

    def webhook(self, receiver: Receiver, *secrets: str, seconds: float = 5.0) -> Lane:
        now = lambda: self.now  # noqa: E731 - the lane's clock
        return self.lane(WebhookNotifier(self.caller(receiver, seconds), receiver.url, secrets, now=now))

    async def message(self, workflow: str = "etl") -> Delivery:
        """Return a message that is durable."""
        self.desk.fail(workflow=workflow)
        (delivery,) = self.desk.pass_(61)
        delivery.due = self.now
        await self.store.save(Save(outbox=[delivery]))
        return delivery

    async def until(self, delivery: Delivery, tries: int) -> Delivery:
        """Return how a delivery stands in the file after so many tries."""
        async with asyncio.timeout(60):
            while True:
                found = await self.store.delivery(delivery.id)
                assert found is not None
                if found.tries >= tries:
                    return found
                await asyncio.sleep(0.01)

    async def idle(self, lane: Lane) -> None:
        """Return when nothing waits in a lane."""
        async with asyncio.timeout(60):
            while lane.waiting:  # noqa: ASYNC110 - a lane tells nobody
                await asyncio.sleep(0)


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[Yard]:
    yard = Yard(tmp_path)
    async with yard.stack:
        yield yard
    yard.store.close()


async def test_what_a_receiver_took_is_sent_once(yard: Yard, receiver: Receiver) -> None:
    lane, delivery = yard.webhook(receiver), await yard.message()
    lane.offer([delivery])

    assert (await yard.until(delivery, 1)).state == "sent"
    assert receiver.heard[0].headers["webhook-id"] == delivery.id
    assert receiver.heard[0].json["alerts"][0]["labels"]["workflow"] == "etl"
    await yard.idle(lane)


async def test_what_fails_is_tried_again_by_the_schedule_under_the_same_id(
    yard: Yard, receiver: Receiver
) -> None:
    receiver.answers.extend([500] * 20)
    lane, delivery = yard.webhook(receiver), await yard.message()
    lane.offer([delivery])
    waits: list[float] = []
    for tries in range(1, len(SCHEDULE)):
        found = await yard.until(delivery, tries)
        waits.append(found.due - yard.now)
        assert (found.state, found.problem, found.status) == ("waiting", "answered 500", 500)
        yard.now = found.due
        lane._woken.set()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # the clock was moved
    found = await yard.until(delivery, len(SCHEDULE))

    assert waits == pytest.approx([wait * 1.05 for wait in SCHEDULE[1:]])
    assert found.state == "failed"
    await yard.idle(lane)
    assert {heard.headers["webhook-id"] for heard in receiver.heard} == {delivery.id}
    assert len({heard.body for heard in receiver.heard}) == 1
    assert [each.id for each in await yard.store.deliveries(["failed"], 10)] == [delivery.id]


async def slam(request: web.Request) -> web.StreamResponse:
    """Cut the connection."""
    assert request.transport is not None
    request.transport.abort()
    await asyncio.sleep(0)
    return web.Response()


async def endless(_request: web.Request) -> web.StreamResponse:
    """Answer with 10 MB."""
    return web.Response(status=500, body=b"x" * (10 << 20))


@pytest.mark.parametrize(("answer", "problem"), [(slam, "the connection broke: "), (endless, "answered 500"), (301, "answered 301: redirects"), (429, "answered 429")])  # fmt: skip
async def test_whatever_goes_wrong_it_is_tried_again(
    yard: Yard, receiver: Receiver, answer: Any, problem: str
) -> None:
    receiver.answers.append(answer)
    lane, delivery = yard.webhook(receiver), await yard.message()
    lane.offer([delivery])
    found = await yard.until(delivery, 1)
    assert found.state == "waiting"
    assert found.problem.startswith(problem)
    yard.now += 6
    lane.retry_now()

    assert (await yard.until(delivery, 2)).state == "sent"


async def test_a_receiver_that_asks_for_peace_gets_it(yard: Yard, receiver: Receiver) -> None:
    async def later(_request: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "7200"})

    receiver.answers.append(later)
    lane, delivery = yard.webhook(receiver), await yard.message()
    lane.offer([delivery])

    assert (await yard.until(delivery, 1)).due == yard.now + 7200


async def test_a_receiver_that_is_gone_is_sent_nothing_until_somebody_asks(
    yard: Yard, receiver: Receiver
) -> None:
    receiver.answers.append(410)
    reasons: list[str] = []
    lane, delivery = yard.webhook(receiver), await yard.message()
    lane.on_disabled = reasons.append
    lane.offer([delivery])
    assert (await yard.until(delivery, 1)).state == "failed"
    second = await yard.message("report")
    lane.offer([second])
    assert (await yard.until(second, 1)).state == "failed"
    assert len(receiver.heard) == 1
    assert lane.disabled == reasons[0] == "answered 410 (it wants no more messages)"
    second.again(yard.now)
    await yard.store.update(second)
    lane.retry_now()
    lane.offer([second])
    assert (await yard.until(second, 1)).state == "sent"


async def test_a_receiver_that_hangs_delays_no_other(yard: Yard, receiver: Receiver) -> None:
    other = Receiver()
    await other.start()
    yard.stack.push_async_callback(other.stop)
    hanging = asyncio.Event()

    async def hang(_request: web.Request) -> web.Response:
        await hanging.wait()
        return web.Response()

    receiver.answers.extend([hang] * 3)
    slow, quick = yard.webhook(receiver), yard.lane(WebhookNotifier(yard.caller(other), other.url), "other")
    first, second = await yard.message(), await yard.message("report")
    slow.offer([first])
    await receiver.until(1)
    quick.offer([second])

    assert (await yard.until(second, 1)).state == "sent"
    found = await yard.store.delivery(first.id)
    assert found is not None
    assert found.tries == 0
    hanging.set()


async def test_a_receiver_that_hangs_is_given_up_after_its_time(yard: Yard, receiver: Receiver) -> None:
    async def hang(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    receiver.answers.append(hang)
    lane, delivery = yard.webhook(receiver, seconds=0.2), await yard.message()
    lane.offer([delivery])

    assert (await yard.until(delivery, 1)).problem == "no answer within 0.2 s"


async def test_what_a_group_has_to_say_comes_in_its_order(yard: Yard, receiver: Receiver) -> None:
    receiver.answers.append(500)
    lane, failed = yard.webhook(receiver), await yard.message()
    lane.offer([failed])
    await yard.until(failed, 1)
    yard.desk.succeed()
    (over,) = yard.desk.pass_(400)
    await yard.store.save(Save(outbox=[over]))
    over.due = yard.now
    lane.offer([over])
    await receiver.until(3)

    assert [heard.json["status"] for heard in receiver.heard] == ["firing", "firing", "resolved"]


# --- signatures -------------------------------------------------------------------------------------------------------


async def test_signatures_are_those_of_the_specification_and_of_both_secrets_in_a_rotation(
    yard: Yard, receiver: Receiver
) -> None:
    lane = yard.lane(WebhookNotifier(yard.caller(receiver), receiver.url, [NEW, OLD]))
    lane.offer([await yard.message()])
    (heard,) = await receiver.until(1)

    assert Webhook(NEW).verify(heard.body, heard.headers)["receiver"] == "webhook"
    assert Webhook(OLD).verify(heard.body, heard.headers)["receiver"] == "webhook"
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + base64.b64encode(b"x" * 32).decode()).verify(heard.body, heard.headers)


async def test_no_byte_can_be_changed(yard: Yard, receiver: Receiver) -> None:
    lane = yard.lane(WebhookNotifier(yard.caller(receiver), receiver.url, [NEW]))
    lane.offer([await yard.message()])
    (heard,) = await receiver.until(1)
    verifier = Webhook(NEW)
    verifier.verify(heard.body, heard.headers)

    for at in range(len(heard.body)):
        flipped = bytes([*heard.body[:at], heard.body[at] ^ 1, *heard.body[at + 1 :]])
        with pytest.raises((WebhookVerificationError, UnicodeDecodeError)):
            verifier.verify(flipped, heard.headers)
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        text = heard.headers[name]
        for at in range(len(text)):
            if name == "webhook-signature" and at in {len(text) - 1, len(text) - 2}:
                continue  # the padding of base64 carries no bits
            changed = f"{text[:at]}{chr(ord(text[at]) ^ 1)}{text[at + 1 :]}"
            with pytest.raises((WebhookVerificationError, ValueError)):
                verifier.verify(heard.body, {**heard.headers, name: changed})


async def test_an_old_message_cannot_be_played_again(yard: Yard, receiver: Receiver) -> None:
    lane = yard.webhook(receiver, NEW)  # its clock says 2025
    lane.offer([await yard.message()])
    (heard,) = await receiver.until(1)

    with pytest.raises(WebhookVerificationError, match="old"):
        Webhook(NEW).verify(heard.body, heard.headers)


# --- the words of each receiver ---------------------------------------------------------------------------------------


async def test_slack_is_told_in_blocks_in_which_names_are_no_markup(yard: Yard, receiver: Receiver) -> None:
    lane = yard.lane(SlackNotifier(yard.caller(receiver), receiver.url), "webhook")
    yard.desk.fail(workflow="<!channel> *bold* <https://evil|x>", message="x" * 10_000)
    (delivery,) = yard.desk.pass_(2)
    await yard.store.save(Save(outbox=[delivery]))
    delivery.due = yard.now
    lane.offer([delivery])
    (heard,) = await receiver.until(1)
    blocks = heard.json["blocks"]
    markup = (
        "".join(block["text"]["text"] for block in blocks if block["type"] == "section") + heard.json["text"]
    )

    assert "<!channel>" not in markup
    assert "<https://evil" not in markup
    assert "*bold*" not in markup
    assert blocks[0]["text"]["type"] == "plain_text"
    assert len(blocks[0]["text"]["text"]) <= 150
    assert len(heard.body) < 13_000


async def test_what_slack_will_never_take_is_not_tried_again(yard: Yard, receiver: Receiver) -> None:
    receiver.answers.append(404)
    lane, delivery = yard.lane(SlackNotifier(yard.caller(receiver), receiver.url)), await yard.message()
    lane.offer([delivery])

    assert (await yard.until(delivery, 1)).state == "failed"


async def test_pagerduty_finds_an_incident_again_by_the_fingerprint(yard: Yard, receiver: Receiver) -> None:
    lane = yard.lane(PagerDutyNotifier(yard.caller(receiver), receiver.url, "R0UT1NG"))
    failed = await yard.message()
    yard.desk.succeed()
    (over,) = yard.desk.pass_(400)
    await yard.store.save(Save(outbox=[over]))
    over.due = yard.now
    lane.offer([failed, over])
    trigger, resolve = (heard.json for heard in await receiver.until(2))

    assert (trigger["event_action"], resolve["event_action"]) == ("trigger", "resolve")
    assert trigger["dedup_key"] == resolve["dedup_key"]
    assert trigger["payload"]["severity"] == "error"
    assert trigger["payload"]["summary"] == "etl failed: ValueError: no rows"
    assert trigger["routing_key"] == resolve["routing_key"] == "R0UT1NG"


async def test_a_message_stays_below_the_20_kb_that_the_specification_asks_for(
    yard: Yard, receiver: Receiver
) -> None:
    lane = yard.webhook(receiver)
    big = world({"group_by": ["alertname"]})
    for number in range(500):
        big.fail(workflow=f"workflow-{number}-{'n' * 100}", message="e" * 5_000)
    (delivery,) = big.pass_(2)
    await yard.store.save(Save(outbox=[delivery]))
    delivery.due = yard.now
    lane.offer([delivery])
    (heard,) = await receiver.until(1)

    assert len(heard.json["alerts"]) + heard.json["truncatedAlerts"] == 500
    assert len(heard.json["alerts"]) > 5
    assert len(heard.body) <= 20_000
