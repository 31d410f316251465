"""An alert: labels that say what it is, and where it stands."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

RUNS: Final = 50
"""How many runs an alert remembers, the newest last."""

_OFFSET: Final = 14695981039346656037
_PRIME: Final = 1099511628211
_MASK: Final = (1 << 64) - 1


def fingerprint(labels: Mapping[str, str]) -> str:
    """Return the fingerprint that Prometheus and Alertmanager give the same labels (FNV-1a over the sorted pairs)."""
    digest = _OFFSET
    for name in sorted(labels):
        for byte in f"{name}\0{labels[name]}\0".encode().replace(b"\0", b"\xff"):
            digest = ((digest ^ byte) * _PRIME) & _MASK
    return f"{digest:016x}"


@dataclass(slots=True)
class Alert:
    """One alert. Times are Unix seconds; 0 where there is none."""

    fingerprint: str
    rule: str
    labels: dict[str, str]
    notes: dict[str, str] = field(default_factory=dict[str, str])
    """What is said of it: its annotations."""
    since: float = 0.0
    """When it began to be so."""
    fired: float = 0.0
    ended: float = 0.0
    bad_at: float = 0.0
    """The newest fact that says it is so, by the clock of the facts."""
    good_at: float = 0.0
    """The newest fact that says it is not."""
    heard: float = 0.0
    """When the newest fact that says it is so was heard of, by the collector's clock."""
    count: int = 0
    runs: list[str] = field(default_factory=list[str])
    acked: str = ""
    """Who said that they know of it: it is not repeated."""

    @property
    def status(self) -> str:
        """`pending`, `firing` or `resolved`."""
        return "resolved" if self.ended else "firing" if self.fired else "pending"

    @property
    def is_over(self) -> bool:
        """Whether the newest fact says that it is not so."""
        return self.good_at > self.bad_at

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-compatible data."""
        return {**asdict(self), "status": self.status}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        return cls(**{name: data[name] for name in cls.__dataclass_fields__ if name in data})
