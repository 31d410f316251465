"""Wrapped functions of every kind: generators are steps from first to last value, descriptors stay what they are."""

from __future__ import annotations

import asyncio
import functools
import gc
from typing import TYPE_CHECKING, Any

import pytest

import stagelight

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from stagelight.recorder import Recorder


@stagelight.step
def double(number: int) -> int:
    return number * 2


def test_a_generator_is_open_from_first_to_last_and_does_not_leak_into_its_consumer(
    stagelight_recorder: Recorder,
) -> None:
    @stagelight.step
    def pages(count: int) -> Generator[int, str, str]:
        said = ""
        for number in range(count):
            double(number)
            said += yield number
        return said

    with stagelight.workflow("w"):
        generator = pages(2)
        assert next(generator) == 0
        with stagelight.step("consumer"):
            pass
        assert generator.send("a") == 1
        with pytest.raises(StopIteration) as stop:
            generator.send("b")
        assert stop.value.value == "ab"
    steps = {step.name: step for step in stagelight_recorder.steps}
    assert steps["consumer"].parent_step_id == ""
    assert steps["double"].parent_step_id == steps["pages"].id
    assert steps["pages"].status == "completed"


def test_a_generator_is_thrown_at_and_closed_like_the_original(stagelight_recorder: Recorder) -> None:
    heard: list[str] = []

    @stagelight.step
    def listen() -> Generator[str]:
        try:
            yield "first"
        except KeyError:
            heard.append("thrown")
        try:
            yield "second"
        finally:
            heard.append("closed")

    generator = listen()
    next(generator)
    assert generator.throw(KeyError("x")) == "second"
    generator.close()
    assert heard == ["thrown", "closed"]
    (step,) = stagelight_recorder.steps
    assert (step.status, step.error) == ("completed", None)


async def test_an_async_generator_keeps_to_itself_and_forwards(stagelight_recorder: Recorder) -> None:
    heard: list[str] = []

    @stagelight.step
    async def talk() -> AsyncGenerator[int, str]:
        heard.append((yield 1) or "")
        double(1)
        try:
            yield 2
        except KeyError:
            heard.append("thrown")
        yield 3

    async with stagelight.workflow("w"):
        generator = talk()
        assert await anext(generator) == 1
        assert stagelight.current_run_id()
        with stagelight.step("consumer"):
            pass
        assert await generator.asend("hello") == 2
        assert await generator.athrow(KeyError("x")) == 3
        with pytest.raises(StopAsyncIteration):
            await anext(generator)
    assert heard == ["hello", "thrown"]
    steps = {step.name: step for step in stagelight_recorder.steps}
    assert steps["consumer"].parent_step_id == ""
    assert steps["double"].parent_step_id == steps["talk"].id
    assert steps["talk"].status == "completed"


async def test_an_async_generator_can_be_left_early(stagelight_recorder: Recorder) -> None:
    closed: list[bool] = []

    @stagelight.step
    async def numbers() -> AsyncGenerator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    generator = numbers()
    async for number in generator:
        assert number == 1
        break
    await generator.aclose()
    assert closed == [True]
    assert stagelight_recorder.steps[0].status == "completed"


@pytest.mark.parametrize("how", ["break", "close", "collected"])
def test_a_generator_that_is_left_early_has_not_failed(how: str, stagelight_recorder: Recorder) -> None:
    @stagelight.step
    def numbers() -> Generator[int]:
        with stagelight.step("inside"):
            yield 1
            yield 2

    @stagelight.workflow
    def leave() -> None:
        generator = numbers()
        for _ in generator:
            break
        if how == "close":
            generator.close()
        elif how == "collected":
            del generator
            gc.collect()

    leave()
    assert [run.status for run in stagelight_recorder.runs] == ["completed"]
    assert [(s.name, s.status) for s in stagelight_recorder.steps] == [
        ("numbers", "completed"),
        ("inside", "completed"),
    ]


def test_a_generator_that_fails_while_it_is_closed_has_failed(stagelight_recorder: Recorder) -> None:
    @stagelight.step
    def numbers() -> Generator[int]:
        try:
            yield 1
        finally:
            raise OSError("disk full")

    generator = numbers()
    next(generator)
    with pytest.raises(OSError, match="disk full"):
        generator.close()
    assert stagelight_recorder.steps[0].status == "failed"


class Shop:
    """Has one of each."""

    owner = "nobody"

    @stagelight.step
    @classmethod
    def of_class(cls, number: int) -> tuple[str, int]:
        """Return what it got."""
        return cls.owner, number

    @stagelight.step(name="named")
    @classmethod
    def of_class_named(cls) -> str:
        return cls.__name__

    @stagelight.step
    @staticmethod
    def of_nobody(number: int) -> int:
        return number

    @stagelight.workflow
    @classmethod
    async def flow(cls) -> str:
        return cls.__name__

    @stagelight.step  # type: ignore[prop-decorator]  # mypy knows nothing above a property
    @property
    def size(self) -> int:
        """How large it is."""
        return 3

    @size.setter
    def size(self, value: int) -> None:
        type(self).owner = str(value)

    @stagelight.step  # type: ignore[prop-decorator]  # as above
    @functools.cached_property
    def cached(self) -> list[int]:
        return []


class Branch(Shop):
    """Inherits them."""

    owner = "somebody"


def test_a_decorator_above_another_kind_of_method_leaves_that_kind(stagelight_recorder: Recorder) -> None:
    kinds: dict[str, Any] = {
        name: type(vars(Shop)[name]) for name in ("of_class", "of_nobody", "flow", "size", "cached")
    }
    assert kinds == {
        "of_class": classmethod,
        "of_nobody": staticmethod,
        "flow": classmethod,
        "size": property,
        "cached": functools.cached_property,
    }
    assert Branch.of_class(1) == Branch().of_class(1) == ("somebody", 1)
    assert Branch.of_class_named() == "Branch"
    assert Shop.of_nobody(2) == Shop().of_nobody(2) == 2
    assert asyncio.run(Branch.flow()) == "Branch"
    shop = Shop()
    assert shop.cached is shop.cached
    assert shop.size == 3
    assert Shop.of_class.__doc__ == "Return what it got."
    names = [step.name for step in stagelight_recorder.steps]
    assert names == ["of_class", "of_class", "named", "of_nobody", "of_nobody", "cached", "size"]
    assert [run.name for run in stagelight_recorder.runs] == ["flow"]
    function = (stagelight_recorder.steps[0].span.attributes or {})["code.function.name"]
    assert function == f"{__name__}.Shop.of_class"


def test_the_setter_of_a_recorded_property_still_sets() -> None:
    shop = Shop()
    shop.size = 7
    assert Shop.owner == "7"
    Shop.owner = "nobody"


def test_what_is_no_function_is_left_as_it_is_and_said(caplog: pytest.LogCaptureFixture) -> None:
    class Odd:
        def __get__(self, *_: object) -> int:
            return 5

    odd = Odd()
    only_set = property(None, lambda _self, _value: None)
    assert stagelight.step(odd) is odd  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]  # the mistake of the test
    assert stagelight.step(only_set) is only_set
    assert "Odd is no function, and is not recorded" in caplog.text
