"""The desk: the whole of alerting but for what waits (files, the network): events and time in, messages out."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from stagelight_plugins.alerting.delivery.delivery import Delivery
from stagelight_plugins.alerting.notifiers.message import notification
from stagelight_plugins.alerting.rules.watch import Watch
from stagelight_plugins.alerting.state.book import Book
from stagelight_plugins.alerting.state.groups import Groups
from stagelight_plugins.alerting.state.silences import Quiet
from stagelight_plugins.alerting.state.store import Save

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from stagelight.events import Event
    from stagelight_plugins.alerting.rules.rule import Rule
    from stagelight_plugins.alerting.settings import Checked
    from stagelight_plugins.alerting.state.book import Change, Fact
    from stagelight_plugins.alerting.state.groups import News
    from stagelight_plugins.alerting.state.silences import Silence
    from stagelight_plugins.alerting.state.store import Saved

SETTLE_SECONDS: Final = 30.0
"""After a start, what does not happen is not looked for until senders had time to tell what happened meanwhile."""
SEEN: Final = "seen"
"""The newest time of receipt, in nanoseconds, of which everything is written down."""
SEEN_STEP_NS: Final = 5_000_000_000
PASS_SECONDS: Final = 0.25
"""How often alerts that wait are looked at."""


_OF_TELLING: Final = frozenset(
    {"for_", "keep_firing_for", "resolve_after", "receivers", "summary", "evaluate"}
)
"""Keys of a rule that do not say what it waits for."""


def _waits_for_the_same(one: Rule | None, other: Rule | None) -> bool:
    if one is None or other is None:
        return False
    return one.model_dump(exclude={*_OF_TELLING}) == other.model_dump(exclude={*_OF_TELLING})


def _new_id() -> str:
    return f"msg_{secrets.token_hex(12)}"


class Desk:
    """Rules, alerts and groups of one collector. Nothing in it waits; `unsaved` is what must be written down."""

    def __init__(
        self,
        checked: Checked,
        base_url: str,
        *,
        new_id: Callable[[], str] = _new_id,
        settle: float = SETTLE_SECONDS,
    ) -> None:
        self.checked = checked
        self.quiet = Quiet(checked.settings.windows)
        self.book = Book(checked.rules)
        self.groups = Groups(checked.settings, self.quiet, self.book.alerts, self._kind_of)
        self.watch = Watch(checked.rules, self._tell, self.book.knows_of, self.book.has_open)
        self.seen = 0
        self.base_url = base_url
        self._saved_seen = 0
        self._silences: dict[str, Silence | None] = {}
        self._changes: list[Change] = []
        self._new_id = new_id
        self._settle = settle
        self._began = float("inf")
        self._passed = float("-inf")
        self._now = 0.0

    # --- what comes in --------------------------------------------------------------------------------------------

    def restore(self, saved: Saved, now: float) -> None:
        """Take up where the last process stopped."""
        self.book.restore(saved.alerts)
        self.quiet.silences.update({silence.id: silence for silence in saved.silences})
        self.groups.restore(saved.groups)
        self.seen = self._saved_seen = int(saved.meta.get(SEEN, "0"))
        self._began = now

    def take(self, events: Sequence[Event], now: float) -> bool:
        """Take events; return whether anything changed that somebody may have to hear of."""
        self._now = now
        newest = max((event.received for event in events), default=0)
        self.seen = max(self.seen, newest)
        self.watch.take(events, now)
        self._distribute(now)
        return bool(self.book.dirty)

    def find(self, facts: Iterable[Fact], now: float) -> None:
        """Take facts that were found elsewhere."""
        for fact in facts:
            self.book.take(fact, now)
        self._distribute(now)

    def change_rules(self, rules: Sequence[Rule], now: float) -> set[str]:
        """Put these rules in force; return the names of those that are new, not what they were, or gone.

        What fires by a rule that waits for something else now is over. Where a rule only tells others, or later, what
        fires goes on.
        """
        before, after = self.book.rules, {rule.name: rule for rule in rules}
        changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        anew = {name for name in changed if not _waits_for_the_same(before.get(name), after.get(name))}
        self.checked = self.checked.model_copy(update={"rules": tuple(rules)})
        self.book.change_rules(after, anew, now)
        self.watch.change_rules(rules, changed, anew, now)
        for print_ in self.book.firing:
            alert = self.book.alerts[print_]
            if alert.rule in changed:
                self.groups.add(alert, self.receivers_of(alert.rule), now)
        self._distribute(now)
        return changed

    def silence(self, silence: Silence, now: float) -> None:
        """Begin, change or end a silence."""
        self.quiet.silences[silence.id] = silence
        self._silences[silence.id] = silence
        for print_ in self.book.firing:
            self.groups.look_again(print_, now)

    def turn(self, now: float) -> list[Delivery]:
        """Let time pass; return the messages that are due."""
        self._now = now
        if now - self._began >= self._settle:
            self.watch.turn(now)
        if not 0 <= now - self._passed < PASS_SECONDS:
            self._passed = now
            self.book.turn(now)
        self._distribute(now)
        self.book.say()
        return [self._delivery(news, now) for news in self.groups.turn(now)]

    # --- what goes out --------------------------------------------------------------------------------------------

    def unsaved(self, outbox: Sequence[Delivery]) -> Save:
        """Return what must be written down, together with messages that follow from it."""
        self.book.say()
        forgotten = self.quiet.forget(self._now)
        save = Save(
            alerts={print_: self.book.alerts.get(print_) for print_ in self.book.dirty},
            groups={key: self.groups.groups.get(key) for key in self.groups.dirty},
            silences={**self._silences, **dict.fromkeys(forgotten)},
            changes=self._changes,
            outbox=outbox,
        )
        if self.seen - self._saved_seen > SEEN_STEP_NS or (save and self.seen > self._saved_seen):
            save.meta = {SEEN: str(self.seen)}
            self._saved_seen = self.seen
        self.book.dirty, self.groups.dirty, self._silences, self._changes = set(), set(), {}, []
        return save

    @property
    def next_due(self) -> float:
        """When the next group is due."""
        return self.groups.next_due

    def receivers_of(self, rule: str) -> Sequence[str]:
        """Return who hears of a rule's alerts."""
        named = self.book.rules[rule].receivers if rule in self.book.rules else None
        return tuple(self.checked.receivers) if named is None else named

    def _kind_of(self, name: str) -> str:
        rule = self.book.rules.get(name)
        return rule.when if rule is not None else ""

    def _tell(self, fact: Fact) -> None:
        self.book.take(fact, self._now)

    def _distribute(self, now: float) -> None:
        """Put alerts that have begun to fire into their groups; see to it that groups hear of those that are over."""
        for change in self.book.changes:
            self._changes.append(change)
            if change.what == "fired":
                self.groups.add(change.alert, self.receivers_of(change.alert.rule), now)
            elif change.alert.ended:
                self.groups.look_again(change.alert.fingerprint, now)
        self.book.changes = []

    def _delivery(self, news: News, now: float) -> Delivery:
        said = notification(news, self._new_id(), self.base_url, now)
        return Delivery(said.id, said.receiver, said.group, said, created=now, due=now)
