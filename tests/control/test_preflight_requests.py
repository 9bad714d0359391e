"""Preflights over the API: each leaves nothing behind, and nobody gets many of them at a time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from flask.testing import FlaskClient

from control.api.auth import Buckets
from control.api.certificates import MOST_EXAMINED
from control.app import create_app
from control.ports import AddressAnswer
from tests.control.conftest import House, both_databases
from tests.fakes.resolver import FakeResolver

ACME = "/api/v1/virtualhosts/mail.acme.test"


@both_databases
def test_a_preflight_leaves_nothing_behind(house: House, client: FlaskClient) -> None:
    house.add()
    house.work()
    for _ in range(5):
        assert client.get(f"{ACME}/preflight").status_code == 200
    assert house.host().tokens == []
    assert house.store.challenges == {}


def test_a_token_has_only_so_many_preflights(house: House, client: FlaskClient) -> None:
    house.add()
    client.application.extensions["preflights"] = Buckets(0.001, 2)
    answers = [client.get(f"{ACME}/preflight") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert int(answers[2].headers["Retry-After"]) > 1
    assert client.get(ACME).status_code == 200, "other requests are not held up"


def test_only_so_many_preflights_go_on_at_a_time(house: House, token: str) -> None:
    house.add()
    asked, end = threading.Semaphore(0), threading.Event()

    class Slow(FakeResolver):
        def addresses(self, hostname: str) -> AddressAnswer:
            asked.release()
            end.wait(30)
            return AddressAnswer((), ("192.0.2.1",), ())

    app = create_app(replace(house.plane, resolver=Slow()))
    bearer = {"Authorization": f"Bearer {token}"}

    def ask(_: int) -> int:
        return app.test_client().get(f"{ACME}/preflight", headers=bearer).status_code

    with ThreadPoolExecutor(MOST_EXAMINED) as pool:
        under_way = pool.map(ask, range(MOST_EXAMINED))
        assert all(asked.acquire(timeout=30) for _ in range(MOST_EXAMINED))
        assert ask(0) == 429
        end.set()
        assert set(under_way) == {200}
    assert ask(0) == 200
