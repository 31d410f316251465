"""A program to be killed: senders, and a history that takes batches from the journal.

Arguments: the journal's path, the history's directory, the number of this life. A line on stdout is the
name of a request that was acknowledged, or `BETWEEN`. History is a directory with one file per batch, named after its borders and written
whole or not at all; of a batch that is handed over again it has the entries already, as many as are left of it. Entries leave the journal in
portions of a few.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from pathlib import Path

from stagelight_collector.journal import Journal, Plan, Signal, file

REPEATED = 100
SENDERS = 8
BETWEEN = "taken by history, not yet committed\n"


async def send(journal: Journal, names: itertools.chain[str]) -> None:
    for name in names:
        await journal.append(Signal.LOGS, name.encode() + bytes(len(name) * 97), 0)
        os.write(1, f"{name}\n".encode())


async def next_plan(journal: Journal) -> Plan:
    unfinished = await journal.unfinished()
    if unfinished is not None:
        return unfinished
    await journal.wait(journal.committed)
    entries = await journal.read(journal.committed, limit_bytes=20_000)
    return await journal.plan(entries[-1].seq)


def write_batch(history: Path, plan: Plan, names: list[str]) -> None:
    for stored in history.glob(f"*-{plan.last}"):
        if stored.read_text().split("\n")[-len(names) :] != names:
            (history / "violation").write_text(f"{plan} had other entries before")
        return
    batch = history / f"{plan.first}-{plan.last}"
    unfinished = batch.with_suffix(".part")
    unfinished.write_text("\n".join(names))
    unfinished.rename(batch)
    os.write(1, BETWEEN.encode())


async def hand_over(journal: Journal, history: Path) -> None:
    while True:
        plan = await next_plan(journal)
        names: list[str] = []
        at = plan.first - 1
        while at < plan.last:
            for entry in await journal.read(at, limit_bytes=20_000):
                if entry.seq <= plan.last:
                    names.append(entry.body.rstrip(b"\0").decode())
                at = entry.seq
        write_batch(history, plan, names)
        await journal.commit(plan.last)


file.PORTION_BYTES = 5_000  # type: ignore[misc]


async def main(path: Path, history: Path, life: int) -> None:
    journal = Journal(path)
    await journal.open()
    repeated = (f"{life - 1}:{number}" for number in range(REPEATED))
    names = itertools.chain(repeated, (f"{life}:{number}" for number in itertools.count()))
    await asyncio.gather(hand_over(journal, history), *(send(journal, names) for _ in range(SENDERS)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
