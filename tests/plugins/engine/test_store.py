"""What every store keeps to: the real one on disk, and the model that the simulator has for it."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest
from tests.plugins.engine.modelled_store import ModelledStore

from stagelight_plugins.engine.store import Batch, Row, Slice, Store, VersionRow, WorkflowRow
from stagelight_plugins.engine.store.sqlite import STATUSES, SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOME = WorkflowRow(1, "a-uuid", "Home", 5, "SOUS_CHEFS")


@pytest.fixture(params=["sqlite", "modelled"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = SqliteStore(tmp_path / "engine.sqlite") if request.param == "sqlite" else ModelledStore()
    yield made
    made.close()


def row(seq: int, **columns: object) -> Row:
    made = Row(
        seq=seq, workflow=1, id=f"i{seq}", version=1, status="queued", created=seq, modified=seq, retention=9
    )
    made.chef = 1
    for name, value in columns.items():
        setattr(made, name, value)
    return made


def full(store: Store) -> Store:
    """Write a workflow with six instances."""
    rows = [
        row(1, rank=30),
        row(2, rank=-5, chef=2),
        row(3, rank=10),
        row(4, status="waiting", alarm=70, params=b'{"a": "\\u0000"}'),
        row(5, status="running", alarm=60),
        row(6, status="complete", output=b"[1]", ended=6),
    ]
    journal = {each.seq: [b'{"t":"workflow_queued","at":%d}' % each.seq] for each in rows}
    batch = Batch(creates=rows, journal=journal, workflows=[HOME], facts={"published": 2})
    batch.versions.append(VersionRow(1, 1, "v-uuid", "Home", 5, "print", "class Home: ..."))
    assert store.write(batch) == []
    return store


def test_what_was_written_is_there(store: Store) -> None:
    full(store)
    found = store.row(1, "i4")

    assert found is not None
    assert (found.status, found.alarm, found.params) in [
        ("waiting", 70, '{"a": "\\u0000"}'),
        ("waiting", 70, b'{"a": "\\u0000"}'),
    ]
    assert store.row(1, "nobody") is None
    assert store.row(2, "i4") is None
    assert store.workflows() == [HOME]
    assert [version.id for version in store.versions()] == ["v-uuid"]
    assert store.facts() == {"published": 2}
    assert store.last() == (6, 6)
    by_place = store.row_at(5)
    assert by_place is not None
    assert (by_place.id, store.row_at(9)) == ("i5", None)
    latest = store.latest(1)
    assert latest is not None
    assert latest.id == "i6"


def test_an_id_that_is_in_use_is_named_and_nothing_of_it_is_kept(store: Store) -> None:
    full(store)
    again = row(7)
    again.id = "i4"
    refused = store.write(Batch(creates=[again, row(8)], journal={7: [b'{"t":"x"}'], 8: [b'{"t":"y"}']}))

    assert refused == [7]
    assert store.row_at(7) is None
    assert store.journal(7) == []
    assert len(store.journal(8)) == 1


def test_a_journal_is_read_in_order_by_instance_and_by_all(store: Store) -> None:
    full(store)
    store.write(Batch(journal={3: [b'{"n":1}', b'{"n":2}'], 1: [b'{"n":3}']}))
    first, second = store.journal(3)

    assert (
        bytes(second.body, "utf-8") if isinstance(second.body, str) else second.body == b'[{"n":1},{"n":2}]'
    )
    assert first.seq < second.seq
    assert store.journal(3, first.seq) == [second]
    places = [entry.seq for entry in store.outbox(0, 100)]
    assert places == sorted(places)
    assert [entry.instance for entry in store.outbox(6, 100)] == [3, 1]
    assert len(store.outbox(0, 2)) == 2


def test_columns_change_and_an_instance_is_forgotten_with_its_journal_but_for_its_farewell(
    store: Store,
) -> None:
    full(store)
    store.write(Batch(changes={1: {"status": "running", "rank": None}, 3: {"output": b"7"}}))
    store.write(
        Batch(
            changes={1: {"started": 3}, 2: {"status": "paused"}}, removals=[2, 4], farewells={4: b'{"bye":1}'}
        )
    )
    changed = store.row_at(1)

    assert changed is not None
    assert (changed.status, changed.rank, changed.started) == ("running", None, 3)
    assert (store.row_at(2), store.journal(2)) == (None, [])
    assert store.row_at(4) is None
    assert [str(entry.body) in {'[{"bye":1}]', "b'[{\"bye\":1}]'"} for entry in store.journal(4)] == [True]
    store.write(Batch(removals=[4]))
    assert store.journal(4) == []
    assert store.last() == (6, 7)


def test_queues_alarms_and_what_was_running_are_found(store: Store) -> None:
    full(store)

    assert [each.seq for each in store.queue(1, 1, 10)] == [3, 1]
    assert [each.seq for each in store.queue(1, 1, 1)] == [3]
    assert store.queues() == {(1, 1): (2, 0), (1, 2): (1, 1)}
    assert store.next_alarm() == 60
    assert [each.seq for each in store.due(65, 10)] == [5]
    assert [each.seq for each in store.due(70, 10)] == [5, 4]
    assert [each.seq for each in store.interrupted(0, 10)] == [5]
    assert store.interrupted(5, 10) == []
    assert store.counts() == {(1, "queued"): 3, (1, "waiting"): 1, (1, "running"): 1, (1, "complete"): 1}
    assert [each.seq for each in store.rows([2, 6])] == [2, 6]


@pytest.mark.parametrize(
    ("part", "found"),
    [
        (Slice(1, STATUSES, 0, 0, 0, 0, descending=True, limit=3), [6, 5, 4]),
        (Slice(1, STATUSES, 0, 4, 0, 0, descending=True, limit=3), [3, 2, 1]),
        (Slice(1, STATUSES, 4, 0, 0, 0, descending=False, limit=3), [5, 6]),
        (Slice(1, ["queued"], 0, 0, 2, 3, descending=False, limit=9), [2]),
        (Slice(2, STATUSES, 0, 0, 0, 0, descending=False, limit=9), []),
    ],
)
def test_a_page_is_a_slice_of_the_order_of_creation(store: Store, part: Slice, found: list[int]) -> None:
    assert [each.seq for each in full(store).page(part)] == found


def test_a_workflow_is_forgotten_with_all_that_it_has(store: Store) -> None:
    full(store).write(Batch(dropped_workflows=[1]))

    assert (store.workflows(), store.versions(), store.counts(), store.outbox(0, 10)) == ([], [], {}, [])


def test_the_log_is_copied_into_the_file_while_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "engine.sqlite"
    store = SqliteStore(path)
    for seq in range(1, 400):
        store.write(Batch(creates=[row(seq, params=b'"%s"' % (b"x" * 50_000))]))
    sizes = [file.stat().st_size for file in (path, path.with_name(f"{path.name}-wal"))]
    store.close()

    assert sizes[0] > 15_000_000
    assert sizes[1] < 5_000_000


def test_the_file_is_a_wal_that_is_synced_at_every_commit(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "engine.sqlite")
    writer = store._writer  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - what is promised of it
    found = [writer.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    full(store)
    with sqlite3.connect(tmp_path / "engine.sqlite") as other:
        kept = other.execute("SELECT count(*) FROM instances").fetchone()[0]
    other.close()
    store.close()

    assert found == ["wal", 2]
    assert kept == 6
