"""Every stable reason, provoked through the real adapters: a CA, DNS, port 80, Redis, the worker.

Longer than other modules because every reason stands here once; one that has no scene fails.
"""

from __future__ import annotations

import ast
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from control import accounts, configuration, inspection, ports, registry, sealing
from control.adapters.acme_authority import AcmeAuthority
from control.adapters.dns_resolver import DnsResolver, PortProbe
from control.adapters.redis_edge import RedisEdgeStore, connect
from control.certificates import check, load_key
from control.database import Database
from control.models import Account, Event
from control.plane import Plane
from control.ports import AuthorityError, CertificateAuthority
from control.reasons import REASONS
from control.reconcile import reconcile
from control.sealing import Keyring
from control.settings import Settings
from control.worker import Worker
from deploy.process import free_port, wait_until
from tests.conftest import Pebble, RedisServer
from tests.control.conftest import TEST, House, keyring_path, template  # noqa: F401
from tests.control.pki import Ca
from tests.fakes.authority import FakeAuthority
from tests.fakes.ca_server import ERROR, CaServer, Refused, Reply
from tests.fakes.dns_server import DnsServer
from tests.fakes.edge import FakeEdge
from tests.fakes.edge_store import FakeEdgeStore
from tests.fakes.listener import listener
from tests.fakes.resolver import FakeResolver
from tests.faults.conftest import StandingClock

NAME = "mail.acme.test"
ALWAYS = 99
SECRET = "c2VjcmV0LXNlY3JldC1zZWNyZXQ"


class Stage:
    """A control plane whose every adapter is the real one, with what stands behind them to be turned."""

    def __init__(self, directory: Path, redis_url: str) -> None:
        self.directory, self.redis_url = directory, redis_url
        self.clock, self.dns, self.edge = StandingClock(), DnsServer(), FakeEdge(redis_url).start()
        self.ca = CaServer(self.edge.http_port)
        self.opened = Database(f"sqlite:///{directory}/control.sqlite3")
        self.settings = Settings(
            acme_directory_url=self.ca.directory_url,
            edge_public_addresses=("127.0.0.1",),
            preflight_port=self.edge.http_port,
            allow_private_addresses=True,
        )
        self.authorities: dict[str, CertificateAuthority] = {}
        self.dns.add(NAME, "A", "127.0.0.1")
        self.timeout = 5.0

    def authority(self, url: str) -> CertificateAuthority:
        """The CA of a directory's URL."""
        if url not in self.authorities:
            self.authorities[url] = AcmeAuthority(
                url, timeout=self.timeout, now=self.clock.now, sleep=self.clock.sleep
            )
        return self.authorities[url]

    def house(self, **settings: object) -> House:
        """The control plane, once the edge lives; `settings` differ from the usual ones."""
        plane = Plane(
            settings=replace(self.settings, **settings),  # type: ignore[arg-type]
            database=self.opened,
            store=RedisEdgeStore(connect(self.redis_url)),
            keyring=Keyring(self.directory / "keyring"),
            authority=self.authority,
            resolver=DnsResolver([self.dns.address], seconds=0.2),
            probe=PortProbe(allow_private=bool(settings.get("allow_private_addresses", True))),
            clock=self.clock,
        )
        reconcile(plane)
        if not self.edge._stop.is_set():
            wait_until(plane.store.edges, 10, "the edge lives")
        return House(
            plane, FakeEdgeStore(), FakeAuthority(lambda *_: None), FakeResolver(), self.clock
        )  # type: ignore[arg-type]

    def fails(self, **settings: object) -> str:
        """The reason that stands on the record of a new host after one run, in the whole shape."""
        house = self.house(**settings)
        house.add(NAME)
        house.work(rounds=1)
        return self.reason(house)

    def reason(self, house: House) -> str:
        """The reason on the record; who acts and what to do stand beside it."""
        error = house.host(NAME).error
        assert error, f"{NAME} is {house.host(NAME).status}"
        assert error["actor"] == REASONS[error["reason"]].actor
        assert error["hint"]
        return str(error["reason"])

    def served(self) -> House:
        """A control plane with the host served."""
        house = self.house()
        house.add(NAME)
        house.work(rounds=3)
        assert house.host(NAME).status == "ready", house.host(NAME).error
        return house

    def refuses(self, endpoint: str, status: int, kind: str, words: str = "no") -> str:
        """The reason when the CA refuses at an endpoint."""
        self.ca.say(endpoint, Refused(status, kind, words), ALWAYS)
        return self.fails()

    def judges(self, kind: str) -> str:
        """The reason when the CA has looked and found this."""
        house = self.house()
        look = self.ca._validate

        def found(order: object, account: object) -> None:
            order.challenge = order.status = "invalid"  # type: ignore[attr-defined]
            order.error = {"type": ERROR + kind, "detail": "what it saw"}  # type: ignore[attr-defined]

        self.ca._validate = found  # type: ignore[method-assign,assignment]
        house.add(NAME)
        house.work(rounds=1)
        self.ca._validate = look  # type: ignore[method-assign]
        return self.reason(house)

    def looks(self, name: str, **settings: object) -> str:
        """The reason of one check of the preflight."""
        house = self.house(**settings)
        house.add(NAME)
        found = {c.check: c for c in inspection.report(house.plane, house.host(NAME))}[name]
        assert found.actor == REASONS[str(found.reason)].actor
        return str(found.reason)

    def sets(self, *values: str, kind: str = "A") -> None:
        """Let DNS say this of the hostname instead."""
        self.dns.records.pop((NAME, "A"), None)
        self.dns.add(NAME, kind, *values)

    def close(self) -> None:
        """End everything."""
        if not self.edge._stop.is_set():
            self.edge.stop()
        self.ca.close()
        self.dns.close()
        self.opened.engine.dispose()


@pytest.fixture
def stage(
    redis_server: RedisServer,
    template: Path,  # noqa: F811
    keyring_path: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Stage]:
    """A stage of this test's own; an edge that lags is waited for 2 s instead of 10."""
    monkeypatch.setattr("control.publishing.wait_applied.__defaults__", (2.0,))
    redis_server.client.flushall()
    shutil.copy(template, tmp_path / "control.sqlite3")
    shutil.copy(keyring_path, tmp_path / "keyring")
    made = Stage(tmp_path, redis_server.url)
    yield made
    made.close()


Scene = Callable[[Stage], str]
SCENES: dict[str, Scene] = {}


def scene(code: str) -> Callable[[Scene], Scene]:
    """Say which reason a function provokes; it returns the reason that it saw."""

    def keep(play: Scene) -> Scene:
        assert code not in SCENES
        SCENES[code] = play
        return play

    return keep


# What a CA says when it refuses an order: status, type, words.
_REFUSED = {
    "ca_malformed": (400, "malformed"),
    "ca_not_found": (404, "malformed"),
    "ca_paused": (429, "rateLimited", "paused: https://ca.example/unpause?jwt=x"),
    "ca_profile_unknown": (400, "invalidProfile"),
    "ca_rate_limited": (429, "rateLimited"),
    "ca_refused": (403, "somethingNew"),
    "ca_rejected_identifier": (400, "rejectedIdentifier"),
    "ca_terms_changed": (403, "userActionRequired"),
    "ca_unauthorized": (403, "unauthorized"),
    "ca_unavailable": (503, "serverInternal"),
    "ca_bad_nonce": (400, "badNonce"),
    "account_unknown": (400, "accountDoesNotExist"),
}
for _code, _refusal in _REFUSED.items():
    scene(_code)(lambda stage, refusal=_refusal: stage.refuses("newOrder", *refusal))  # type: ignore[misc]

# What it says when it has looked.
_JUDGED = {"ca_dns_failed": "dns", "ca_tls_failed": "tls", "validation_failed": "somethingNew"}
for _code, _kind in _JUDGED.items():
    scene(_code)(lambda stage, kind=_kind: stage.judges(kind))  # type: ignore[misc]

# CAA records of the domain.
_CAA = {
    "caa_forbids": '0 issue "other-ca.example"',
    "caa_account_forbidden": '0 issue "fake-ca.test; accounturi=https://ca.example/acct/2"',
    "caa_method_forbidden": '0 issue "fake-ca.test; validationmethods=dns-01"',
    "caa_critical_unknown": '128 tbs "unknown"',
}


def _caa(stage: Stage, record: str) -> str:
    stage.dns.add("acme.test", "CAA", record)
    return stage.fails()


for _code, _record in _CAA.items():
    scene(_code)(lambda stage, record=_record: _caa(stage, record))  # type: ignore[misc]


# DNS


@scene("dns_nxdomain")
def _(stage: Stage) -> str:
    del stage.dns.records[NAME, "A"]
    return stage.fails()


@scene("dns_no_address")
def _(stage: Stage) -> str:
    stage.sets('"x"', kind="TXT")
    return stage.fails()


@scene("dns_points_elsewhere")
def _(stage: Stage) -> str:
    stage.sets("8.8.8.8")
    return stage.fails()


@scene("dns_partly_elsewhere")
def _(stage: Stage) -> str:
    stage.sets("127.0.0.1", "8.8.8.8")
    return stage.looks("a")


@scene("dns_too_many_addresses")
def _(stage: Stage) -> str:
    stage.sets(*(f"127.0.0.{number}" for number in range(1, 11)))
    return stage.fails()


@scene("dns_servfail")
def _(stage: Stage) -> str:
    stage.dns.codes[NAME] = "SERVFAIL"
    return stage.fails()


@scene("dns_timeout")
def _(stage: Stage) -> str:
    stage.dns.silent.add(NAME)
    return stage.looks("a")


@scene("dns_moved")
def _(stage: Stage) -> str:
    stage.sets("8.8.8.8")
    house = stage.house()
    house.add(NAME)
    house.work(rounds=1)
    assert stage.reason(house) == "dns_points_elsewhere"
    orders = stage.ca.count("newOrder")
    stage.clock.sleep(timedelta(days=7).total_seconds())
    house.work(rounds=1)
    assert stage.ca.count("newOrder") == orders
    return stage.reason(house)


@scene("address_private")
def _(stage: Stage) -> str:
    stage.sets("192.168.1.4")
    return stage.fails(allow_private_addresses=False)


# Port 80


@scene("port80_unreachable")
def _(stage: Stage) -> str:
    return stage.fails(preflight_port=free_port())


def _answering(stage: Stage, head: bytes) -> str:
    with listener(lambda client: client.wfile.write(head)) as port:
        return stage.fails(preflight_port=port)


@scene("port80_wrong_answer")
def _(stage: Stage) -> str:
    return _answering(stage, b"HTTP/1.0 200 OK\r\n\r\nanother server's page")


@scene("port80_redirects")
def _(stage: Stage) -> str:
    head = b"HTTP/1.0 301 Moved\r\nLocation: https://mail.acme.test/\r\n\r\n"
    with listener(lambda client: client.wfile.write(head)) as port:
        return stage.looks("port80", preflight_port=port)


@scene("port80_not_seen_from_here")
def _(stage: Stage) -> str:
    relay = "192.88.99.1"  # a public address at which nobody answers any more (RFC 7526)
    stage.sets(relay)
    port = 50_000  # of those that outgoing connections have: a proxy on the way leaves them alone
    return stage.looks("port80", edge_public_addresses=(relay,), preflight_port=port)


# The CA, other than by a refusal


def _at(stage: Stage, url: str) -> str:
    return stage.fails(acme_directory_url=url)


@scene("ca_unreachable")
def _(stage: Stage) -> str:
    return _at(stage, f"http://127.0.0.1:{free_port()}/directory")


@scene("ca_timeout")
def _(stage: Stage) -> str:
    stage.timeout, silence = 0.2, threading.Event()
    with listener(lambda _: silence.wait(30)) as port:
        try:
            return _at(stage, f"http://127.0.0.1:{port}/directory")
        finally:
            silence.set()


@scene("ca_unreadable")
def _(stage: Stage) -> str:
    stage.ca.say("directory", Reply(200, b"<html>", content_type="text/html"), ALWAYS)
    return stage.fails()


@scene("ca_foreign_endpoint")
def _(stage: Stage) -> str:
    stage.ca.directory_extra["newOrder"] = "https://elsewhere.example/newOrder"
    return stage.fails()


@scene("ca_rejected_contact")
def _(stage: Stage) -> str:
    return stage.fails(acme_email="nobody")


@scene("ca_rejected_csr")
def _(stage: Stage) -> str:
    return stage.refuses("finalize", 400, "badCSR")


@scene("ca_rejected_key")
def _(stage: Stage) -> str:
    return stage.refuses("newAccount", 400, "badPublicKey")


@scene("eab_required")
def _(stage: Stage) -> str:
    stage.ca.external_accounts = {"kid-1": SECRET}
    return stage.fails()


@scene("eab_refused")
def _(stage: Stage) -> str:
    stage.ca.external_accounts = {"kid-1": SECRET}
    return stage.fails(acme_eab_kid="kid-2", acme_eab_hmac_key=SECRET)


@scene("challenge_not_offered")
def _(stage: Stage) -> str:
    stage.ca.offer = "dns-01"
    return stage.fails()


@scene("validation_slow")
def _(stage: Stage) -> str:
    stage.ca.poll_retry_after = "600"
    stage.ca._validate = lambda *_: None  # type: ignore[method-assign,assignment]
    return stage.fails()


@scene("issuance_slow")
def _(stage: Stage) -> str:
    stage.ca.processing_looks = 10_000
    return stage.fails()


@scene("order_gone")
def _(stage: Stage) -> str:
    stage.ca.say("authz", Reply(404, b""), ALWAYS)
    return stage.fails()


@scene("already_replaced")
def _(stage: Stage) -> str:
    house = stage.served()
    chain = house.host(NAME).certificate.chain  # type: ignore[union-attr]
    stage.ca.say("newOrder", Refused(409, "alreadyReplaced", "it has a successor"))
    with house.plane.database.reading() as session:
        account = session.get_one(Account, stage.ca.directory_url)
        key = house.plane.keyring.open(
            account.sealed_key, sealing.for_account(stage.ca.directory_url)
        )
    known = ports.Account(stage.ca.directory_url, key, account.uri)
    with pytest.raises(AuthorityError) as caught:
        stage.authority(stage.ca.directory_url).new_order(known, NAME, replaces=chain)
    stage.ca.say("newOrder", Refused(409, "alreadyReplaced", "it has a successor"))
    registry.renew(house.plane, NAME, TEST)
    house.work(rounds=1)
    assert house.events(NAME)[-1] == "certificate_renewed", "the worker orders again without it"
    return caught.value.reason


@scene("revocation_refused")
def _(stage: Stage) -> str:
    house = stage.served()
    stage.ca.say("revokeCert", Refused(400, "badRevocationReason", "not this one"))
    with pytest.raises(AuthorityError) as caught:
        accounts.revoke(house.plane, NAME, 1, TEST)
    return caught.value.reason


# Our own side


@scene("limit_reserved")
def _(stage: Stage) -> str:
    house = stage.house()
    configuration.configure(house.plane, {"acme_limits": "new_orders=1/3h"}, TEST)
    house.add("first.acme.test")
    stage.dns.add("first.acme.test", "A", "127.0.0.1")
    house.work(rounds=1)
    house.add(NAME)
    house.work(rounds=1)
    return stage.reason(house)


@scene("edge_absent")
def _(stage: Stage) -> str:
    stage.edge.stop()
    return stage.fails()


@scene("edge_lagging")
def _(stage: Stage) -> str:
    house = stage.house()
    stage.edge.paused = True
    house.add(NAME)
    house.work(rounds=1)
    return stage.reason(house)


@scene("edge_refused")
def _(stage: Stage) -> str:
    stage.edge.refused = (NAME,)
    return stage.fails()


@scene("redis_unavailable")
def _(stage: Stage) -> str:
    house = stage.house()
    house.plane = replace(
        house.plane, store=RedisEdgeStore(connect(f"redis://127.0.0.1:{free_port()}/0"))
    )
    house.add(NAME)
    house.work(rounds=1)
    return stage.reason(house)


@scene("publish_refused")
def _(stage: Stage) -> str:
    house = stage.house()
    connect(stage.redis_url).set("vh:epoch", "somebody else's")
    house.add(NAME)
    house.work(rounds=1)
    return stage.reason(house)


@scene("certificate_absent")
def _(stage: Stage) -> str:
    house = stage.house()
    configuration.configure(house.plane, {"acme_enabled": False}, TEST)
    house.add(NAME)
    house.work(rounds=1)
    return stage.reason(house)


@scene("certificate_expiring")
def _(stage: Stage) -> str:
    house = stage.house()
    house.add(NAME)
    pair = Ca().pair(NAME, days=20)
    facts = check(pair.chain, load_key(pair.private_key), NAME, stage.clock())
    registry.upload(house.plane, NAME, facts, TEST)
    house.work(rounds=1)
    with house.plane.database.reading() as session:
        kinds = session.query(Event).filter_by(kind="certificate_expiring")
        return str(kinds.one().detail["reason"])


@scene("certificate_unusable")
def _(stage: Stage) -> str:
    stage.ca.issuer.life = timedelta(seconds=1)
    return stage.fails()


@scene("key_unopenable")
def _(stage: Stage) -> str:
    stage.ca.say("finalize", Refused(503, "serverInternal", "later"), ALWAYS)
    assert stage.fails() == "ca_unavailable"
    (stage.directory / "keyring").unlink()
    sealing.write(stage.directory / "keyring", {"k2": b"2" * 32})
    house = stage.house()
    registry.retry(house.plane, NAME, TEST)
    house.work(rounds=1)
    return stage.reason(house)


@scene("internal_error")
def _(stage: Stage) -> str:
    house = stage.house()

    def broken(_: str) -> CertificateAuthority:
        raise RuntimeError("a fault of ours")

    house.add(NAME)
    worker = Worker(replace(house.plane, authority=broken), 1)
    thread = threading.Thread(target=worker.run)
    thread.start()
    wait_until(lambda: house.host(NAME).status == "failed", 20, "the fault is recorded")
    worker.stop()
    thread.join()
    return stage.reason(house)


# The tests


PEBBLE = {"ca_untrusted"}
"""Reasons that need a CA with a certificate of its own."""


@pytest.mark.parametrize("code", sorted(REASONS.keys() - PEBBLE))
def test_each_reason_is_seen_when_what_it_is_about_happens(stage: Stage, code: str) -> None:
    assert code in SCENES, f"write a scene that provokes {code}"
    assert SCENES[code](stage) == code


def test_a_ca_that_nobody_here_trusts(stage: Stage, pebble: Pebble) -> None:
    assert stage.fails(acme_directory_url=pebble.directory_url) == "ca_untrusted"


def test_no_scene_is_left_of_a_reason_that_is_gone() -> None:
    assert SCENES.keys() - REASONS.keys() == set()
    assert SCENES.keys() & PEBBLE == set()


def raised() -> Iterator[tuple[str, str]]:
    """Every text that the control plane gives as a reason when it raises or reports, and where."""
    errors = {
        "AccountUnknown", "AuthorityError", "NotApplied", "OrderGone", "PortError",
        "PublishRefused", "StoreUnavailable", "Waiting", "_finding",
    }  # fmt: skip
    for path in sorted(Path(accounts.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Name) and called.id in errors:
                place = 3 if called.id == "_finding" else 0
                word = node.args[place] if len(node.args) > place else None  # type: ignore[attr-defined]
                if isinstance(word, ast.Constant) and isinstance(word.value, str):
                    yield word.value, f"{path.name}:{node.lineno}"  # type: ignore[attr-defined]


def test_every_reason_that_the_code_gives_is_in_the_table() -> None:
    found = dict(raised())
    assert len(found) >= 25
    unknown = {code: where for code, where in found.items() if code not in REASONS}
    assert unknown == {}
