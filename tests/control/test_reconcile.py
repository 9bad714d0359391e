"""Redis equals SQL: what is found, what is repaired, and what is left alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event

from control import reconcile as reconciling
from control import registry
from control.models import OlderGeneration, VirtualHost
from control.ports import StoreUnavailable
from control.reconcile import reconcile, take_turn
from tests.control.conftest import TEST, House, both_databases

NAME = "mail.acme.test"


@pytest.fixture
def served(house: House) -> House:
    """Three hosts, all served."""
    for name in (NAME, "b.acme.test", "c.acme.test"):
        house.add(name)
    house.work()
    return house


def test_nothing_to_do_changes_nothing(served: House) -> None:
    before = len(served.store.published)
    assert not reconcile(served.plane).changed
    assert len(served.store.published) == before


@both_databases
def test_an_emptied_copy_is_filled_again_under_a_new_epoch(served: House) -> None:
    former = served.store.summary().epoch
    served.store.empty()
    done = reconcile(served.plane)
    assert done.rebuilt == "the copy was emptied"
    assert done.published == 3
    summary = served.store.summary()
    assert summary.epoch != former
    assert summary.complete == summary.epoch
    assert served.store.state(NAME) == "active"


def test_the_revision_goes_on_where_the_truth_knows_it_was(served: House) -> None:
    known = served.host().revision
    served.store.empty()
    reconcile(served.plane)
    assert served.host().revision > known


def test_a_rewound_copy_is_rebuilt(served: House) -> None:
    served.store.rewind(3)
    assert reconcile(served.plane).rebuilt == "the copy went back to an older revision"


def test_an_edge_that_is_ahead_of_the_copy_gets_a_new_one(served: House) -> None:
    """It would wait for ever for a revision that comes no more; a corrupt one had set it there."""
    served.store.frozen["edge-1"] = 10**12
    assert reconcile(served.plane).rebuilt == "edge-1 is ahead of the copy, and would not follow it"
    del served.store.frozen["edge-1"]
    assert reconcile(served.plane).rebuilt is None


def test_a_foreign_copy_is_rebuilt_and_its_hosts_removed(served: House) -> None:
    served.store.empty()
    served.store.begin("foreign")
    host = served.host("b.acme.test")
    from control.publishing import edge_host

    with served.plane.database.reading() as session:
        copy = edge_host(session.get_one(VirtualHost, host.id), None)
    served.store.publish(replace(copy, hostname="evil.test"), epoch="foreign", at_least=0)
    done = reconcile(served.plane)
    assert done.rebuilt == "the copy has another epoch"
    assert done.removed == 1
    assert set(served.store.index()) == {NAME, "b.acme.test", "c.acme.test"}


def test_a_rebuild_that_was_interrupted_is_done_again(served: House) -> None:
    served.store.empty()
    epoch = served.plane.database
    with epoch.writing() as session:
        from control.models import EdgeState

        session.get_one(EdgeState, 1).epoch = "half"
    served.store.begin("half")
    assert reconcile(served.plane).rebuilt == "the last rebuild was not finished"
    assert len(served.store.index()) == 3


def test_one_host_that_went_missing_is_written_again(served: House) -> None:
    del served.store.hosts[NAME]
    assert reconcile(served.plane).published == 1
    assert served.store.state(NAME) == "active"


def test_data_that_differ_under_the_right_revision_are_found_by_the_slices(served: House) -> None:
    revision, host = served.store.hosts[NAME]
    served.store.hosts[NAME] = (revision, replace(host, change=host.change - 1, state="pending"))
    assert reconcile(served.plane).published == 1
    assert served.store.state(NAME) == "active"


@both_databases
def test_a_host_that_the_truth_does_not_know_leaves_by_a_tombstone(served: House) -> None:
    served.store.hosts["foreign.test"] = served.store.hosts[NAME]
    served.store.frozen["edge-1"] = served.store.summary().revision
    assert reconcile(served.plane).removed == 1
    assert served.store.state("foreign.test") == "deleted"
    assert not reconcile(served.plane).changed, "an edge has not dropped it yet"
    served.store.frozen.clear()
    assert reconcile(served.plane).removed == 1
    assert "foreign.test" not in served.store.index()
    assert served.store.floor > 0, "an edge that was away compares the whole"
    assert not reconcile(served.plane).changed


def test_a_foreign_name_may_be_taken_while_its_tombstone_stands(served: House) -> None:
    revision, host = served.store.hosts[NAME]
    foreign = replace(host, hostname="foreign.test", generation=7)
    served.store.hosts["foreign.test"] = (revision, foreign)
    served.store.live.clear()
    reconcile(served.plane)
    served.store.live.add("edge-1")
    served.add("foreign.test")
    served.work()
    assert served.store.state("foreign.test") == "active"
    assert not reconcile(served.plane).changed


def test_a_name_that_is_created_while_it_is_taken_away_is_served(served: House) -> None:
    republish = served.store.republish

    def slow(hosts, **options):  # type: ignore[no-untyped-def]
        served.store.republish = republish  # type: ignore[method-assign]
        served.add("foreign.test")
        served.work()
        return republish(hosts, **options)

    served.store.hosts["foreign.test"] = served.store.hosts[NAME]
    served.store.republish = slow  # type: ignore[method-assign]
    reconcile(served.plane)
    assert served.store.state("foreign.test") == "pending"
    served.work()
    assert served.store.state("foreign.test") == "active"


def test_what_was_committed_while_redis_was_away_is_published(served: House) -> None:
    served.store.away = True
    registry.delete(served.plane, NAME, TEST)
    served.store.away = False
    assert served.store.state(NAME) == "active"
    reconcile(served.plane)
    assert served.store.state(NAME) in ("deleted", None)


def test_a_tombstone_stays_until_every_live_edge_is_past_it(served: House) -> None:
    served.store.live.add("slow")
    served.store.frozen["slow"] = 1
    registry.delete(served.plane, NAME, TEST)
    reconcile(served.plane)
    assert served.store.state(NAME) == "deleted"
    del served.store.frozen["slow"]
    assert reconcile(served.plane).purged == 1
    assert served.store.state(NAME) is None
    assert served.store.floor > 0


@both_databases
def test_however_many_tombstones_go_no_statement_names_them_all(served: House) -> None:
    """PostgreSQL takes 65,535 parameters: with more tombstones than that nothing was compared any more."""
    now = served.clock()
    with served.plane.database.writing() as session:
        for number in range(1100):
            host = VirtualHost.create(f"gone{number}.acme.test", now)
            host.delete(now)
            host.published, host.unpublished_since, host.revision = host.change, None, 1
            session.add(host)
    named = []

    @event.listens_for(served.plane.database.engine, "before_cursor_execute")
    def note(_c: object, _cursor: object, _text: str, given: Any, _x: object, many: bool) -> None:
        named.append(0 if many else len(given))

    assert reconcile(served.plane).purged == 1100
    assert max(named) < 600


def test_without_edges_a_tombstone_stays(served: House) -> None:
    served.store.live.clear()
    registry.delete(served.plane, NAME, TEST)
    reconcile(served.plane)
    assert served.store.state(NAME) == "deleted"


def test_a_purged_name_may_be_taken_again(served: House) -> None:
    registry.delete(served.plane, NAME, TEST)
    reconcile(served.plane)
    served.add(NAME)
    served.work()
    assert served.host().status == "ready"
    assert not reconcile(served.plane).changed


def test_the_generation_outlives_the_tombstone_for_a_week(served: House) -> None:
    registry.delete(served.plane, NAME, TEST, generation=9)
    reconcile(served.plane)
    with pytest.raises(OlderGeneration):
        served.add(NAME, generation=8)
    served.clock.forward(days=8)
    reconcile(served.plane)
    assert served.add(NAME, generation=8).generation == 8


def test_a_database_restored_from_a_backup_wins_over_a_newer_copy(served: House) -> None:
    revision, host = served.store.hosts[NAME]
    served.store.hosts[NAME] = (
        revision + 5,
        replace(host, change=host.change + 5, state="disabled"),
    )
    reconcile(served.plane)
    assert served.store.state(NAME) == "active"


def test_a_host_whose_copy_is_newer_than_the_truth_holds_up_no_others(served: House) -> None:
    revision, host = served.store.hosts[NAME]
    served.store.hosts[NAME] = (revision, replace(host, change=host.change + 50))
    served.store.away = True
    for name in (NAME, "b.acme.test"):
        registry.change(served.plane, name, registry.Wish(enabled=False), TEST)
    served.store.away = False
    reconcile(served.plane)
    assert served.store.state("b.acme.test") == "disabled"
    assert served.store.state(NAME) == "disabled", "the truth wins by comparison"


def test_a_change_committed_during_a_repair_is_not_lost(served: House) -> None:
    republish = served.store.republish

    def slow(hosts, **options):  # type: ignore[no-untyped-def]
        served.store.republish = republish  # type: ignore[method-assign]
        registry.change(served.plane, NAME, registry.Wish(enabled=False), TEST)
        return republish(hosts, **options)

    del served.store.hosts[NAME]
    served.store.republish = slow  # type: ignore[method-assign]
    reconcile(served.plane)
    assert served.store.state(NAME) == "disabled"


def test_a_publish_into_a_foreign_copy_waits_for_the_rebuild(served: House) -> None:
    served.store.begin("foreign")
    served.add("new.test")
    served.work(rounds=1)
    assert served.host("new.test").status == "pending"
    reconcile(served.plane)
    served.work()
    assert served.host("new.test").status == "ready"


def test_redis_away_is_told_to_the_caller(served: House) -> None:
    served.store.away = True
    with pytest.raises(StoreUnavailable):
        reconcile(served.plane)


@both_databases
def test_one_worker_at_a_time_reconciles(house: House) -> None:
    assert take_turn(house.plane, "one")
    assert take_turn(house.plane, "one")
    assert not take_turn(house.plane, "two")
    house.clock.forward(seconds=46)
    assert take_turn(house.plane, "two")


def test_slices_come_round(served: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciling, "SLICE", 2)
    first = reconciling.next_offset(served.plane, 0)
    assert first > 0
    assert reconciling.next_offset(served.plane, first) == 0


@both_databases
def test_events_of_more_than_400_days_ago_are_forgotten(house: House) -> None:
    house.add("old.acme.test")
    house.clock.forward(days=200)
    house.add("newer.acme.test")
    house.clock.forward(days=201)
    reconcile(house.plane)
    assert house.events("old.acme.test") == []
    assert house.events("newer.acme.test") == ["created"]
