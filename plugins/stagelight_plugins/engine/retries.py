"""When a step is tried again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from stagelight_plugins.engine.durations import MAX_SLEEP, Duration, milliseconds
from stagelight_plugins.engine.errors import Invalid

Backoff = Literal["constant", "linear", "exponential"]
Delay = Duration | Callable[..., Any]

DEFAULT_TIMEOUT: Final = 10 * 60 * 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often a step is tried again after its first attempt, and how long it waits before.

    The delay of retry n is `delay` (constant), `delay * n` (linear) or `delay * 2 ** (n - 1)` (exponential), and at most a
    year. It may also be a function, sync or async, that takes the step's context and the error, and returns a duration.
    The public documentation says 10 s for the delay and its engine's source 1 s; here it is 1 s.
    """

    limit: int = 5
    """Retries after the first attempt, so 5 makes six attempts."""
    delay: Delay = 1_000
    backoff: Backoff = "exponential"

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        limit: Any = self.limit
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
            raise Invalid(f"a retry limit of {self.limit!r} is not allowed; write a whole number from 0")
        if self.backoff not in get_args(Backoff):
            raise Invalid(f"{self.backoff!r} is no backoff; write one of {', '.join(get_args(Backoff))}")
        if not callable(self.delay):
            milliseconds(self.delay)

    def after(self, attempt: int) -> int:
        """Return how long to wait after a failed attempt, ms, where the delay is no function."""
        if callable(self.delay):
            raise TypeError("the delay is a function; ask it")
        delay = milliseconds(self.delay)
        factors: dict[Backoff, int] = {
            "constant": 1,
            "linear": attempt,
            "exponential": 1 << min(attempt - 1, 64),
        }
        factor = factors[self.backoff]
        return min(delay * factor, MAX_SLEEP)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepConfig:
    """How a step is run."""

    retries: Retries = field(default_factory=Retries)
    timeout: int = DEFAULT_TIMEOUT
    """Of one attempt, ms."""
    sensitive: bool = False
    """Whether its output is kept from everybody but `run`."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-compatible data."""
        delay = self.retries.delay
        told = "function" if callable(delay) else milliseconds(delay)
        retries = {"limit": self.retries.limit, "delay": told, "backoff": self.retries.backoff}
        return {"retries": retries, "timeout": self.timeout} | (
            {"sensitive": "output"} if self.sensitive else {}
        )


DEFAULT: Final = StepConfig()


def step_config(
    retries: Retries | Mapping[str, Any] | int | None,
    timeout: Duration | None,
    sensitive: str | bool | None = None,
) -> StepConfig:
    """Return the configuration that a user wrote.

    Raises:
        Invalid: It cannot be meant.
    """
    if retries is None and timeout is None and not sensitive:
        return DEFAULT
    if sensitive not in {None, False, True, "output"}:
        raise Invalid(f"sensitive={sensitive!r} is not known; write sensitive='output'")
    return StepConfig(
        retries=_retries(retries),
        timeout=DEFAULT_TIMEOUT if timeout is None else milliseconds(timeout),
        sensitive=bool(sensitive),
    )


def _retries(value: Retries | Mapping[str, Any] | int | None) -> Retries:
    match value:
        case None:
            return DEFAULT.retries
        case Retries():
            return value
        case bool() | int():
            return Retries(limit=value)
        case Mapping():
            unknown = set(value) - {"limit", "delay", "backoff"}
            if unknown:
                raise Invalid(
                    f"retries have no {', '.join(sorted(unknown))}; they have limit, delay and backoff"
                )
            return Retries(**value)
