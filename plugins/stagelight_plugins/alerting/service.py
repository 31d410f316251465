"""The service: the desk while it runs, with its file, its lanes and its clock. It is also the sink that events come to."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from stagelight_plugins.alerting import past
from stagelight_plugins.alerting.conditions import Round
from stagelight_plugins.alerting.delivery.lanes import Lane
from stagelight_plugins.alerting.desk import SETTLE_SECONDS, Desk
from stagelight_plugins.alerting.notifiers.slack import PACE_SECONDS, SlackNotifier
from stagelight_plugins.alerting.state.store import Save
from stagelight_plugins.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence

    from stagelight.events import Event
    from stagelight_plugins.alerting.actions import ActionLinks
    from stagelight_plugins.alerting.delivery.delivery import Delivery
    from stagelight_plugins.alerting.rules.rulebook import Kept, Rulebook
    from stagelight_plugins.alerting.settings import Checked
    from stagelight_plugins.alerting.state.book import Fact
    from stagelight_plugins.alerting.state.silences import Silence
    from stagelight_plugins.alerting.state.store import Store
    from stagelight_plugins.hookspecs import Batch, Collector, Notifier

TURN_SECONDS: Final = 1.0
"""The clock is looked at so often where nothing is due."""
LEAST_SECONDS: Final = 0.02
"""And not more often than this: what comes within it is written down together."""
GAP_SECONDS: Final = 5.0
"""How often it is looked whether batches were missed and history has them."""
LATER_SECONDS: Final = 30.0
DISABLED: Final = "disabled:"

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Gap:
    """Batches that were dropped on the way here. Times of receipt, in nanoseconds."""

    since: int
    """The newest of what came before."""
    until: int = 0
    """Of what came after; 0 until it is known."""


class Service:
    """Alerting for one collector."""

    name = "alerting"

    def __init__(
        self,
        collector: Collector,
        checked: Checked,
        store: Store,
        notifiers: Mapping[str, Notifier],
        rulebook: Rulebook,
        *,
        now: Callable[[], float] = time.time,
        settle: float = SETTLE_SECONDS,
        links: ActionLinks | None = None,
    ) -> None:
        self.collector = collector
        self.rulebook = rulebook
        self.store = store
        base = checked.settings.url or collector.url
        self.desk = Desk(checked, base.rstrip("/"), settle=settle)
        self.now = now
        self.links = links
        self.lanes = {
            name: Lane(
                name, notifier, store, now, pace=PACE_SECONDS if isinstance(notifier, SlackNotifier) else 0.0
            )
            for name, notifier in notifiers.items()
        }
        self.rounds: dict[str, Round] = {}
        self.learned = ""
        """Why nothing was learned from history yet; empty when it was."""
        self._due = asyncio.Event()
        self._gap: Gap | None = None
        self._seq = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking: dict[str, asyncio.Task[None]] = {}

    @property
    def checked(self) -> Checked:
        """The settings, with the rules that are in force."""
        return self.desk.checked

    # --- events ---------------------------------------------------------------------------------------------------

    async def write(self, batch: Batch) -> None:
        """Take a batch. Nothing is waited for here; what changed is written down and told a moment later."""
        if batch.seq > self._seq + 1 and self._seq and self._gap is None:
            self._gap = Gap(self.desk.seen)
        if self._gap is not None and not self._gap.until:
            self._gap.until = max((event.received for event in batch.events), default=0)
        self._seq = max(self._seq, batch.seq)
        if batch.events and self.desk.take(batch.events, self.now()):
            self._due.set()

    def _find(self, facts: Sequence[Fact]) -> None:
        self.desk.find(facts, self.now())
        self._due.set()

    # --- its life -------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up where the last process stopped, and begin."""
        saved = await asyncio.to_thread(self.store.load)
        self.rulebook.restore(saved.rules)
        self.desk.change_rules(self.rulebook.in_force(), self.now())
        self.desk.restore(saved, self.now())
        for name, lane in self.lanes.items():
            lane.disabled = saved.meta.get(DISABLED + name, "")
            lane.on_disabled = lambda reason, name=name: self._remember_disabled(name, reason)  # type: ignore[misc]
            lane.offer(delivery for delivery in saved.outbox if delivery.receiver == name)
        works = [("turns", self._run()), ("past", self._look_back())]
        works += [(f"lane-{name}", lane.run()) for name, lane in self.lanes.items()]
        for name, work in works:
            _ = self._begin(name, work)
        self._begin_to_ask({rule.name for rule in self.rulebook.in_force()})

    async def stop(self) -> None:
        """Write down what is known, and stop."""
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if tasks:  # else it never began, and knows nothing of what was written down before
            await self._save([])
        await asyncio.to_thread(self.store.close)

    def _begin(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=f"alerting-{name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_say_if_it_ended)
        return task

    def _begin_to_ask(self, names: Collection[str]) -> None:
        """Begin to ask the conditions of these rules, as far as they hold and have one."""
        for entry in self.rulebook.entries():
            if entry.name in names and entry.holds and entry.rule and entry.condition:
                rounds = self.rounds[entry.name] = Round(entry.rule, entry.condition, self._find, self.now)
                rounds.remember_open(self.desk.book)
                self._asking[entry.name] = self._begin(f"rule-{entry.name}", rounds.run())

    async def _run(self) -> None:
        """Let time pass, and write down and tell what is due."""
        while True:
            wait = max(LEAST_SECONDS, min(TURN_SECONDS, self.desk.next_due - self.now()))
            try:
                async with asyncio.timeout(wait):
                    await self._due.wait()
                    await asyncio.sleep(LEAST_SECONDS)
            except TimeoutError:
                pass
            self._due.clear()
            await _patiently(self.turn)

    async def turn(self) -> None:
        """Do what is due now."""
        await self._save([await self._with_links(each) for each in self.desk.turn(self.now())])

    async def _with_links(self, delivery: Delivery) -> Delivery:
        """Add action links, where they are switched on and a run can be acted on."""
        if self.links is None or delivery.notification.status != "firing":
            return delivery
        links = await self.links.offer(delivery.notification)
        return replace(delivery, notification=replace(delivery.notification, links=links))

    async def _save(self, outbox: Sequence[Delivery]) -> None:
        """Make everything durable, then hand it to the lanes: what is told was written down before."""
        save = self.desk.unsaved(outbox)
        if save:
            await _until_done(lambda: self.store.save(save))
        for name, lane in self.lanes.items() if outbox else ():
            if mine := [delivery for delivery in outbox if delivery.receiver == name]:
                lane.offer(mine)

    # --- the past -------------------------------------------------------------------------------------------------

    async def _look_back(self) -> None:
        """Learn what is usual, take up what goes on, and catch up with what was missed; then with gaps, for ever."""
        seen = self.desk.seen
        for work in (self._learn, lambda: self._catch_up(seen) if seen else _nothing(), self._take_up):
            await self._until_answered(work)
        while True:
            await asyncio.sleep(GAP_SECONDS)
            if self._gap is not None and self._gap.until:
                await self._until_answered(self._close_gap)

    async def _until_answered(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except QueryError as error:
                self.learned = str(error)
                _log.warning("alerting cannot ask history, and tries again: %s", error)
                await asyncio.sleep(LATER_SECONDS)
            else:
                self.learned = ""
                return

    async def _learn(self) -> None:
        await past.learn(self.collector, self.desk.watch, self.now())

    async def _catch_up(self, seen: int) -> None:
        while True:
            events = await past.missed(self.collector, seen)
            self._take_missed(events)
            newest = max((event.received for event in events), default=0)
            if len(events) < past.PAGE or newest <= seen:
                return
            seen = newest + past.MARGIN_NS  # the margin was for the first page

    async def _close_gap(self) -> None:
        """Read what was dropped, once history has what came after it: then it has all of it."""
        gap = self._gap
        if gap is not None and await past.has_reached(self.collector, gap.until):
            self._gap = None
            await self._catch_up(gap.since)

    def _take_missed(self, events: Sequence[Event]) -> None:
        if self.desk.take(events, self.now()):
            self._due.set()

    async def _take_up(self) -> None:
        await past.take_up(self.collector, self.desk.watch, self.now())
        alerts = [self.desk.book.alerts[each] for each in self.desk.book.firing]
        facts = [self.desk.watch.overdue.remember(alert, self.now()) for alert in alerts]
        self._find([fact for fact in facts if fact is not None])

    # --- the rules of the page ------------------------------------------------------------------------------------

    async def keep_rule(self, kept: Kept) -> None:
        """Add or change a rule of the page: it is durable first, then it holds."""
        await self.store.keep_rule(kept)
        self.rulebook.put(kept)
        self._put_in_force()

    async def drop_rule(self, name: str) -> None:
        """Take a rule of the page out."""
        await self.store.drop_rule(name)
        self.rulebook.drop(name)
        self._put_in_force()

    def _put_in_force(self) -> None:
        changed = self.desk.change_rules(self.rulebook.in_force(), self.now())
        for name in changed & self._asking.keys():
            del self.rounds[name]
            self._asking.pop(name).cancel()
        self._begin_to_ask(changed)
        self._due.set()

    # --- what people do -------------------------------------------------------------------------------------------

    async def silence(self, silence: Silence) -> None:
        """Begin or end a silence; it is durable when this returns."""
        self.desk.silence(silence, self.now())
        await self._save([])

    async def acknowledge(self, print_: str, who: str) -> bool:
        """Note that somebody knows of an alert; False where it does not fire."""
        alert = self.desk.book.acknowledge(print_, who, self.now())
        self.desk.find([], self.now())
        await self._save([])
        return alert is not None

    async def retry(self, delivery: Delivery) -> None:
        """Try a delivery again now, whether it waits or was given up."""
        lane = self.lanes[delivery.receiver]
        if (waiting := lane.find(delivery.id)) is None:
            delivery.again(self.now())
            await self.store.update(delivery)
            await self.enable(delivery.receiver)
            lane.offer([delivery])
        else:
            waiting.due = self.now()
            await self.enable(delivery.receiver)

    async def enable(self, receiver: str) -> None:
        """Send to a receiver again that wanted nothing any more, and try at once what waits for it."""
        self.lanes[receiver].retry_now()
        await self.store.save(_meta(receiver, ""))

    def _remember_disabled(self, receiver: str, reason: str) -> None:
        _ = self._begin(f"disable-{receiver}", self.store.save(_meta(receiver, reason)))

    def problems(self) -> list[str]:
        """Return what is wrong, each in a sentence."""
        found = [f"receiver {lane.name} {lane.disabled}" for lane in self.lanes.values() if lane.disabled]
        found += [
            f"rule {each.rule.name} cannot be checked: {each.problem}"
            for each in self.rounds.values()
            if each.problem
        ]
        found += [
            f"rule {each.name} of the page does not hold: {each.problem}"
            for each in self.rulebook.entries()
            if each.enabled and each.problem
        ]
        if self.learned:
            found.append(f"history cannot be asked what is usual: {self.learned}")
        return found


def _meta(receiver: str, reason: str) -> Save:
    return Save(meta={DISABLED + receiver: reason})


async def _nothing() -> None:
    pass


async def _patiently(work: Callable[[], Awaitable[None]]) -> None:
    """Do a turn; one that fails must not be the last."""
    try:
        await work()
    except Exception:  # noqa: BLE001 - as it says
        _log.exception("a turn of alerting failed; it goes on")
        await asyncio.sleep(TURN_SECONDS)


async def _until_done(work: Callable[[], Awaitable[None]]) -> None:
    """Write, and write again while the disk refuses: what is not written down is not told, and not forgotten."""
    while True:
        try:
            await work()
        except (OSError, sqlite3.Error):
            _log.exception("alerts cannot be written down; trying again")
            await asyncio.sleep(TURN_SECONDS)
        else:
            return


def _say_if_it_ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.critical("%s has ended: restart the collector", task.get_name(), exc_info=error)
