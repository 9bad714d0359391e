"""Webhooks on the wire: signed, in order, tried again until taken, never to an address that is not public."""

from __future__ import annotations

import hashlib
import hmac
import json
import socketserver
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest
from flask.testing import FlaskClient

from control import metrics, registry, rotation, sealing, webhooks
from control.adapters.messenger import HttpMessenger
from control.endpoint import BadUrl
from control.models import Webhook
from control.plane import record
from control.ports import AddressAnswer, NotTold
from deploy import services
from deploy.control import edgectl
from deploy.process import free_port, wait_until
from tests.control.conftest import TEST, House, both_databases
from tests.control.running import installation
from tests.fakes.listener import listener

SECRET = "a secret of sixteen".replace(" ", "-")
HOOKS = "/api/v1/webhooks"
UNASKABLE = ("https://a..b/", "https://.example.com/", f"https://{'a' * 64}.example/")
"""URLs whose host cannot even be looked up."""


@dataclass
class Receiver:
    """A ticket system that answers `status`; `got` are the headers and bodies it was sent."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""

    def kinds(self) -> list[str]:
        """Kinds of the events that it was sent, in order."""
        return [json.loads(body)["kind"] for _, body in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver on loopback."""
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.got.append((dict(self.headers), body))
            self.send_response(made.status)
            for name, value in made.headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        made.url = f"http://127.0.0.1:{server.server_address[1]}/hook?of=billing"
        yield made
        server.shutdown()


def tell(house: House, *, allow_private: bool = True) -> int:
    """What a worker does once every event is settled."""
    house.clock.forward(seconds=3)
    messenger = HttpMessenger(allow_private=allow_private)
    return sum(webhooks.tell(house.plane, messenger, name) for name in webhooks.due(house.plane))


@contextmanager
def telling(house: House, messenger: HttpMessenger) -> Iterator[Thread]:
    """A worker's thread that tells, once every event is settled."""
    house.clock.forward(seconds=3)
    stop = Event()
    thread = Thread(target=webhooks.keep_telling, args=(house.plane, messenger, stop), daemon=True)
    thread.start()
    yield thread
    stop.set()
    thread.join(10)


def failing(house: House) -> int:
    """How many webhooks say why they were not told."""
    with house.plane.database.reading() as session:
        return session.query(Webhook).filter(Webhook.error.is_not(None)).count()


def hook(house: House) -> Webhook:
    """The only webhook."""
    with house.plane.database.reading() as session:
        return session.query(Webhook).one()


@both_databases
def test_events_come_signed_and_in_order_and_once(house: House, receiver: Receiver) -> None:
    house.add("before.acme.test")
    house.work()
    webhooks.put(house.plane, "billing", receiver.url, [], TEST, SECRET)
    house.add()
    house.work()
    while tell(house):
        pass
    assert receiver.kinds() == ["webhook_set", "created", "certificate_issued", "ready"]
    headers, body = receiver.got[1]
    moment, _, digest = headers["X-Edge-Signature"].removeprefix("t=").partition(",v1=")
    words = moment.encode() + b"." + body
    assert digest == hmac.new(SECRET.encode(), words, hashlib.sha256).hexdigest()
    event = json.loads(body)
    assert (event["hostname"], headers["X-Edge-Event"]) == ("mail.acme.test", "created")
    assert headers["X-Edge-Delivery"] == str(event["id"])
    assert headers["Host"] == receiver.url.split("/")[2]
    assert hook(house).told == json.loads(receiver.got[-1][1])["id"]


def test_what_is_not_taken_is_sent_again_and_nothing_overtakes_it(
    house: House, receiver: Receiver
) -> None:
    webhooks.put(house.plane, "billing", receiver.url, ["created", "deleted"], TEST)
    receiver.status = 500
    house.add()
    registry.delete(house.plane, "mail.acme.test", TEST)
    assert tell(house) == 0
    assert (hook(house).error, hook(house).attempts) == ("it answers 500", 1)
    assert "control_webhooks_failing 1\n" in metrics.text(house.plane)
    assert tell(house) == 0
    assert receiver.kinds() == ["created"], "not before its time"
    house.clock.forward(seconds=5)
    tell(house)
    receiver.status = 204
    house.clock.forward(minutes=1)
    assert tell(house) == 2
    assert receiver.kinds() == ["created", "created", "created", "deleted"]
    ids = [headers["X-Edge-Delivery"] for headers, _ in receiver.got]
    assert len(set(ids[:3])) == 1, "the same delivery each time"
    assert (hook(house).error, hook(house).attempts) == (None, 0)
    assert "control_webhooks_failing 0\n" in metrics.text(house.plane)


def test_only_the_kinds_that_were_asked_for(house: House, receiver: Receiver) -> None:
    webhooks.put(house.plane, "tickets", receiver.url, ["failed"], TEST)
    house.resolver.names["mail.acme.test"] = AddressAnswer((), ("203.0.113.9",), ())
    house.add()
    house.add("fine.acme.test")
    house.work(rounds=1)
    assert tell(house) == 1
    event = json.loads(receiver.got[0][1])
    assert (event["kind"], event["must_act"]) == ("failed", "tenant")
    assert "192.0.2.1" in event["hint"]


@both_databases
def test_many_events_that_it_did_not_ask_for_do_not_delay_the_one_it_did(
    house: House, receiver: Receiver
) -> None:
    webhooks.put(house.plane, "tickets", receiver.url, ["ready"], TEST)
    with house.plane.database.writing() as session:
        for kind in [*["failed"] * 1000, "ready"]:
            record(session, kind, house.clock(), actor="worker")
    assert tell(house) == 1
    assert receiver.kinds() == ["ready"]
    with house.plane.database.writing() as session:
        record(session, "failed", house.clock(), actor="worker")
    assert tell(house) == 0
    assert webhooks.due(house.plane) == [], "nothing is looked at twice"


def test_an_event_that_is_just_being_written_is_not_told_yet(
    house: House, receiver: Receiver
) -> None:
    webhooks.put(house.plane, "billing", receiver.url, [], TEST)
    house.add()
    assert webhooks.due(house.plane) == []
    assert receiver.got == []


def test_two_workers_do_not_tell_the_same_at_the_same_time(
    house: House, receiver: Receiver
) -> None:
    webhooks.put(house.plane, "billing", receiver.url, [], TEST)
    with house.plane.database.writing() as session:
        session.get_one(Webhook, "billing").lease_until = house.clock() + timedelta(minutes=1)
    assert tell(house) == 0
    house.clock.forward(minutes=2)
    assert tell(house) == 1, "the other one has died"


def test_an_address_that_is_not_public_is_not_asked(house: House, receiver: Receiver) -> None:
    webhooks.put(house.plane, "billing", receiver.url, [], TEST)
    assert tell(house, allow_private=False) == 0
    assert receiver.got == []
    assert "no public address" in str(hook(house).error)


def test_a_redirect_is_an_answer_and_not_followed(house: House, receiver: Receiver) -> None:
    receiver.status, receiver.headers = 302, {"Location": receiver.url}
    webhooks.put(house.plane, "billing", receiver.url, [], TEST)
    tell(house)
    assert len(receiver.got) == 1
    assert hook(house).error == "it answers 302"


def test_tls_is_checked_against_the_name(tmp_path: Path) -> None:
    files = services.pebble_files(tmp_path)
    port = free_port()
    process = services.pebble(tmp_path, port, free_port(), dns_port=1, http_port=1).start()
    url = f"https://127.0.0.1:{port}/nowhere"
    try:
        with pytest.raises(NotTold, match="not trusted"):
            HttpMessenger(allow_private=True).post(url, {}, b"{}")
        trusting = HttpMessenger(allow_private=True, ca_bundle=str(files.ca))
        assert trusting.post(url, {}, b"{}") >= 400, "it was asked, and has no such page"
    finally:
        process.kill()


def test_nobody_there_is_said_in_words() -> None:
    with pytest.raises(NotTold, match="Connection refused"):
        HttpMessenger(allow_private=True).post(f"http://127.0.0.1:{free_port()}/", {}, b"")


def test_an_answer_that_drips_is_given_up() -> None:
    def talk(client: socketserver.StreamRequestHandler) -> None:
        client.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while True:
            client.wfile.write(b"x")
            time.sleep(0.02)

    with listener(talk) as port, pytest.raises(NotTold, match="no answer in time"):
        HttpMessenger(allow_private=True, seconds=0.2).post(f"http://127.0.0.1:{port}/", {}, b"{}")


@pytest.mark.parametrize("url", UNASKABLE)
def test_what_cannot_be_asked_is_said_in_words(url: str) -> None:
    with pytest.raises(NotTold):
        HttpMessenger(allow_private=True).post(url, {}, b"{}")


def test_a_receiver_that_takes_its_time_delays_nobody_else(
    house: House, receiver: Receiver
) -> None:
    asked, end = Event(), Event()

    def talk(_: socketserver.StreamRequestHandler) -> None:
        asked.set()
        end.wait(60)

    with listener(talk) as port:
        webhooks.put(house.plane, "a-slow-one", f"http://127.0.0.1:{port}/", [], TEST)
        webhooks.put(house.plane, "billing", receiver.url, [], TEST)
        house.add()
        with telling(house, HttpMessenger(allow_private=True, seconds=60)):
            assert asked.wait(10)
            wait_until(lambda: "created" in receiver.kinds(), 10, "the other one is told")
            end.set()


def test_one_that_cannot_be_told_at_all_stops_neither_the_others_nor_the_thread(
    house: House, receiver: Receiver
) -> None:
    for number, url in enumerate(UNASKABLE):
        webhooks.put(house.plane, f"a-{number}", receiver.url, [], TEST)
        with house.plane.database.writing() as session:
            session.get_one(Webhook, f"a-{number}").url = url
    webhooks.put(house.plane, "a-sealed", receiver.url, [], TEST)
    with house.plane.database.writing() as session:
        session.get_one(Webhook, "a-sealed").sealed_secret = "v1:lost:AAAA"
    webhooks.put(house.plane, "billing", receiver.url, [], TEST)
    house.add()
    with telling(house, HttpMessenger(allow_private=True)) as thread:
        wait_until(lambda: "created" in receiver.kinds(), 10, "the last one is told")
        wait_until(lambda: failing(house) == len(UNASKABLE) + 1, 10, "the others say why not")
        assert thread.is_alive()


def test_secrets_are_sealed_anew_with_everything_else(
    house: House, receiver: Receiver, tmp_path: Path
) -> None:
    path = tmp_path / "keyring"
    sealing.write(path, {"k1": b"1" * 32})
    webhooks.put(house.plane, "billing", receiver.url, [], TEST, SECRET)
    sealing.write(path, {"k1": b"1" * 32, "k2": b"2" * 32})
    house.store.live.clear()
    plane = replace(house.plane, keyring=sealing.Keyring(path))
    rotation.rotate(plane, path, 1, lambda _: None)
    assert hook(house).sealed_secret.startswith("v1:k2:")
    assert plane.keyring.open(hook(house).sealed_secret, sealing.for_webhook("billing")) == (
        SECRET.encode()
    )


class TestApi:
    def test_one_is_made_shown_changed_and_removed(
        self, house: House, client: FlaskClient, receiver: Receiver
    ) -> None:
        made = client.put(f"{HOOKS}/billing", json={"url": receiver.url, "kinds": ["ready"]})
        assert made.status_code == 201
        assert len(made.json["secret"]) >= 32
        (shown,) = client.get(HOOKS).json["items"]
        assert (shown["name"], shown["kinds"]) == ("billing", ["ready"])
        assert "secret" not in json.dumps(shown)
        again = client.put(f"{HOOKS}/billing", json={"url": receiver.url})
        assert (again.status_code, again.json["secret"], again.json["kinds"]) == (200, None, [])
        assert client.delete(f"{HOOKS}/billing").status_code == 204
        assert client.delete(f"{HOOKS}/billing").status_code == 404
        kinds = [event["kind"] for event in client.get("/api/v1/events").json["items"]]
        assert kinds[:3] == ["webhook_removed", "webhook_set", "webhook_set"]

    @pytest.mark.parametrize(
        "url",
        ["ftp://x.test/", "https://", "https://user:pw@x.test/", "https://x.test:port/", "x",
         "https://@x.test/", "https://x.test:0/", "https://x.test/#part", *UNASKABLE],
    )  # fmt: skip
    def test_what_is_no_url_is_refused(self, client: FlaskClient, url: str) -> None:
        answer = client.put(f"{HOOKS}/billing", json={"url": url})
        assert answer.status_code == 422
        assert answer.json["message"].startswith("url ")

    def test_plain_http_is_for_closed_networks_only(self, house: House) -> None:
        settings = replace(house.plane.settings, allow_private_addresses=False)
        plane = replace(house.plane, settings=settings)
        with pytest.raises(BadUrl):
            webhooks.put(plane, "billing", "http://billing.example/hook", [], TEST)


def test_a_worker_tells_what_edgectl_was_told_to(tmp_path: Path, receiver: Receiver) -> None:
    with installation(tmp_path) as running:
        made = json.loads(edgectl(running.env, "webhook", "add", "billing", receiver.url, "--json"))
        assert made["secret"]
        assert edgectl(running.env, "webhook", "test", "billing") == "billing answers 200\n"
        running.worker()
        running.add("mail.acme.test")
        wait_until(lambda: "ready" in receiver.kinds(), 30, "the event has come")
        assert receiver.kinds()[0] == "test"
        assert "told to event" in edgectl(running.env, "webhook", "list")
        edgectl(running.env, "webhook", "remove", "billing")
        assert edgectl(running.env, "webhook", "list") == "no webhooks\n"
