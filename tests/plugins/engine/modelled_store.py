"""A store that is a model: what a disk would keep, in dicts, written whole or not at all."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stagelight_plugins.engine.store import Batch, Entry, Row, Slice, VersionRow, WorkflowRow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable


class ModelledStore:
    """Keeps what was written; survives the engine that wrote it."""

    def __init__(self) -> None:
        self.table: dict[int, Row] = {}
        self.entries: list[Entry] = []
        self.known_workflows: dict[int, WorkflowRow] = {}
        self.known_versions: dict[int, VersionRow] = {}
        self.known_facts: dict[str, Any] = {}
        self.highest = 0
        self.places = 0

    def write(self, batch: Batch) -> list[int]:
        taken = {(row.workflow, row.id) for row in self.table.values()}
        refused = [row.seq for row in batch.creates if (row.workflow, row.id) in taken]
        for row in batch.creates:
            self.highest = max(self.highest, row.seq)
            if row.seq not in refused:
                self.table[row.seq] = replace(row)
        for seq, columns in batch.changes.items():
            for name, value in columns.items():
                if seq in self.table:
                    setattr(self.table[seq], name, value)
        for seq, records in batch.journal.items():
            if seq not in refused:
                self.add(seq, b",".join(records))
        for seq in batch.removals:
            self.table.pop(seq, None)
            self.entries = [entry for entry in self.entries if entry.instance != seq]
        for seq, body in batch.farewells.items():
            self.add(seq, body)
        self.known_workflows |= {row.key: row for row in batch.workflows}
        self.known_versions |= {row.key: row for row in batch.versions}
        self.known_facts |= batch.facts
        for key in batch.dropped_workflows:
            self._drop(key)
        return refused

    def _drop(self, key: int) -> None:
        gone = {row.seq for row in self.table.values() if row.workflow == key}
        self.entries = [entry for entry in self.entries if entry.instance not in gone]
        self.table = {seq: row for seq, row in self.table.items() if seq not in gone}
        self.known_versions = {
            number: version for number, version in self.known_versions.items() if version.workflow != key
        }
        self.known_workflows.pop(key, None)

    def add(self, seq: int, records: bytes) -> None:
        self.places += 1
        self.entries.append(Entry(self.places, seq, b"[" + records + b"]"))

    def _found(self, test: Callable[[Row], object], key: Callable[[Row], Any] | None = None) -> list[Row]:
        found = [replace(row) for row in self.table.values() if test(row)]
        return sorted(found, key=key or (lambda row: row.seq))

    def row(self, workflow: int, instance_id: str) -> Row | None:
        return next(iter(self._found(lambda row: (row.workflow, row.id) == (workflow, instance_id))), None)

    def row_at(self, seq: int) -> Row | None:
        return replace(self.table[seq]) if seq in self.table else None

    def latest(self, workflow: int) -> Row | None:
        return next(reversed(self._found(lambda row: row.workflow == workflow)), None)

    def journal(self, instance: int, after: int = 0) -> list[Entry]:
        return [entry for entry in self.entries if entry.instance == instance and entry.seq > after]

    def outbox(self, after: int, limit: int) -> list[Entry]:
        return [entry for entry in self.entries if entry.seq > after][:limit]

    def rows(self, seqs: Collection[int]) -> list[Row]:
        return self._found(lambda row: row.seq in seqs)

    def queue(self, workflow: int, chef: int, limit: int) -> list[Row]:
        found = self._found(
            lambda row: row.workflow == workflow and row.chef == chef and row.rank is not None,
            lambda row: row.rank,
        )
        return found[:limit]

    def due(self, until: int, limit: int) -> list[Row]:
        return self._found(lambda row: row.alarm is not None and row.alarm <= until, lambda row: row.alarm)[
            :limit
        ]

    def next_alarm(self) -> int | None:
        return min((row.alarm for row in self.table.values() if row.alarm is not None), default=None)

    def interrupted(self, after: int, limit: int) -> list[Row]:
        active = {"running", "waitingForPause", "rollingBack"}
        return self._found(lambda row: row.status in active and row.seq > after)[:limit]

    def page(self, part: Slice) -> list[Row]:
        def asked_for(row: Row) -> bool:
            return (
                (row.workflow, row.status in part.statuses) == (part.workflow, True)
                and row.seq > part.after
                and (not part.before or row.seq < part.before)
                and row.created >= part.created_from
                and (not part.created_to or row.created < part.created_to)
            )

        found = self._found(asked_for)
        return (found[::-1] if part.descending else found)[: part.limit]

    def counts(self) -> dict[tuple[int, str], int]:
        return _counted((row.workflow, row.status) for row in self.table.values())

    def queues(self) -> dict[tuple[int, int], tuple[int, int]]:
        queued = [row for row in self.table.values() if row.rank is not None]
        all_of_them = _counted((row.workflow, row.chef) for row in queued)
        woken = _counted((row.workflow, row.chef) for row in queued if (row.rank or 0) < 0)
        return {key: (count, woken.get(key, 0)) for key, count in all_of_them.items()}

    def workflows(self) -> list[WorkflowRow]:
        return list(self.known_workflows.values())

    def versions(self) -> list[VersionRow]:
        return list(self.known_versions.values())

    def facts(self) -> dict[str, Any]:
        return copy.copy(self.known_facts)

    def last(self) -> tuple[int, int]:
        return self.highest, self.places

    def close(self) -> None:
        """Keep everything: the disk stays when the process goes."""


def _counted(keys: Iterable[Any]) -> dict[Any, int]:
    found: dict[Any, int] = {}
    for key in keys:
        found[key] = found.get(key, 0) + 1
    return found
