"""Mistakes on the command line, told in one line that names the remedy."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Iterable

_UNKNOWN: Final = re.compile(r"No such (command|option):? '?([^'\s]+?)'?\.?$")


def told(error: click.ClickException) -> str:
    """Return what is wrong, and what to do."""
    if not isinstance(error, click.UsageError):
        return error.format_message()
    command = error.ctx.command_path if error.ctx else "stagelight"
    if error.ctx and (found := _UNKNOWN.match(error.message)):
        kind, name = found.groups()
        possible = _commands(error.ctx) if kind == "command" else _options(error.ctx)
        nearest = get_close_matches(name, list(possible), 1)
        remedy = f"did you mean `{nearest[0]}`?" if nearest else f"`{command} --help` lists them"
        return f"`{command}` has no {kind} `{name}`; {remedy}"
    message = error.format_message().rstrip(".")
    return f"{message[:1].lower()}{message[1:]}; see `{command} --help`"


def _commands(ctx: click.Context) -> Iterable[str]:
    return ctx.command.list_commands(ctx) if isinstance(ctx.command, click.Group) else ()


def _options(ctx: click.Context) -> Iterable[str]:
    return [name for parameter in ctx.command.get_params(ctx) for name in parameter.opts]
