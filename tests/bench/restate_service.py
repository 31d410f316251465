"""The service of three steps for Restate, in a module of its own, because its SDK evaluates annotations."""

from __future__ import annotations

import restate

service = restate.Service("Bench")


async def add(number: int) -> int:
    """Add one."""
    return number + 1


@service.handler()
async def three(ctx: restate.Context, number: int) -> int:
    """Do three steps."""
    for name in ("one", "two", "three"):
        number = await ctx.run_typed(name, add, number=number)
    return number


app = restate.app([service])
