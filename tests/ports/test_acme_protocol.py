"""What Pebble cannot show: limits, Retry-After, ARI, profiles, other refusals; on our own CA server."""

from __future__ import annotations

import socketserver
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import pytest
from cryptography import x509

from control import reasons
from control.adapters.acme_authority import AcmeAuthority
from control.adapters.acme_authority.retry_after import backoff
from control.ports import (
    AccountUnknown,
    AlreadyReplaced,
    AuthorityError,
    ExternalAccountBinding,
)
from deploy.process import free_port
from tests.conftest import Pebble
from tests.fakes.ca_server import Bucket, CaServer, Refused, Reply, certificate_id
from tests.fakes.clock import Clock
from tests.fakes.csr import csr_der, key_der, new_account
from tests.fakes.listener import listener
from tests.fakes.port80 import Port80
from tests.ports.conftest import Ca

HOST = "mail.acme.example"
SECOND = timedelta(seconds=1)


@pytest.fixture
def port80() -> Iterator[Port80]:
    """Where the CA looks."""
    web = Port80()
    yield web
    web.close()


@pytest.fixture
def server(port80: Port80) -> Iterator[CaServer]:
    """A CA of this test's own."""
    server = CaServer(port80.port)
    yield server
    server.close()


@pytest.fixture
def clock() -> Clock:
    """Time that passes when it is slept."""
    return Clock()


@pytest.fixture
def ca(server: CaServer, port80: Port80, clock: Clock) -> Ca:
    """The adapter on that CA and that clock."""
    return Ca(AcmeAuthority(server.directory_url, now=clock.now, sleep=clock.sleep), port80)


def order_fails(ca: Ca) -> AuthorityError:
    """What a new order raises."""
    account = ca.registered()
    with pytest.raises(AuthorityError) as caught:
        ca.authority.new_order(account, HOST)
    return caught.value


# Nonces, lost answers, quiet


def test_ten_refused_nonces_are_no_failure_and_an_eleventh_is(ca: Ca, server: CaServer) -> None:
    account = ca.registered()
    server.say("newOrder", Refused(400, "badNonce", "stale"), 10)
    assert ca.authority.new_order(account, HOST).status == "pending"
    server.say("newOrder", Refused(400, "badNonce", "stale"), 11)
    with pytest.raises(AuthorityError) as caught:
        ca.authority.new_order(account, HOST)
    assert caught.value.reason == "ca_bad_nonce"


def test_the_nonce_of_a_refusal_is_used_so_that_no_other_is_fetched(
    ca: Ca, server: CaServer
) -> None:
    account = ca.registered()
    server.say("newOrder", Refused(400, "badNonce", "stale"), 5)
    before = server.count("newNonce")
    ca.authority.new_order(account, HOST)
    assert server.count("newNonce") == before


@pytest.mark.parametrize(
    "answer",
    [
        Reply(500, b"oops", content_type="text/plain"),
        Reply(502, b"<html>Bad Gateway</html>", content_type="text/html"),
        Reply(200, b"<html>maintenance</html>", content_type="text/html"),
        Reply(503, {"type": "about:blank"}),
        Refused(500, "serverInternal", "try again"),
    ],
)
def test_what_passes_by_itself_is_tried_again(ca: Ca, server: CaServer, answer: Reply) -> None:
    account = ca.registered()
    server.say("newOrder", answer, 3)
    assert ca.authority.new_order(account, HOST).status == "pending"


def test_tries_are_further_and_further_apart(ca: Ca, server: CaServer, clock: Clock) -> None:
    server.say("newOrder", Reply(500, b""), 99)
    account = ca.registered()
    clock.slept.clear()
    with pytest.raises(AuthorityError) as caught:
        ca.authority.new_order(account, HOST)
    assert caught.value.reason == "ca_unavailable"
    assert clock.slept[0] == 0.0
    assert all(later > earlier for earlier, later in pairwise(clock.slept))
    assert server.count("newOrder") == len(clock.slept) + 1


def test_an_answer_with_the_wrong_content_type_is_read_all_the_same(
    ca: Ca, server: CaServer
) -> None:
    account = ca.registered()
    order = ca.authority.new_order(account, HOST)
    shown = server._show(server.last_order())
    server.say("order", Reply(200, shown, content_type="text/html"))
    assert ca.authority.fetch_order(account, order.url).status == "pending"


def test_a_short_503_is_waited_out_to_the_second(ca: Ca, server: CaServer, clock: Clock) -> None:
    account = ca.registered()
    server.say("newOrder", Refused(503, "serverInternal", "busy", {"Retry-After": "3"}))
    clock.slept.clear()
    ca.authority.new_order(account, HOST)
    assert 2.9 < sum(clock.slept) <= 3


def test_a_long_503_is_handed_back_and_nothing_is_sent_before_its_end(
    ca: Ca, server: CaServer, clock: Clock
) -> None:
    account = ca.registered()
    server.say("newOrder", Refused(503, "serverInternal", "busy", {"Retry-After": "120"}))
    for _ in range(3):
        with pytest.raises(AuthorityError) as caught:
            ca.authority.new_order(account, HOST)
    assert caught.value.reason == "ca_unavailable"
    assert caught.value.not_before
    assert caught.value.not_before - clock.now() > 119 * SECOND
    assert server.count("newOrder") == 1
    clock.sleep(121)
    assert ca.authority.new_order(account, HOST).status == "pending"


@pytest.mark.parametrize("as_date", [False, True])
def test_a_429_is_handed_back_with_its_end_and_not_tried_again(
    ca: Ca, server: CaServer, clock: Clock, as_date: bool
) -> None:
    end = (clock.now() + 3600 * SECOND).replace(microsecond=0)
    header = format_datetime(end, usegmt=True) if as_date else "3600"
    server.say("newOrder", Refused(429, "rateLimited", "too many", {"Retry-After": header}))
    failure = order_fails(ca)
    assert failure.reason == "ca_rate_limited"
    assert failure.not_before
    assert abs(failure.not_before - end) < 2 * SECOND
    assert server.count("newOrder") == 1


def test_a_real_bucket_is_obeyed_to_the_second(ca: Ca, server: CaServer) -> None:
    account = ca.registered()
    server.buckets["newOrder"] = Bucket(3, 3600)
    for number in range(3):
        ca.authority.new_order(account, f"m{number}.acme.example")
    with pytest.raises(AuthorityError) as caught:
        ca.authority.new_order(account, HOST)
    assert caught.value.not_before
    assert caught.value.not_before - datetime.now(UTC) > 1198 * SECOND


# Polling


def test_polling_obeys_retry_after(ca: Ca, server: CaServer, clock: Clock) -> None:
    account = ca.registered()
    order = ca.ready_order(account, HOST)
    server.processing_looks, server.poll_retry_after = 2, "7"
    looks = server.count("order")
    clock.slept.clear()
    ca.authority.finalize(account, order, csr_der(HOST))
    assert server.count("order") == looks + 3
    assert [round(pause) for pause in clock.slept] == [7, 7, 7]


def test_polling_bears_a_retry_after_of_nothing(ca: Ca, server: CaServer) -> None:
    account = ca.registered()
    order = ca.ready_order(account, HOST)
    server.processing_looks, server.poll_retry_after = 3, "0"
    assert ca.authority.finalize(account, order, csr_der(HOST)).status == "valid"


def test_polling_ends_when_the_ca_asks_for_more_time_than_there_is(
    ca: Ca, server: CaServer, clock: Clock
) -> None:
    account = ca.registered()
    order = ca.authority.new_order(account, HOST)
    server.poll_retry_after = "600"
    with pytest.raises(AuthorityError) as caught:
        ca.authority.wait_ready(account, order, seconds=90)
    assert caught.value.reason == "validation_slow"
    assert server.count("order") == 1
    assert caught.value.not_before
    assert abs(caught.value.not_before - clock.now() - 600 * SECOND) < 2 * SECOND


def test_an_order_that_never_ends_is_issuance_slow_and_can_be_resumed(
    ca: Ca, server: CaServer
) -> None:
    account = ca.registered()
    order = ca.ready_order(account, HOST)
    server.processing_looks = 10_000
    with pytest.raises(AuthorityError) as caught:
        ca.authority.finalize(account, order, csr_der(HOST), seconds=90)
    assert caught.value.reason == "issuance_slow"
    server.processing_looks = 0
    done = ca.authority.finalize(account, order, csr_der(HOST))
    assert "BEGIN CERTIFICATE" in ca.authority.download(account, done)


# Where requests may go


def test_an_endpoint_elsewhere_is_not_asked(ca: Ca, server: CaServer, port80: Port80) -> None:
    server.directory_extra["newOrder"] = f"http://127.0.0.1:{port80.port}/newOrder"
    assert order_fails(ca).reason == "ca_foreign_endpoint"
    assert port80.asked == []


def test_an_order_elsewhere_is_not_followed(ca: Ca, server: CaServer) -> None:
    account = ca.registered()
    reply = Reply(201, {"status": "pending"}, {"Location": "https://elsewhere.example/order/1"})
    server.say("newOrder", reply)
    with pytest.raises(AuthorityError) as caught:
        ca.authority.new_order(account, HOST)
    assert caught.value.reason == "ca_foreign_endpoint"


@pytest.mark.parametrize("url", ["http://ca.example/directory", "ftp://127.0.0.1/d", "directory"])
def test_a_directory_must_be_https_or_loopback(url: str) -> None:
    with pytest.raises(AuthorityError) as caught:
        AcmeAuthority(url).meta()
    assert caught.value.reason == "ca_foreign_endpoint"


def test_a_redirect_is_not_followed(ca: Ca, server: CaServer) -> None:
    server.say("newOrder", Reply(307, None, {"Location": f"{server.base}/newAccount"}))
    before = server.count("newAccount")
    assert order_fails(ca).reason == "ca_refused"
    assert server.count("newAccount") == before + 1


def test_a_ca_whose_certificate_is_not_trusted(pebble: Pebble) -> None:
    with pytest.raises(AuthorityError) as caught:
        AcmeAuthority(pebble.directory_url, sleep=lambda _: None).meta()
    assert (caught.value.reason, reasons.actor(caught.value.reason)) == ("ca_untrusted", "operator")


def test_a_ca_that_is_not_there() -> None:
    with pytest.raises(AuthorityError) as caught:
        AcmeAuthority(f"http://127.0.0.1:{free_port()}/directory", sleep=lambda _: None).meta()
    assert caught.value.reason == "ca_unreachable"


def away(directory_url: str) -> AcmeAuthority:
    """A client of little patience."""
    return AcmeAuthority(directory_url, timeout=0.2, sleep=lambda _: None)


def test_an_answer_that_drips_is_given_up() -> None:
    def talk(client: socketserver.StreamRequestHandler) -> None:
        client.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(100):
            client.wfile.write(b"x")
            time.sleep(0.01)

    with listener(talk) as port, pytest.raises(AuthorityError) as caught:
        away(f"http://127.0.0.1:{port}/directory").meta()
    assert caught.value.reason == "ca_timeout"


def test_a_directory_that_was_read_serves_while_the_ca_is_away(
    ca: Ca, server: CaServer, clock: Clock
) -> None:
    assert ca.authority.meta().renewal_info
    clock.sleep(7200)
    server.say("directory", Reply(500, b""), 99)
    assert ca.authority.meta().renewal_info


def test_a_directory_is_not_asked_for_before_the_ca_wants_that(
    ca: Ca, server: CaServer, clock: Clock
) -> None:
    assert ca.authority.meta().renewal_info
    clock.sleep(7200)
    server.say("directory", Refused(429, "rateLimited", "slow down", {"Retry-After": "600"}))
    for _ in range(5):
        assert ca.authority.meta().renewal_info
        clock.sleep(119)
    assert server.count("directory") == 2
    clock.sleep(6)
    assert ca.authority.meta().renewal_info
    assert server.count("directory") == 3


def test_many_threads_that_find_no_ca_ask_once_for_all(ca: Ca, server: CaServer) -> None:
    server.say("directory", Reply(500, b""), 999)

    def ask(_: int) -> str:
        with pytest.raises(AuthorityError) as caught:
            ca.authority.meta()
        return caught.value.reason

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {"ca_unavailable"}
    alone = len(list(backoff())) + 1
    assert server.count("directory") <= 2 * alone


# Refusals, each with its reason


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (400, "accountDoesNotExist", "account_unknown"),
        (400, "badCSR", "ca_rejected_csr"),
        (400, "badPublicKey", "ca_rejected_key"),
        (400, "badSignatureAlgorithm", "ca_rejected_key"),
        (403, "caa", "caa_forbids"),
        (403, "externalAccountRequired", "eab_required"),
        (400, "invalidContact", "ca_rejected_contact"),
        (400, "invalidProfile", "ca_profile_unknown"),
        (400, "malformed", "ca_malformed"),
        (400, "rejectedIdentifier", "ca_rejected_identifier"),
        (400, "unsupportedIdentifier", "ca_rejected_identifier"),
        (403, "unauthorized", "ca_unauthorized"),
        (403, "userActionRequired", "ca_terms_changed"),
        (403, "somethingNew", "ca_refused"),
        (403, "rateLimited", "ca_rate_limited"),
    ],
)
def test_refusals(ca: Ca, server: CaServer, status: int, kind: str, reason: str) -> None:
    server.say("newOrder", Refused(status, kind, "in the CA's own words"))
    failure = order_fails(ca)
    assert (failure.reason, failure.detail) == (reason, "in the CA's own words")
    assert failure.problem
    assert failure.problem.type == kind
    assert reasons.hint(reason)


def test_an_endpoint_that_has_moved_is_looked_up_again(ca: Ca, server: CaServer) -> None:
    account = ca.registered()
    server.say("newOrder", Reply(404, b"gone"))
    with pytest.raises(AuthorityError) as caught:
        ca.authority.new_order(account, HOST)
    assert caught.value.reason == "ca_not_found"
    read = server.count("directory")
    assert ca.authority.new_order(account, HOST).status == "pending"
    assert server.count("directory") == read + 1


def test_a_paused_name_is_told_from_a_rate_limit(ca: Ca, server: CaServer) -> None:
    words = "paused; unpause at https://sfe.example/sfe/v1/unpause?jwt=x"
    server.say("newOrder", Refused(429, "rateLimited", words))
    failure = order_fails(ca)
    assert (failure.reason, reasons.actor(failure.reason)) == ("ca_paused", "operator")


def test_subproblems_are_kept_and_the_first_counts(ca: Ca, server: CaServer) -> None:
    part = {
        "type": "urn:ietf:params:acme:error:rejectedIdentifier",
        "detail": "on a list",
        "identifier": {"type": "dns", "value": HOST},
    }
    server.say("newOrder", Refused(403, "compound", "some are wrong", subproblems=[part]))
    failure = order_fails(ca)
    assert failure.reason == "ca_rejected_identifier"
    assert failure.detail == "some are wrong; mail.acme.example: on a list"
    assert failure.problem
    assert failure.problem.subproblems[0].identifier == HOST


@pytest.mark.parametrize("document", [b"", b"[]", b"null", b'{"type": 5}', b'"text"', b"{"])
def test_a_refusal_that_is_no_problem_document(ca: Ca, server: CaServer, document: bytes) -> None:
    server.say("newOrder", Reply(418, document))
    failure = order_fails(ca)
    assert failure.reason == "ca_refused"
    assert failure.detail.endswith("answered 418")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("caa", "caa_forbids"),
        ("connection", "port80_unreachable"),
        ("dns", "ca_dns_failed"),
        ("incorrectResponse", "port80_wrong_answer"),
        ("tls", "ca_tls_failed"),
        ("unauthorized", "port80_wrong_answer"),
        ("somethingNew", "validation_failed"),
    ],
)
def test_failed_validations(ca: Ca, server: CaServer, kind: str, reason: str) -> None:
    account = ca.registered()
    order = ca.authority.new_order(account, HOST)
    held = server.last_order()
    held.status = held.challenge = "invalid"
    held.error = {"type": f"urn:ietf:params:acme:error:{kind}", "detail": "what it saw"}
    for ask in (ca.authority.wait_ready, ca.authority.challenges):
        with pytest.raises(AuthorityError) as caught:
            ask(account, order)
        assert (caught.value.reason, caught.value.detail) == (reason, "what it saw")


def test_an_order_that_fails_after_validation_says_why(ca: Ca, server: CaServer) -> None:
    account = ca.registered()
    order = ca.ready_order(account, HOST)
    held = server.last_order()
    held.status = "invalid"
    held.error = {"type": "urn:ietf:params:acme:error:caa", "detail": "CAA forbids it"}
    with pytest.raises(AuthorityError) as caught:
        ca.authority.finalize(account, order, csr_der(HOST))
    assert (caught.value.reason, caught.value.detail) == ("caa_forbids", "CAA forbids it")


def test_a_ca_without_http_01(ca: Ca, server: CaServer) -> None:
    server.offer = "dns-01"
    account = ca.registered()
    order = ca.authority.new_order(account, HOST)
    with pytest.raises(AuthorityError) as caught:
        ca.authority.challenges(account, order)
    assert caught.value.reason == "challenge_not_offered"


def test_a_token_that_is_none_goes_nowhere(ca: Ca, server: CaServer) -> None:
    account = ca.registered()
    order = ca.authority.new_order(account, HOST)
    server.last_order().token = "../../../foo"
    with pytest.raises(AuthorityError) as caught:
        ca.authority.challenges(account, order)
    assert caught.value.reason == "ca_unreadable"


def test_what_is_no_certificate_is_not_taken_for_one(ca: Ca, server: CaServer) -> None:
    account = ca.registered()
    order = ca.authority.finalize(account, ca.ready_order(account, HOST), csr_der(HOST))
    server.say("cert", Reply(200, b"<html>", content_type="application/pem-certificate-chain"), 99)
    with pytest.raises(AuthorityError) as caught:
        ca.authority.download(account, order)
    assert caught.value.reason == "ca_unreadable"


# Accounts


def test_an_external_account_is_bound(port80: Port80) -> None:
    server = CaServer(port80.port, external_accounts={"kid-1": "c2VjcmV0LXNlY3JldC1zZWNyZXQ"})
    authority = AcmeAuthority(server.directory_url)
    account = new_account(server.directory_url)
    good = ExternalAccountBinding("kid-1", "c2VjcmV0LXNlY3JldC1zZWNyZXQ")
    try:
        assert authority.meta().external_account_required
        with pytest.raises(AuthorityError) as caught:
            authority.register(account, None)
        assert caught.value.reason == "eab_required"
        assert server.count("newAccount") == 0
        for bad in (
            ExternalAccountBinding("kid-2", good.hmac_key),
            ExternalAccountBinding("kid-1", "d3Jvbmc"),
            ExternalAccountBinding("kid-1", "not base64url!"),
        ):
            with pytest.raises(AuthorityError) as caught:
                authority.register(account, None, bad)
            assert caught.value.reason == "eab_refused"
        assert authority.register(account, None, good).uri
    finally:
        server.close()


def test_a_contact_that_the_ca_does_not_accept(ca: Ca, server: CaServer) -> None:
    with pytest.raises(AuthorityError) as caught:
        ca.authority.register(new_account(server.directory_url), "nobody")
    assert caught.value.reason == "ca_rejected_contact"


def test_a_key_rollover_whose_answer_is_lost_has_happened(ca: Ca, server: CaServer) -> None:
    account, key = ca.registered(), key_der()
    rolled = ca.authority.roll_over(account, key)
    server.say("keyChange", Reply(500, b""), 99)
    assert ca.authority.roll_over(account, key) == rolled


def test_a_key_rollover_that_did_not_happen_is_an_error(ca: Ca, server: CaServer) -> None:
    server.say("keyChange", Reply(500, b""), 99)
    with pytest.raises(AuthorityError) as caught:
        ca.authority.roll_over(ca.registered(), key_der())
    assert caught.value.reason == "ca_unavailable"


# Profiles, chains, revocation


def test_a_profile_is_asked_for_where_the_ca_lists_it(ca: Ca, server: CaServer) -> None:
    account = ca.registered()
    assert ca.authority.meta().profiles == ("classic", "shortlived")
    ca.authority.new_order(account, HOST, profile="shortlived")
    assert server.last_order().profile == "shortlived"
    ca.authority.new_order(account, HOST, profile="unheard-of")
    assert server.last_order().profile is None


def test_the_chain_of_the_preferred_root_is_taken(ca: Ca, server: CaServer) -> None:
    account = ca.registered()
    order = ca.authority.finalize(account, ca.ready_order(account, HOST), csr_der(HOST))

    def top(preferred: str | None) -> str:
        chain = ca.authority.download(account, order, preferred)
        return x509.load_pem_x509_certificates(chain.encode())[-1].issuer.rfc4514_string()

    assert top(None) == "CN=Fake Root X1"
    assert top("Fake Root X2") == "CN=Fake Root X2"
    assert top("No Such Root") == "CN=Fake Root X1"


def test_a_revocation_carries_its_reason_and_a_wrong_one_is_refused(
    ca: Ca, server: CaServer
) -> None:
    account = ca.registered()
    chain = ca.certificate(account, HOST)
    with pytest.raises(AuthorityError) as caught:
        ca.authority.revoke(account, chain, reason=7)
    assert caught.value.reason == "revocation_refused"
    ca.authority.revoke(account, chain, reason=4)
    assert list(server.revoked.values()) == [4]


# Renewal information


def test_the_window_and_its_explanation(ca: Ca, server: CaServer, clock: Clock) -> None:
    chain = ca.certificate(ca.registered(), HOST)
    start = datetime(2026, 12, 1, tzinfo=UTC)
    server.windows[certificate_id(chain)] = (start, start + timedelta(days=2))
    server.explanation = "https://ca.example/incident"
    info = ca.authority.renewal_info(chain)
    assert info
    assert (info.start, info.end) == (start, start + timedelta(days=2))
    assert info.explanation_url == "https://ca.example/incident"
    assert abs(info.next_poll - clock.now() - timedelta(hours=6)) < 2 * SECOND


def test_an_explanation_that_is_no_link_is_left_out(ca: Ca, server: CaServer) -> None:
    chain = ca.certificate(ca.registered(), HOST)
    server.explanation = "javascript:alert(1)"
    info = ca.authority.renewal_info(chain)
    assert info
    assert info.explanation_url is None


@pytest.mark.parametrize(
    ("asked", "seconds"), [("1", 60), ("600", 600), ("9999999", 86400), (None, 21600), ("x", 21600)]
)
def test_the_next_poll_is_between_a_minute_and_a_day(
    ca: Ca, server: CaServer, clock: Clock, asked: str | None, seconds: int
) -> None:
    chain = ca.certificate(ca.registered(), HOST)
    server.renewal_retry_after = asked
    info = ca.authority.renewal_info(chain)
    assert info
    assert abs(info.next_poll - clock.now() - seconds * SECOND) < 2 * SECOND


def test_a_window_that_ends_before_it_starts_is_no_answer(ca: Ca, server: CaServer) -> None:
    chain = ca.certificate(ca.registered(), HOST)
    start = datetime(2026, 12, 1, tzinfo=UTC)
    server.default_window = (start, start)
    with pytest.raises(AuthorityError) as caught:
        ca.authority.renewal_info(chain)
    assert caught.value.reason == "ca_unreadable"


def test_no_window_for_a_certificate_that_the_ca_does_not_know(
    ca: Ca, server: CaServer, port80: Port80
) -> None:
    other = CaServer(port80.port)
    foreign = Ca(AcmeAuthority(other.directory_url), port80)
    chain = foreign.certificate(foreign.registered(), HOST)
    other.close()
    assert ca.authority.renewal_info(chain) is None
    server.directory_extra["renewalInfo"] = "https://elsewhere.example/renewalInfo"


def test_no_window_is_asked_for_after_the_end(ca: Ca, server: CaServer, clock: Clock) -> None:
    chain = ca.certificate(ca.registered(), HOST)
    clock.sleep(91 * 86400)
    assert ca.authority.renewal_info(chain) is None
    assert server.count("renewalInfo") == 0


def test_no_window_from_a_ca_that_offers_none(pebble: Pebble) -> None:
    web = Port80(pebble.http_port)
    ca = Ca(AcmeAuthority(pebble.directory_url, ca_bundle=str(pebble.ca_bundle)), web)
    chain = ca.certificate(ca.registered(), HOST)
    web.close()
    assert not ca.authority.meta().renewal_info
    assert ca.authority.renewal_info(chain) is None


def test_a_renewal_names_the_certificate_that_it_replaces(ca: Ca, server: CaServer) -> None:
    account = ca.registered()
    chain = ca.certificate(account, HOST)
    order = ca.authority.new_order(account, HOST, replaces=chain)
    assert server.last_order().replaces == certificate_id(chain)
    for challenge in ca.authority.challenges(account, order):
        ca.port80.publish(challenge)
        ca.authority.answer(account, challenge)
    ca.authority.finalize(account, ca.authority.wait_ready(account, order), csr_der(HOST))
    with pytest.raises(AlreadyReplaced):
        ca.authority.new_order(account, HOST, replaces=chain)


def test_a_certificate_that_the_ca_cannot_place_is_not_named_a_second_time(
    ca: Ca, server: CaServer, port80: Port80
) -> None:
    other = CaServer(port80.port)
    foreign = Ca(AcmeAuthority(other.directory_url), port80)
    chain = foreign.certificate(foreign.registered(), HOST)
    other.close()
    ca.authority.new_order(ca.registered(), HOST, replaces=chain)
    assert server.last_order().replaces is None
    assert server.count("newOrder") == 2


def test_an_account_lost_while_an_order_is_under_way(ca: Ca, server: CaServer) -> None:
    account = ca.registered()
    order = ca.authority.new_order(account, HOST)
    server.accounts.clear()
    with pytest.raises(AccountUnknown):
        ca.authority.fetch_order(account, order.url)
