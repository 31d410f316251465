"""The ids of messages: `<epoch>-<number>`, and who may go on from one.

An epoch is `<stream>.<collector>` on a bus of several collectors, and `<stream>` where there is one. Numbers count the
events of the stream, so any collector goes on from another's id. Not so while a collector knows that its rooms may lack
something: then it says `<stream>!<collector>`, from which only itself goes on.
"""

from __future__ import annotations


def stamp(epoch: str, *, settled: bool) -> str:
    """Return what ids begin with."""
    return epoch if settled else _unsettled(epoch)


def is_own(last_event_id: str, epoch: str) -> bool:
    """Whether an id was given by this collector."""
    return last_event_id.partition("-")[0] in {epoch, _unsettled(epoch)}


def is_settled(last_event_id: str) -> bool:
    """Whether who got an id had everything up to its number."""
    return "!" not in last_event_id


def number_in(last_event_id: str, epoch: str, latest: int) -> int | None:
    """Return the number in an id of this stream; None where nobody can go on from it."""
    given, _, number = last_event_id.partition("-")
    if given.partition(".")[0] != epoch.partition(".")[0] and not is_own(last_event_id, epoch):
        return None
    if not number.isdecimal() or len(number) > len(str(latest)):
        return None
    return int(number) if int(number) <= latest else None


def _unsettled(epoch: str) -> str:
    stream, _, collector = epoch.partition(".")
    return f"{stream}!{collector}"
