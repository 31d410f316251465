"""`stagelight run`: listed here for `--help`; the agent itself does the work (see `__main__`)."""

from __future__ import annotations

import click

from stagelight.launcher import main


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []}, add_help_option=False
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def run(command: tuple[str, ...]) -> int:
    """Run any program with the agent in it."""
    return main(list(command))
