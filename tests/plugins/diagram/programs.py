"""Programs: workflows in Python of every shape, made up by Hypothesis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS = 8
HEAD = "import asyncio\nimport stagelight\n\n"


class Writer:
    """Writes one program.

    Args:
        draw: Draws from a strategy.
    """

    def __init__(self, draw: Callable[[st.SearchStrategy[int]], int]) -> None:
        self._draw = draw
        self._tasks = 0
        self._helpers: list[tuple[str, bool]] = []
        """Names, and whether each never fails: what fails is not put beside others, which would run on."""

    def program(self) -> str:
        """Return a module with one workflow."""
        lines = [HEAD]
        for index in range(STEPS):
            lines += [f"@stagelight.step(name='s{index}')", f"async def s{index}(*given):"]
            lines += [
                "    await asyncio.sleep(0)",
                *([f"    await s{index - 1}()"] if index == 3 else []),
                "",
            ]
        lines += [
            "@stagelight.step",
            "async def f(*given):",
            "    if flip():",
            "        raise ValueError",
            "",
        ]
        for index in range(self._number(3)):
            safe = bool(index % 2)
            lines += [
                f"async def h{index}(*given):",
                "    off = False",
                *self._body(1 if safe else 2, safe=safe, loop=False),
                "",
            ]
            self._helpers.append((f"h{index}", safe))
        lines += ["@stagelight.workflow", "async def main():", "    off = False"]
        return "\n".join([*lines, *self._body(3, safe=False, loop=False)]) + "\n"

    def _number(self, most: int) -> int:
        return self._draw(st.integers(0, most))

    def _body(self, depth: int, *, safe: bool, loop: bool) -> list[str]:
        lines: list[str] = []
        for _ in range(1 + self._number(2)):
            lines += self._statement(depth, safe=safe, loop=loop)
        return [f"    {line}" for line in lines]

    def _statement(self, depth: int, *, safe: bool, loop: bool) -> list[str]:
        kind = self._number(12 if depth else 4)
        if kind <= 1:
            return [f"await {self._call(safe=safe)}"]
        if kind <= 4:
            return [self._fails, self._leaves, self._short][kind - 2](safe=safe, loop=loop)
        shapes = [
            self._if, self._for, self._while, self._try, self._with, self._gather, self._later, self._many,
        ]  # fmt: skip
        return shapes[kind - 5](depth - 1, safe=safe, loop=loop)

    def _call(self, *, safe: bool) -> str:
        able = [name for name, never_fails in self._helpers if never_fails or not safe]
        names = [*(f"s{index}" for index in range(STEPS)), *able]
        return f"{names[self._number(len(names) - 1)]}()"

    def _fails(self, *, safe: bool, loop: bool) -> list[str]:
        del loop
        return [f"await {self._call(safe=True)}" if safe else "await f()"]

    def _leaves(self, *, safe: bool, loop: bool) -> list[str]:
        ways = ["return", *(["break", "continue"] if loop else []), *([] if safe else ["raise ValueError"])]
        return ["if flip():", f"    {ways[self._number(len(ways) - 1)]}"]

    def _short(self, *, safe: bool, loop: bool) -> list[str]:
        del loop
        ways = [
            "flip() and await {}", "flip() or await {}", "x = await {} if flip() else await {}",
            "off = flip()", "if off: await {}", "pass",
        ]  # fmt: skip
        way = ways[self._number(len(ways) - 1)]
        return [way.format(self._call(safe=safe), self._call(safe=safe))]

    def _if(self, depth: int, *, safe: bool, loop: bool) -> list[str]:
        tests = ["flip()", f"(await {self._call(safe=safe)}) or flip()", "not flip()"]
        lines = [f"if {tests[self._number(2)]}:", *self._body(depth, safe=safe, loop=loop)]
        if self._number(1):
            lines += [f"elif {tests[self._number(2)]}:", *self._body(depth, safe=safe, loop=loop)]
        return lines + (["else:", *self._body(depth, safe=safe, loop=loop)] if self._number(1) else [])

    def _for(self, depth: int, *, safe: bool, loop: bool) -> list[str]:
        over = ["range(2)", "(1, 2)", "(flip(), flip(), flip())", "()"][self._number(3)]
        return [f"for i in {over}:", *self._looped(depth, safe=safe, loop=loop)]

    def _while(self, depth: int, *, safe: bool, loop: bool) -> list[str]:
        return ["while flip():", *self._looped(depth, safe=safe, loop=loop)]

    def _looped(self, depth: int, *, safe: bool, loop: bool) -> list[str]:
        lines = self._body(depth, safe=safe, loop=True)
        return lines + (["else:", *self._body(depth, safe=safe, loop=loop)] if not self._number(3) else [])

    def _try(self, depth: int, *, safe: bool, loop: bool) -> list[str]:
        lines = ["try:", *self._body(depth, safe=safe, loop=loop)]
        handlers = self._number(2)
        for error in ("KeyError", "ValueError")[2 - handlers :]:
            lines += [f"except {error}:", *self._body(depth, safe=safe, loop=loop)]
        if handlers and self._number(1):
            lines += ["else:", *self._body(depth, safe=safe, loop=loop)]
        if not handlers or self._number(1):
            lines += ["finally:", *self._body(depth, safe=safe, loop=False)]
        return lines

    def _with(self, depth: int, *, safe: bool, loop: bool) -> list[str]:
        name = ["'w'", "f'w {flip()}'"][self._number(1)]
        return [f"with stagelight.step({name}):", *self._body(depth, safe=safe, loop=loop)]

    def _gather(self, depth: int, *, safe: bool, loop: bool) -> list[str]:
        del depth, safe, loop
        calls = ", ".join(self._call(safe=True) for _ in range(2 + self._number(1)))
        return [f"await asyncio.gather({calls})"]

    def _many(self, depth: int, *, safe: bool, loop: bool) -> list[str]:
        del depth, safe, loop
        return [f"await asyncio.gather(*[s{self._number(STEPS - 1)}(i) for i in range(2)])"]

    def _later(self, depth: int, *, safe: bool, loop: bool) -> list[str]:
        del depth, safe, loop
        self._tasks += 1
        task = f"t{self._tasks}"
        start = f"{task} = asyncio.create_task({self._call(safe=True)})"
        between = [f"await {self._call(safe=True)}" for _ in range(self._number(2))]
        return [start, *between, f"await {task}"]


@st.composite
def programs(draw: st.DrawFn) -> str:
    """Return sources."""
    return Writer(draw).program()
