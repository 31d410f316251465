"""Silences: somebody does not want to hear of what these labels are, for a while."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from stagelight_plugins.alerting.rules.matching import matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stagelight_plugins.alerting.settings import Window
    from stagelight_plugins.alerting.state.alert import Alert

MOST_SILENCES: Final = 1_000
KEEP_SECONDS: Final = 7 * 86_400.0
"""An ended silence is shown for so long."""


@dataclass(frozen=True, slots=True)
class Silence:
    """From `starts` to `ends` (Unix seconds) whatever fits all of `match` (label to pattern) is not told."""

    id: str
    match: dict[str, str]
    starts: float
    ends: float
    by: str
    comment: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-compatible data."""
        return asdict(self)

    def holds(self, now: float) -> bool:
        """Whether it is in force."""
        return self.starts <= now < self.ends


def fit(match: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether labels fit patterns by label; a label that is not there is empty."""
    return all(matches((pattern,), labels.get(name, "")) for name, pattern in match.items())


class Quiet:
    """What must not be told now: silences and maintenance windows."""

    def __init__(self, windows: Iterable[Window] = ()) -> None:
        self.windows = tuple(windows)
        self.silences: dict[str, Silence] = {}
        self._open: tuple[float, list[Window]] = (0.0, [])

    def reason(self, alert: Alert, now: float) -> str:
        """Return why an alert is not told now; empty where nothing keeps it from being told."""
        for silence in self.silences.values():
            if silence.holds(now) and fit(silence.match, alert.labels):
                return f"silence {silence.id}"
        if any(fit(window.match, alert.labels) for window in self._open_windows(now)):
            return "maintenance window"
        return ""

    def forget(self, now: float) -> list[str]:
        """Drop silences that ended long ago; return their ids."""
        old = [each.id for each in self.silences.values() if now - each.ends > KEEP_SECONDS]
        for identity in old:
            del self.silences[identity]
        return old

    def _open_windows(self, now: float) -> list[Window]:
        """Schedules are asked once a second, not once an alert."""
        if self.windows and not 0 <= now - self._open[0] < 1:
            self._open = (now, [window for window in self.windows if window.open_at(now)])
        return self._open[1]
