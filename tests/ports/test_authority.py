"""What every CertificateAuthority does: on the fake, on our fake CA server and on a real Pebble."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography import x509

from control.ports import AccountUnknown, AuthorityError, OrderGone
from tests.fakes.csr import csr_der, key_der, new_account
from tests.ports.conftest import Ca


def sans(chain: str) -> list[str]:
    """The DNS names of a chain's leaf."""
    leaf = x509.load_pem_x509_certificates(chain.encode())[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.DNSName)


def test_an_account_an_order_a_challenge_and_a_certificate(ca: Ca) -> None:
    account = ca.authority.register(new_account(ca.authority.directory_url), "ops@provider.example")
    order = ca.authority.new_order(account, "mail.acme.example")
    assert (order.status, order.hostnames) == ("pending", ("mail.acme.example",))

    for challenge in ca.authority.challenges(account, order):
        ca.port80.publish(challenge)
        ca.authority.answer(account, challenge)
    order = ca.authority.wait_ready(account, order)
    order = ca.authority.finalize(account, order, csr_der("mail.acme.example"))
    chain = ca.authority.download(account, order)

    assert order.status == "valid"
    assert sans(chain) == ["mail.acme.example"]
    assert chain.count("BEGIN CERTIFICATE") >= 2


def test_the_same_key_finds_its_account_again(ca: Ca) -> None:
    account = new_account(ca.authority.directory_url)
    first = ca.authority.register(account, None)
    assert first.uri
    assert ca.authority.register(account, None) == first


def test_an_account_is_looked_for_without_making_one(ca: Ca) -> None:
    account = new_account(ca.authority.directory_url)
    assert ca.authority.find_account(account) is None
    assert ca.authority.find_account(account) is None
    registered = ca.authority.register(account, None)
    assert ca.authority.find_account(account) == registered.uri


def test_an_order_is_resumed_by_its_url_alone(ca: Ca) -> None:
    account = ca.registered()
    order = ca.authority.new_order(account, "resume.acme.example")
    assert ca.authority.fetch_order(account, order.url) == order


def test_answering_twice_is_harmless(ca: Ca) -> None:
    account = ca.registered()
    order = ca.authority.new_order(account, "twice.acme.example")
    for challenge in ca.authority.challenges(account, order):
        ca.port80.publish(challenge)
        ca.authority.answer(account, challenge)
        ca.authority.answer(account, challenge)
    assert ca.authority.wait_ready(account, order).status in ("ready", "valid")


def test_finalizing_twice_waits_for_the_first(ca: Ca) -> None:
    account = ca.registered()
    order = ca.ready_order(account, "final.acme.example")
    first = ca.authority.finalize(account, order, csr_der("final.acme.example"))
    second = ca.authority.finalize(account, order, csr_der("final.acme.example"))
    assert ca.authority.download(account, second) == ca.authority.download(account, first)


def test_an_account_that_the_ca_has_lost_is_unknown(ca: Ca) -> None:
    account = ca.registered()
    lost = replace(account, uri=account.uri + "999")
    with pytest.raises(AccountUnknown) as caught:
        ca.authority.new_order(lost, "mail.acme.example")
    assert caught.value.reason == "account_unknown"


def test_an_order_that_the_ca_has_lost_is_gone(ca: Ca) -> None:
    account = ca.registered()
    order = ca.authority.new_order(account, "gone.acme.example")
    with pytest.raises(OrderGone):
        ca.authority.fetch_order(account, order.url + "999")


def test_a_wrong_answer_on_port_80_is_told_in_the_ca_s_words(ca: Ca) -> None:
    account = ca.registered()
    order = ca.authority.new_order(account, "wrong.acme.example")
    for challenge in ca.authority.challenges(account, order):
        ca.authority.answer(account, challenge)
    with pytest.raises(AuthorityError) as caught:
        ca.authority.wait_ready(account, order)
    assert caught.value.reason == "port80_wrong_answer"
    assert caught.value.problem
    assert caught.value.problem.type == "unauthorized"
    assert "404" in caught.value.detail
    with pytest.raises(OrderGone):
        ca.authority.fetch_order(account, order.url)


def test_a_name_that_the_ca_will_not_have_is_refused(ca: Ca) -> None:
    account = ca.registered()
    with pytest.raises(AuthorityError) as caught:
        ca.authority.new_order(account, "blocked.example")
    assert caught.value.reason == "ca_rejected_identifier"


def test_no_verdict_in_time_leaves_the_order_to_be_looked_at_again(ca: Ca) -> None:
    account = ca.registered()
    order = ca.authority.new_order(account, "slow.acme.example")
    with pytest.raises(AuthorityError) as caught:
        ca.authority.wait_ready(account, order, seconds=0.2)
    assert caught.value.reason == "validation_slow"
    assert ca.authority.fetch_order(account, order.url).status == "pending"


def test_the_account_s_key_can_be_rolled_over_and_again_after_a_lost_answer(ca: Ca) -> None:
    account = ca.registered()
    new_key = key_der()
    rolled = ca.authority.roll_over(account, new_key)
    assert (rolled.uri, rolled.key) == (account.uri, new_key)
    assert ca.authority.new_order(rolled, "rolled.acme.example").status in ("pending", "ready")
    assert ca.authority.roll_over(account, new_key) == rolled
    with pytest.raises(AuthorityError):
        ca.authority.new_order(account, "old.acme.example")


def test_a_certificate_is_revoked_and_revoking_it_again_is_no_error(ca: Ca) -> None:
    account = ca.registered()
    chain = ca.certificate(account, "revoked.acme.example")
    ca.authority.revoke(account, chain, reason=4)
    ca.authority.revoke(account, chain, reason=4)


def test_a_profile_that_the_ca_does_not_list_is_left_out(ca: Ca) -> None:
    account = ca.registered()
    order = ca.authority.new_order(account, "profile.acme.example", profile="no-such-profile")
    assert order.status in ("pending", "ready")
