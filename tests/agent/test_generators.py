"""Generators: a step from the first value to the last, and never the parent of what the consumer does."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    assert step.error is not None
    assert step.error.type == "GeneratorExit"


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
    assert stagelight_recorder.steps[0].status == "failed"
