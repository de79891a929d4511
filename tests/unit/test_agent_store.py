"""The store keeps what it was told over the death of its process, and puts a damaged file aside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.agent.store import Event, NetworkLease, Store
from orchestrator.agent.wishes import Wishes
from orchestrator.errors import HostRefused
from orchestrator.reconcile.world import Wanted
from orchestrator.stack.model import Stack


def test_what_was_committed_is_there_for_the_next_process(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    lease = NetworkLease("shop_default", "shop", 3, "10.1.0.0/24", "10.1.0.1", True)
    store.put_network(lease)
    store.put_address("shop_default", "shop-db-1", "10.1.0.2")
    store.put_port("shop", "web", "80/tcp/0", 49200)
    store.put_revision("shop", 1, '"document"', 7)
    store.put_stack("shop", 1, {"active": ["db"]})
    store.commit()

    after = Store(str(tmp_path))
    assert after.networks() == [lease]
    assert list(after.addresses()) == [("shop_default", "shop-db-1", "10.1.0.2")]
    assert after.port("shop", "web", "80/tcp/0") == 49200
    assert after.revision("shop", 1) == '"document"'
    assert after.stacks() == [("shop", 1, {"active": ["db"]})]


def test_dropping_a_network_frees_its_addresses(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.put_network(NetworkLease("n", "shop", 0, "10.1.0.0/24", "10.1.0.1", False))
    store.put_address("n", "shop-db-1", "10.1.0.2")
    store.drop_network("n")
    assert store.networks() == []
    assert list(store.addresses()) == []


def test_events_are_told_by_stack_and_time(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for moment, stack in ((1, "shop"), (2, "blog"), (3, "shop")):
        store.put_event(Event(moment, "container", "start", stack, "db", f"{stack}-db-1", "missing", {"id": "x"}))
    assert [event.wall_ns for event in store.events("shop", 0)] == [1, 3]
    assert [event.wall_ns for event in store.events(None, 2)] == [2, 3]
    assert store.events("shop", 3)[0].attributes == {"id": "x"}


def test_forgetting_a_stack_leaves_its_history(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.put_stack("shop", 1, {})
    store.put_revision("shop", 1, '"document"', 7)
    store.put_event(Event(1, "stack", "down", "shop", "", "shop", "asked"))
    store.forget_stack("shop")
    assert store.stacks() == []
    assert store.revision("shop", 1) is None
    assert len(store.events("shop", 0)) == 1


def test_revisions_in_use_are_not_trimmed(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for revision in range(1, 41):
        store.put_revision("shop", revision, str(revision), revision)
    store.trim_revisions("shop", {2})
    assert store.revision("shop", 2) == "2"
    assert store.revision("shop", 1) is None
    assert store.revision("shop", 40) == "40"


@pytest.mark.parametrize("damage", [b"", b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_damaged_file_is_put_aside_and_said(tmp_path: Path, damage: bytes) -> None:
    Store(str(tmp_path)).close()
    file = tmp_path / "pyorch.db"
    file.write_bytes(damage)
    store = Store(str(tmp_path))
    assert store.stacks() == []
    if damage:
        assert store.damage is not None and "cannot read" in store.damage
        assert (tmp_path / "pyorch.db.damaged").read_bytes() == damage


def test_a_file_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    import sqlite3

    Store(str(tmp_path)).close()
    db = sqlite3.connect(tmp_path / "pyorch.db")
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(HostRefused, match="a newer pyorch wrote it"):
        Store(str(tmp_path))
    assert not (tmp_path / "pyorch.db.damaged").exists()


def test_a_lost_file_is_replaced_by_the_copy_of_what_is_wanted(tmp_path: Path) -> None:
    copy = tmp_path / "wanted.json"
    store = Store(str(tmp_path / "state"), str(copy))
    lease = NetworkLease("shop_default", "shop", 3, "10.1.0.0/24", "10.1.0.1", True)
    store.put_network(lease)
    store.put_port("shop", "web", "80/tcp/0", 49200)
    for revision in (1, 2, 3):
        store.put_revision("shop", revision, f'"{revision}"', 7)
    store.put_stack("shop", 3, {"orphans": [["old", 1]]})
    store.close()
    (tmp_path / "state" / "pyorch.db").write_bytes(b"garbage" * 1000)

    after = Store(str(tmp_path / "state"), str(copy))
    assert after.damage is not None and "shop" in after.damage
    assert after.stacks() == [("shop", 3, {"orphans": [["old", 1]]})]
    assert after.networks() == [lease]
    assert after.port("shop", "web", "80/tcp/0") == 49200
    assert [after.revision("shop", revision) for revision in (1, 2, 3)] == ['"1"', None, '"3"']


def test_a_stack_that_was_taken_down_does_not_come_back_from_the_copy(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "state"), str(tmp_path / "wanted.json"))
    store.put_stack("shop", 1, {"orphans": []})
    store.commit()
    store.forget_stack("shop")
    store.close()
    (tmp_path / "state" / "pyorch.db").unlink()
    assert Store(str(tmp_path / "state"), str(tmp_path / "wanted.json")).stacks() == []


def test_what_cannot_be_committed_was_never_written(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.put_stack("shop", 1, {})
    store.rollback()
    store.put_stack("blog", 1, {})
    store.commit()
    assert [name for name, _, _ in Store(str(tmp_path)).stacks()] == ["blog"]


def test_the_journal_of_a_damaged_file_goes_aside_with_it(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.put_stack("shop", 1, {})
    store.close()
    store = Store(str(tmp_path))
    store.put_stack("blog", 1, {})
    store.commit()
    file = tmp_path / "pyorch.db"
    file.write_bytes(b"garbage" * 1000)  # while the journal beside it holds only the latest change
    after = Store(str(tmp_path))
    assert after.stacks() == []
    assert after.damage is not None
    after.put_stack("cart", 1, {})
    after.commit()
    assert [name for name, _, _ in Store(str(tmp_path)).stacks()] == ["cart"]


def test_a_stack_in_words_of_another_version_stops_the_start_with_a_sentence(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    Wishes(store).put(Wanted(Stack("shop", "/", (), {}), revision=2))
    document = store.revision("shop", 2)
    assert document
    store.put_revision("shop", 2, json.dumps(json.loads(document) | {"wings": 2}), 7)
    with pytest.raises(HostRefused, match=r"stack 'shop' \(revision 2\): another version of pyorch .*wings"):
        Wishes(store)
    store.put_revision("shop", 2, document, 8)
    assert [wanted.stack.name for wanted in Wishes(store).all()] == ["shop"]
