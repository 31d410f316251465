"""Values and durations: what is taken, what is refused, and that what `run` is handed is the same after a restart."""

from __future__ import annotations

import dataclasses
import enum
import socket
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from stagelight_plugins.engine import Status, WorkflowEntrypoint, WorkflowEvent
from stagelight_plugins.engine.durations import DAY, MAX_SLEEP, milliseconds, moment
from stagelight_plugins.engine.errors import BadDuration, BadValue, TooLarge
from stagelight_plugins.engine.values import encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.plugins.engine.conftest import Bench

    from stagelight_plugins.engine.step import Step
else:
    Bench = Any


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (1_500, 1_500),
        (0, 0),
        ("1 second", 1_000),
        ("24 hours", DAY),
        ("1.5 minutes", 90_000),
        ("2 days", 2 * DAY),
        ("1 week", 7 * DAY),
        ("1 month", 30 * DAY),
        ("1 year", MAX_SLEEP),
        (timedelta(hours=1), 3_600_000),
    ],
)
def test_a_duration_is_a_number_of_milliseconds_or_words(given: Any, found: int) -> None:
    assert milliseconds(given) == found


@pytest.mark.parametrize(
    "given",
    [
        "",
        "soon",
        "1 fortnight",
        "-1 day",
        -1,
        "366 days",
        MAX_SLEEP + 1,
        float("nan"),
        float("inf"),
        True,
        None,
        "1 day\n2",
    ],
)
def test_a_bad_duration_is_refused_with_the_remedy(given: Any) -> None:
    with pytest.raises(BadDuration, match=r"write milliseconds|it is negative|the longest is 365 days"):
        milliseconds(given)


def test_a_time_without_a_zone_is_refused() -> None:
    assert moment(datetime(2026, 1, 1, tzinfo=UTC)) == 1_767_225_600_000
    with pytest.raises(BadDuration, match="it has no time zone"):
        moment(datetime(2026, 1, 1))  # noqa: DTZ001 - what is refused


def cycle() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (float("nan"), "float, not finite"),
        ({"a": [None, float("inf")]}, r"at \.a\[1\].*float, not finite"),
        ({"a": {1: 2}}, "int as a key"),
        (2**64, "int beyond 64 bits"),
        ({"when": datetime(2026, 1, 1, tzinfo=UTC)}, r"at \.when.*datetime"),
        ("\ud800", "surrogates not allowed"),
        (cycle(), "nested too deep, or inside itself"),
        ([b"bytes"], r"at \[0\].*bytes"),
    ],
)
def test_what_is_not_json_is_refused_with_its_place(value: Any, says: str) -> None:
    with pytest.raises(BadValue, match=says):
        encode("it", value, 1_000)


def test_none_is_no_wrong_number() -> None:
    assert encode("it", {"a": [None, "null", 1.5]}, 1_000) == b'{"a":[null,"null",1.5]}'


def test_a_value_may_be_as_large_as_its_limit_and_no_larger() -> None:
    assert len(encode("it", "x" * 98, 100)) == 100
    with pytest.raises(TooLarge, match="it has 101 bytes, which is more than 100; keep it elsewhere"):
        encode("it", "x" * 99, 100)


class Colour(enum.Enum):
    """Something that JSON has no word for, but that can be written."""

    RED = "red"


@dataclasses.dataclass
class Point:
    """The same."""

    x: int


def a_closed_socket() -> socket.socket:
    with socket.socket() as found:
        return found


GIVEN: dict[str, Callable[[], Any]] = {
    "enum": lambda: Colour.RED,
    "uuid": lambda: uuid.UUID(int=7),
    "dataclass": lambda: Point(1),
    "tuple": lambda: (1, 2),
    "float": lambda: 1e300,
    "text": lambda: "a\0b\x1b[31m\u2028",
}


async def test_what_a_step_returned_is_the_same_now_and_after_a_restart(bench: Bench) -> None:
    shown: dict[str, list[str]] = {kind: [] for kind in GIVEN}

    class Gives(WorkflowEntrypoint):
        async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
            given: Any = await step.do("give", GIVEN[event.payload])
            shown[event.payload].append(repr(given))
            await step.wait_for_event("go", event_type="go")

    plane = await bench.open(Gives)
    for kind in GIVEN:
        await plane.create("Gives", kind, id=kind)
        await bench.until("Gives", kind, frozenset({Status.WAITING}))
    plane = await bench.reopen()
    for kind in GIVEN:
        await plane.send_event("Gives", kind, "go")
        await bench.until("Gives", kind)

    assert {kind: len(both) for kind, both in shown.items()} == dict.fromkeys(GIVEN, 2)
    assert {kind: both[0] for kind, both in shown.items()} == {kind: both[1] for kind, both in shown.items()}
    assert (shown["enum"][0], shown["dataclass"][0]) == ("'red'", "{'x': 1}")


@pytest.mark.parametrize("kind", ["socket", "nan", "large"])
async def test_a_step_that_returns_what_cannot_be_kept_fails_at_once_and_alone(
    bench: Bench, kind: str
) -> None:
    returned: dict[str, Any] = {
        "socket": a_closed_socket,
        "nan": lambda: [float("nan")],
        "large": lambda: "x" * ((1 << 20) - 1),
    }
    calls: list[str] = []

    class Returns(WorkflowEntrypoint):
        async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
            def give() -> Any:
                calls.append(event.payload)
                return "x" * ((1 << 20) - 2) if event.payload == "fine" else returned[event.payload]()

            return len(await step.do("give", give))

    await bench.open(Returns)
    bad, fine = await bench.run(Returns, kind), await bench.run(Returns, "fine")

    assert calls == [kind, "fine"]
    assert fine.output == (1 << 20) - 2
    assert bad.error
    assert bad.error.message.startswith(
        {
            "socket": "BadValue: what step 'give' returned is not JSON: it is of type socket",
            "nan": "BadValue: what step 'give' returned is not JSON at [0]: it is of type float, not finite",
            "large": "TooLarge: what step 'give' returned has 1,048,577 bytes, which is more than 1,048,576",
        }[kind]
    )
