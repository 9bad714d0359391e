"""Settings that change while hosts are served or worked on, and renewals asked for at any moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from control import configuration, registry
from control.certificates import Facts, check, load_key
from control.models import NotRenewable
from control.ports import AuthorityError, EdgeHost, EdgeReport
from control.provisioning import provision
from control.reconcile import reconcile
from tests.control.conftest import TEST, House, StoreProbe, both_databases
from tests.control.pki import Ca
from tests.fakes.edge_store import FakeEdgeStore

NAME = "mail.acme.test"


@dataclass
class Overtaken(FakeEdgeStore):
    """An edge store that lets other things happen: one each time a worker looks for edges, or behind a challenge."""

    meanwhile: list[Callable[[], object]] = field(default_factory=list)
    behind_challenge: list[Callable[[], object]] = field(default_factory=list)

    def edges(self) -> Sequence[EdgeReport]:
        """See the port."""
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return super().edges()

    def publish(self, host: EdgeHost, **options: Any) -> int:
        """See the port."""
        revision = super().publish(host, **options)
        if options.get("challenges") and self.behind_challenge:
            self.behind_challenge.pop()()
        return revision


@pytest.fixture
def overtaken(house: House) -> House:
    """The house with such a store."""
    store = Overtaken()
    house.authority.look = store.look
    plane = replace(house.plane, store=store, probe=StoreProbe(store))
    reconcile(plane)
    return replace(house, plane=plane, store=store)


def switch(house: House, **changes: object) -> None:
    configuration.configure(house.plane, changes, TEST)


def own(house: House, days: float = 30) -> Facts:
    """An uploaded certificate, in use from now on."""
    pair = Ca().pair(NAME, days=days)
    facts = check(pair.chain, load_key(pair.private_key), NAME, house.clock())
    registry.upload(house.plane, NAME, facts, TEST)
    return facts


@both_databases
def test_renewals_go_on_after_issuance_was_off_for_a_while(house: House) -> None:
    house.add()
    house.work()
    switch(house, acme_enabled=False)
    for _ in range(3):
        house.clock.forward(days=1)
        house.work()
    switch(house, acme_enabled=True)
    for _ in range(120):
        house.clock.forward(days=1)
        house.work()
    certificate = house.host().certificate
    assert certificate is not None
    assert certificate.not_after > house.clock()
    assert house.authority.count("new_order") >= 2


@both_databases
def test_issuance_that_is_switched_on_while_a_host_is_worked_on_reaches_it(
    overtaken: House,
) -> None:
    switch(overtaken, acme_enabled=False)
    overtaken.add()
    overtaken.store.meanwhile = [lambda: switch(overtaken, acme_enabled=True)]  # type: ignore[attr-defined]
    overtaken.work()
    assert overtaken.host().status == "ready"


def test_settings_that_stay_the_same_make_nobody_due_and_are_no_event(house: House) -> None:
    house.add()
    house.work()
    before = house.host().due_at
    switch(house, renewal_threshold_days=None, acme_enabled=True)
    assert house.host().due_at == before
    assert house.last_event().kind != "settings_changed"


@both_databases
def test_the_general_hsts_reaches_every_host_that_has_none_of_its_own(house: House) -> None:
    house.add()
    house.add("b.acme.test", hsts_max_age=60)
    house.work()
    switch(house, hsts_max_age=31_536_000)
    house.work()
    given = {name: host.hsts_max_age for name, (_, host) in house.store.hosts.items()}
    assert given == {NAME: 31_536_000, "b.acme.test": 60}
    house.store.empty()
    reconcile(house.plane)
    assert house.store.hosts[NAME][1].hsts_max_age == 31_536_000


@both_databases
def test_a_renewal_asked_for_during_another_run_is_not_forgotten(overtaken: House) -> None:
    overtaken.add()
    overtaken.work()
    with overtaken.plane.database.writing() as session:
        session.merge(overtaken.host()).due_at = overtaken.clock()
    renew = lambda: registry.renew(overtaken.plane, NAME, TEST)  # noqa: E731 # what happens behind the step `issue`
    overtaken.store.meanwhile = [int, renew]  # type: ignore[attr-defined]
    overtaken.work()
    assert overtaken.authority.count("new_order") == 2
    assert not overtaken.host().renew_requested


def test_an_uploaded_certificate_is_not_renewed_over_its_owner(house: House) -> None:
    house.add()
    house.work()
    facts = own(house)
    with pytest.raises(NotRenewable, match="upload the next one"):
        registry.renew(house.plane, NAME, TEST)
    house.work()
    assert (house.host().certificate or facts).sha256 == facts.sha256


def test_an_upload_ends_a_renewal_that_was_asked_for_before(house: House) -> None:
    house.add()
    house.work()
    registry.renew(house.plane, NAME, TEST)
    facts = own(house)
    house.work()
    assert (house.host().certificate or facts).sha256 == facts.sha256
    assert house.authority.count("new_order") == 1


def test_an_upload_ends_the_way_back_to_the_ca(house: House) -> None:
    house.add()
    house.work()
    own(house)
    house.authority.refuse("new_order", AuthorityError("ca_unavailable", "down"))
    registry.back_to_acme(house.plane, NAME, TEST)
    house.work(rounds=1)
    facts = own(house, days=60)
    house.clock.forward(hours=12)
    house.work()
    assert (house.host().certificate or facts).sha256 == facts.sha256


@both_databases
def test_a_delete_during_an_order_leaves_no_challenge_and_asks_the_ca_nothing_more(
    overtaken: House,
) -> None:
    overtaken.add()
    held = overtaken.take()
    real = overtaken.authority.challenges

    def late(*arguments: Any, **options: Any) -> Any:
        found = real(*arguments, **options)
        registry.delete(overtaken.plane, NAME, TEST)
        return found

    overtaken.authority.challenges = late  # type: ignore[method-assign]
    provision(overtaken.plane, held)
    assert overtaken.store.challenges == {}
    assert overtaken.authority.count("answer") == overtaken.authority.count("finalize") == 0


@both_databases
def test_a_challenge_that_a_delete_overtook_goes_with_the_tombstone(overtaken: House) -> None:
    overtaken.add()
    delete = lambda: registry.delete(overtaken.plane, NAME, TEST)  # noqa: E731 # before its token is noted
    overtaken.store.behind_challenge = [delete]  # type: ignore[attr-defined]
    overtaken.work(rounds=1)
    assert overtaken.authority.count("answer") == 0
    reconcile(overtaken.plane)
    assert overtaken.store.challenges == {}
