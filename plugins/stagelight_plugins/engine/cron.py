"""Cron expressions."""

from __future__ import annotations

from stagelight_plugins.engine.durations import at
from stagelight_plugins.engine.errors import BadSchedule, MissingExtra


def following(expression: str, time: int) -> int:
    """Return the first time of a schedule after another, Unix milliseconds.

    Raises:
        BadSchedule: The expression cannot be understood, or never comes.
        MissingExtra: The library is not installed: nobody pays for it before there is a schedule.
    """
    try:
        from cronsim import CronSim, CronSimError  # noqa: PLC0415 - of the extra `engine`
    except ModuleNotFoundError as error:
        raise MissingExtra("a schedule") from error
    try:
        found = next(CronSim(expression, at(time)))
    except (CronSimError, StopIteration) as error:
        raise BadSchedule(expression, str(error) or "it never comes") from None
    return round(found.timestamp() * 1_000)
