"""The chain: bootstrap, issue, publish, served; what waits, what fails, and what a crash leaves behind."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from control import configuration, metrics, registry, sealing
from control.certificates import check, load_key
from control.claims import LEASE, Lost, release
from control.issuance import issue
from control.ports import (
    AccountUnknown,
    AddressAnswer,
    AuthorityError,
    CaaRecord,
    Order,
    PortError,
    Problem,
    RenewalInfo,
)
from control.provisioning import give_up, provision
from control.reconcile import reconcile
from control.registry import Wish
from control.renewal import has_moved
from control.sealing import Keyring, KeyringError
from tests.control.conftest import TEST, House, both_databases
from tests.control.pki import Ca

NAME = "mail.acme.test"


@both_databases
def test_an_order_made_after_the_lease_was_lost_is_not_stored(house: House) -> None:
    house.add()
    held = house.take()
    real = house.authority.new_order

    def late(*arguments: Any, **options: Any) -> Order:
        order = real(*arguments, **options)
        house.clock.forward(seconds=LEASE.total_seconds() + 1)
        house.take()
        return order

    house.authority.new_order = late  # type: ignore[method-assign]
    with pytest.raises(Lost):
        issue(house.plane, held, house.plane.runtime())
    left = house.host().order
    assert left is not None
    assert left.url is None


@both_databases
def test_a_new_hostname_ends_served_with_its_own_certificate(house: House) -> None:
    assert house.add().status == "pending"
    house.work()
    host = house.host()
    assert (host.status, host.step, host.error) == ("ready", "served", None)
    assert host.certificate is not None
    assert host.certificate.sans == [NAME]
    assert house.store.state(NAME) == "active"
    assert house.events() == ["created", "certificate_issued", "ready"]


def test_edges_answer_the_challenge_before_the_ca_is_told_to_look(house: House) -> None:
    house.add()
    house.work()
    assert house.authority.count("answer") == 1
    assert house.store.challenges == {}, "answered challenges are taken back"
    assert house.host().tokens == []


def test_the_leaf_key_is_sealed_before_the_ca_hears_of_it(house: House) -> None:
    house.add()
    house.authority.refuse("new_order", AuthorityError("ca_unavailable", "503"))
    house.work()
    order = house.host().order
    assert order is not None
    assert order.sealed_key.startswith("v1:k1:")
    assert order.url is None


def test_without_a_live_edge_it_waits_and_no_order_is_spent(house: House) -> None:
    house.store.live.clear()
    house.add()
    house.work(rounds=1)
    host = house.host()
    assert host.status == "pending"
    assert host.error is not None
    assert (host.error["reason"], host.error["actor"]) == ("edge_absent", "operator")
    assert house.authority.count("new_order") == 0
    house.store.live.add("edge-1")
    reconcile(house.plane)
    house.work()
    assert house.host().status == "ready"
    assert house.host().error is None


@both_databases
def test_the_same_failure_is_an_event_once_a_day_and_counted_each_time(house: House) -> None:
    house.add()
    house.resolver.default = None
    tries = 0
    for _ in range(72):
        tries += len(house.work())
        house.clock.forward(hours=1)
    assert tries == 72
    assert house.events() == ["created"] + 3 * ["failed"]
    assert f'control_issuances_total{{result="dns_nxdomain"}} {tries}' in metrics.text(house.plane)

    house.resolver.default = AddressAnswer((), ("198.51.100.1",), ())
    house.work()
    assert house.last_event().detail["reason"] == "dns_points_elsewhere", "another is told at once"
    registry.retry(house.plane, NAME, TEST)
    house.work()
    assert house.events()[-2:] == ["retried", "failed"], "whoever asks is told"


@pytest.mark.parametrize("away", ["edge", "redis"])
def test_the_longer_edges_or_redis_are_away_the_less_often_each_host_looks(
    house: House, away: str
) -> None:
    house.add()
    house.store.live, house.store.away = set(), away == "redis"
    looks = 0
    for _ in range(240):
        house.clock.forward(seconds=15)
        looks += len(house.work())
    assert looks < 30
    house.store.live, house.store.away = {"edge-1"}, False
    assert reconcile(house.plane).woken == 1
    house.work()
    assert house.host().status == "ready", "whoever waits is woken by their return"


def test_a_renewal_that_waits_for_an_edge_looks_again_the_sooner_the_nearer_its_end(
    house: House,
) -> None:
    house.add()
    house.work()
    end = house.host().certificate.not_after  # type: ignore[union-attr]
    house.store.live.clear()
    for left, pause in (
        (timedelta(days=20), timedelta(hours=1)),
        (timedelta(hours=2), timedelta(minutes=12)),
        (timedelta(minutes=1), timedelta(seconds=15)),
    ):
        house.clock.moment = end - left
        assert house.work(rounds=1) == [NAME]
        assert house.host().due_at == house.clock() + pause


def test_while_an_edge_lags_the_ca_is_not_asked_about_the_same_order_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control.publishing.wait_applied.__defaults__", (0.05,))
    monkeypatch.setattr("control.provisioning.LAG_SECONDS", 0.0)
    house.add()
    house.store.frozen["edge-1"] = 0
    house.work(rounds=1)
    asked = list(house.authority.asked)
    looks = 0
    for _ in range(120):
        house.clock.forward(seconds=15)
        reconcile(house.plane)
        looks += len(house.work())
    assert house.authority.asked == asked
    assert looks < 25
    house.store.frozen.clear()
    assert reconcile(house.plane).woken == 1
    house.work()
    assert house.host().status == "ready"


def test_it_is_not_ready_while_one_live_edge_lags(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control.publishing.wait_applied.__defaults__", (0.05,))
    house.store.live.add("edge-2")
    house.store.frozen["edge-2"] = 0
    house.add()
    house.work(rounds=1)
    host = house.host()
    assert host.status == "pending"
    assert host.error is not None
    assert host.error["reason"] == "edge_lagging"
    assert "edge-2" in str(host.error["detail"])
    assert house.authority.count("answer") == 0, "the CA may look at the edge that lags"
    del house.store.frozen["edge-2"]
    house.clock.forward(seconds=5)
    house.work()
    assert house.host().status == "ready"
    assert house.authority.count("new_order") == 1


def test_it_is_not_ready_while_an_edge_refuses_what_was_published(house: House) -> None:
    house.store.refused = (NAME,)
    house.add()
    house.work(rounds=1)
    host = house.host()
    assert host.error is not None
    assert (host.status, host.error["reason"]) == ("failed", "edge_refused")
    assert "edge-1" in str(host.error["detail"])
    house.store.refused = ()
    house.clock.forward(minutes=2)
    house.work()
    assert house.host().status == "ready"
    assert house.authority.count("new_order") == 1, "the certificate is there already"


def test_while_an_edge_refuses_more_than_it_names_nobody_is_said_to_be_ready(house: House) -> None:
    house.store.refused, house.store.unnamed = ("other.acme.test",), 1
    house.add()
    house.work(rounds=1)
    host = house.host()
    assert host.error is not None
    assert (host.status, host.error["reason"]) == ("pending", "edge_lagging")
    assert "refuses more hosts than it names" in str(host.error["detail"])
    house.store.unnamed = 0
    house.clock.forward(minutes=2)
    house.work()
    assert house.host().status == "ready"


def test_redis_away_is_waited_for(house: House) -> None:
    house.add()
    house.store.away = True
    house.work(rounds=1)
    host = house.host()
    assert host.status == "pending"
    assert host.error is not None
    assert host.error["reason"] == "redis_unavailable"
    house.store.away = False
    house.clock.forward(seconds=5)
    house.work()
    assert house.host().status == "ready"


def test_a_failure_says_who_must_act_and_is_tried_again_by_itself(house: House) -> None:
    house.add()
    house.authority.refuse("new_order", AuthorityError("ca_unavailable", "503 from the CA"))
    house.work(rounds=1)
    host = house.host()
    assert host.status == "failed"
    assert host.error is not None
    assert host.error["reason"] == "ca_unavailable"
    assert host.error["actor"] == "ca"
    assert host.error["detail"] == "503 from the CA"
    assert host.error["hint"]
    assert host.error["next_attempt_at"] > house.clock()
    house.work(rounds=1)
    assert house.host().status == "failed", "not before its time"
    house.clock.forward(minutes=1)
    house.work()
    assert house.host().status == "ready"


def test_the_event_of_a_refusal_keeps_all_that_the_ca_said(house: House) -> None:
    part = Problem("dns", "no such name", NAME)
    problem = Problem("compound", "some are wrong", subproblems=(part,), instance="https://ca/1")
    refusal = AuthorityError("ca_refused", "some are wrong", problem=problem)
    house.authority.refuse("new_order", refusal)
    house.add()
    house.work(rounds=1)
    said = house.last_event().detail["problem"]
    assert (said["type"], said["instance"]) == ("compound", "https://ca/1")
    assert said["subproblems"][0]["identifier"] == NAME


def test_the_event_of_a_preflight_that_fails_has_the_record_to_set(house: House) -> None:
    house.resolver.names[NAME] = AddressAnswer((), ("203.0.113.9",), ())
    house.add()
    house.work(rounds=1)
    assert house.last_event().detail["record"] == f"{NAME}. 300 IN A 192.0.2.1"


def test_retry_after_is_kept_to_the_second(house: House) -> None:
    until = house.clock() + timedelta(hours=2)
    house.add()
    refusal = AuthorityError("ca_rate_limited", "429", not_before=until)
    house.authority.refuse("new_order", refusal)
    house.work(rounds=1)
    assert house.host().next_attempt_at is not None
    house.clock.moment = until - timedelta(seconds=1)
    house.work()
    assert house.authority.count("new_order") == 1
    house.clock.moment = max(until, house.host().next_attempt_at or until)
    house.work()
    assert house.host().status == "ready"


def test_an_account_that_the_ca_has_lost_is_made_again(house: House) -> None:
    house.add()
    house.work()
    house.authority.forget_accounts()
    house.add("two.acme.test")
    house.work()
    assert house.host("two.acme.test").status == "ready"
    assert house.authority.count("register") == 2


def test_an_order_that_the_ca_has_lost_is_made_again(house: House) -> None:
    house.add()
    house.authority.refuse("finalize", AuthorityError("ca_timeout", "no answer"))
    house.work(rounds=1)
    house.authority.forget_orders()
    house.clock.forward(minutes=1)
    house.work()
    assert house.host().status == "ready"
    assert house.authority.count("new_order") == 2


@pytest.mark.parametrize("call", ["challenges", "answer", "wait_ready", "finalize", "download"])
def test_an_order_under_way_is_taken_up_and_not_made_twice(house: House, call: str) -> None:
    house.add()
    house.authority.refuse(call, AuthorityError("ca_timeout", "the worker died here"))
    house.work(rounds=1)
    spki = house.host().order.spki  # type: ignore[union-attr]
    house.clock.forward(minutes=1)
    house.work()
    host = house.host()
    assert host.status == "ready"
    assert host.certificate is not None
    assert host.certificate.spki == spki, "the stored key is the one that is used"
    assert house.authority.count("new_order") == 1


def test_what_the_ca_gave_is_committed_before_it_is_published(house: House) -> None:
    house.add()
    held = house.take()
    issue(house.plane, held, house.plane.runtime())
    assert house.host().certificate is not None
    assert house.store.state(NAME) == "pending", "only its challenge was published"
    release(house.plane.database, held)
    house.work()
    assert house.authority.count("new_order") == 1
    assert house.store.state(NAME) == "active"


def test_a_certificate_that_does_not_fit_is_not_kept(house: House) -> None:
    house.add()
    house.authority.issuer.life = timedelta(minutes=1)
    house.work(rounds=1)
    host = house.host()
    assert host.status == "failed"
    assert host.error is not None
    assert host.error["reason"] == "certificate_unusable"
    assert host.certificate is None


def test_an_order_under_way_publishes_nothing_after_a_delete(house: House) -> None:
    house.add()
    held = house.take()
    registry.delete(house.plane, NAME, TEST)
    with pytest.raises(Lost):
        issue(house.plane, held, house.plane.runtime())
    provision(house.plane, held)
    assert house.store.state(NAME) == "deleted"
    assert house.host().certificate is None
    assert house.host().order is None


def test_a_host_made_again_is_not_served_by_the_order_of_its_former_life(house: House) -> None:
    house.add()
    held = house.take()
    registry.delete(house.plane, NAME, TEST)
    house.add()
    provision(house.plane, held)
    assert house.host().certificate is None
    house.work()
    assert house.host().status == "ready"


def test_dns_that_points_elsewhere_fails_before_an_order_is_spent(house: House) -> None:
    house.resolver.names[NAME] = AddressAnswer((), ("203.0.113.9",), ())
    house.add()
    house.work(rounds=1)
    host = house.host()
    assert host.error is not None
    assert host.error["reason"] == "dns_points_elsewhere"
    assert host.error["actor"] == "tenant"
    assert "203.0.113.9" in str(host.error["detail"])
    assert host.error["record"] == f"{NAME}. 300 IN A 192.0.2.1"
    assert house.authority.count("new_order") == 0
    assert house.store.state(NAME) == "pending", "port 80 answers for it all the same"


def test_caa_of_another_ca_fails_before_an_order_is_spent(house: House) -> None:
    house.resolver.caa_records["acme.test"] = (CaaRecord(0, "issue", "other.example"),)
    house.add()
    house.work(rounds=1)
    assert (house.host().error or {})["reason"] == "caa_forbids"
    assert house.authority.count("new_order") == 0


def test_preflight_may_be_switched_off(house: House) -> None:
    house.resolver.names[NAME] = PortError("dns_nxdomain", "no such name")
    configuration.configure(house.plane, {"preflight_enabled": False}, TEST)
    house.add()
    house.work()
    assert house.host().status == "ready"


def test_a_name_that_moved_away_a_week_ago_is_looked_at_once_a_day(house: House) -> None:
    house.add()
    house.work()
    house.resolver.names[NAME] = AddressAnswer((), ("203.0.113.9",), ())
    certificate = house.host().certificate
    assert certificate is not None
    house.clock.moment = certificate.renew_at or house.clock()
    first = house.clock()
    while not has_moved(first, house.clock()):
        house.work(rounds=1)
        house.clock.forward(hours=26)
    house.work(rounds=1)
    before = len(house.events())
    house.clock.forward(hours=23)
    house.work(rounds=1)
    assert len(house.events()) == before, "one event a day at most"
    host = house.host()
    assert host.status == "ready", "served to the end of its certificate"
    assert house.authority.count("new_order") == 1
    assert "control_certificate_not_after_seconds" not in metrics.text(house.plane), (
        "nobody is woken for a tenant who has left"
    )


@pytest.mark.parametrize("code", ["dns_timeout", "dns_servfail"])
def test_a_name_that_moved_away_is_not_ordered_for_because_dns_fails_once(
    house: House, code: str
) -> None:
    house.resolver.names[NAME] = AddressAnswer((), ("203.0.113.9",), ())
    house.add()
    house.work(rounds=1)
    house.clock.forward(days=7)
    house.work(rounds=1)
    since = house.host().moved_since
    for answer in (PortError(code, "no answer"), AddressAnswer((), ("203.0.113.9",), ())):
        house.resolver.names[NAME] = answer
        house.clock.forward(days=1)
        assert house.work(rounds=1) == [NAME]
        host = house.host()
        assert (host.error or {})["reason"] == "dns_moved"
        assert host.moved_since == since
        assert host.next_attempt_at == house.clock() + timedelta(days=1)
    assert house.authority.count("new_order") == 0
    del house.resolver.names[NAME]
    house.clock.forward(days=1)
    house.work()
    assert house.host().status == "ready", "it points here again"
    assert house.host().moved_since is None


def test_a_name_whose_dns_fails_once_on_its_way_out_has_moved_all_the_same(house: House) -> None:
    house.resolver.names[NAME] = AddressAnswer((), ("203.0.113.9",), ())
    house.add()
    house.work(rounds=1)
    since = house.host().moved_since
    house.clock.forward(days=3)
    house.resolver.names[NAME] = PortError("dns_servfail", "no answer")
    house.work(rounds=1)
    assert house.host().moved_since == since


def test_issuance_off_and_edge_on_waits_for_an_uploaded_certificate(house: House) -> None:
    configuration.configure(house.plane, {"acme_enabled": False}, TEST)
    house.add()
    house.work()
    host = house.host()
    assert host.status == "pending"
    assert (host.error or {})["reason"] == "certificate_absent"
    configuration.configure(house.plane, {"acme_enabled": True}, TEST)
    house.work()
    assert house.host().status == "ready"


def test_issuance_on_and_edge_off_is_ready_once_issued(house: House) -> None:
    configuration.configure(house.plane, {"edge_enabled": False}, TEST)
    house.store.live.clear()
    house.add()
    house.work()
    host = house.host()
    assert host.status == "ready"
    assert host.certificate is not None


def test_both_off_is_ready_at_once(house: House) -> None:
    configuration.configure(house.plane, {"edge_enabled": False, "acme_enabled": False}, TEST)
    house.store.live.clear()
    assert house.add().status == "ready"


class TestRenewal:
    """A certificate that is due is replaced on the same road, and `ready` stays."""

    @pytest.fixture
    def house(self, house: House) -> House:
        house.add()
        house.work()
        return house

    def due(self, house: House) -> None:
        certificate = house.host().certificate
        assert certificate is not None
        assert certificate.renew_at is not None
        house.clock.moment = certificate.renew_at

    def test_it_is_renewed_when_a_third_of_its_life_is_left(self, house: House) -> None:
        before = house.host().certificate
        house.clock.forward(days=20)
        house.work()
        assert house.authority.count("new_order") == 1
        self.due(house)
        house.work()
        after = house.host().certificate
        assert before is not None
        assert after is not None
        assert after.sha256 != before.sha256
        assert after.spki != before.spki, "a new key each time"
        assert house.events()[-1] == "certificate_renewed"
        assert house.store.hosts[NAME][1].certificate.sha256 == after.sha256  # type: ignore[union-attr]

    def test_a_disabled_host_is_renewed_too(self, house: House) -> None:
        registry.change(house.plane, NAME, Wish(enabled=False), TEST)
        self.due(house)
        house.work()
        assert house.authority.count("new_order") == 2
        assert house.store.state(NAME) == "disabled"

    def test_one_that_fails_leaves_ready_alone_and_is_tried_again(self, house: House) -> None:
        self.due(house)
        house.authority.refuse("new_order", AuthorityError("ca_unavailable", "503"))
        house.work(rounds=1)
        host = house.host()
        assert host.status == "ready"
        assert (host.error or {})["reason"] == "ca_unavailable", "an operator sees why"
        assert house.events()[-1] == "renewal_failed"
        house.clock.forward(minutes=1)
        house.work()
        assert house.events()[-1] == "certificate_renewed"
        assert house.host().error is None

    def test_the_old_certificate_is_served_until_the_new_one_is_published(
        self, house: House
    ) -> None:
        before = house.host().certificate
        self.due(house)
        house.authority.refuse("download", AuthorityError("ca_timeout", "no answer"))
        house.work(rounds=1)
        assert before is not None
        assert house.store.hosts[NAME][1].certificate.sha256 == before.sha256  # type: ignore[union-attr]

    def test_a_window_that_the_ca_moves_to_now_is_followed(self, house: House) -> None:
        now = house.clock() + timedelta(hours=3)
        window = RenewalInfo(
            now - timedelta(hours=1),
            now - timedelta(minutes=30),
            now + timedelta(hours=6),
            "https://ca/why",
        )
        house.authority.windows[NAME] = window
        house.clock.moment = now
        house.work()
        assert house.authority.count("new_order") == 2
        assert "renewal_moved" in house.events()

    def test_an_operators_threshold_counts(self, house: House) -> None:
        configuration.configure(house.plane, {"renewal_threshold_days": 40}, TEST)
        house.work()
        house.clock.forward(days=51)
        house.work()
        assert house.authority.count("new_order") == 2

    def test_renew_on_request_issues_again_now(self, house: House) -> None:
        registry.renew(house.plane, NAME, TEST)
        house.work()
        assert house.authority.count("new_order") == 2
        assert house.host().renew_requested is False

    def test_no_key_of_a_former_certificate_is_kept(self, house: House) -> None:
        registry.renew(house.plane, NAME, TEST)
        house.work()
        from control.models import Certificate, Order

        with house.plane.database.reading() as session:
            assert session.query(Certificate).count() == 1
            assert session.query(Order).count() == 0

    def test_an_account_lost_by_the_ca_does_not_stop_a_renewal(self, house: House) -> None:
        house.authority.forget_accounts()
        self.due(house)
        house.work()
        assert house.authority.count("register") == 2
        assert house.events()[-1] == "certificate_renewed"


def test_the_chain_of_the_issuer_that_the_operator_prefers_is_served(house: House) -> None:
    configuration.configure(house.plane, {"acme_preferred_issuer": "Fake Root X2"}, TEST)
    house.add()
    house.work()
    certificate = house.host().certificate
    assert certificate
    top = x509.load_pem_x509_certificates(certificate.chain.encode())[-1]
    assert top.issuer.rfc4514_string() == "CN=Fake Root X2"


def test_a_keyring_that_cannot_be_read_is_said_and_not_taken_for_a_fault_of_ours(
    house: House, tmp_path: Path
) -> None:
    plane = replace(house.plane, keyring=Keyring(write_keyring(tmp_path)))
    house.add()
    held = house.take()
    (tmp_path / "keyring").unlink()
    with pytest.raises(KeyringError) as caught:
        provision(plane, held)
    give_up(plane, held, caught.value)
    error = house.host().error or {}
    assert error["reason"] == "key_unopenable"
    assert "no keyring at" in error["detail"]


def write_keyring(directory: Path) -> Path:
    """A keyring of this test's own."""
    sealing.write(directory / "keyring", {"k1": b"1" * 32})
    return directory / "keyring"


def test_account_unknown_three_times_in_a_row_is_a_failure(house: House) -> None:
    house.add()
    house.authority.refuse("new_order", AccountUnknown("account_unknown", "gone"), times=5)
    house.work(rounds=1)
    assert (house.host().error or {})["reason"] == "account_unknown"


def test_an_uploaded_certificate_that_nears_its_end_is_warned_of(house: House) -> None:
    house.add()
    pair = Ca().pair(NAME, days=61.5)  # half a day off, so that no look falls on a boundary
    facts = check(pair.chain, load_key(pair.private_key), NAME, house.clock())
    registry.upload(house.plane, NAME, facts, TEST)
    house.work()
    assert "certificate_expiring" not in house.events()
    for _ in range(60):
        house.clock.forward(days=1)
        house.work()
    assert house.events().count("certificate_expiring") == 5
    assert house.authority.count("new_order") == 0
