"""Two writers at the same moment: who comes second finds what the first has written, and is never told 500."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text

from control import configuration, registry, webhooks
from control.app import create_app
from control.database import Database
from control.models import (
    Domain,
    DomainTaken,
    Record,
    RuntimeSettings,
    Setting,
    VirtualHost,
    Webhook,
)
from control.registry import Wish
from deploy.process import wait_until
from tests.control.conftest import TEST, House, both_databases

NAME = "mail.acme.test"


def second(house: House, rows: Sequence[Record], deed: Callable[[], Any]) -> Any:
    """What comes of `deed` when somebody has written `rows` before and commits while it waits for them."""
    database = house.plane.database
    with ThreadPoolExecutor(1) as pool:
        with database.writing() as session:
            session.add_all(rows)
            session.flush()
            late = pool.submit(deed)
            if not database.is_sqlite:  # there it has not even begun: writers take turns
                wait_until(lambda: waiting(database), 10, "the second waits for the first")
        return late.result(30)


def waiting(database: Database) -> bool:
    """Whether a transaction waits for another one's row."""
    locked = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    with database.engine.connect() as connection:
        return bool(connection.scalar(locked))


@both_databases
def test_of_two_who_create_a_hostname_the_second_updates_it(house: House) -> None:
    first = VirtualHost.create(NAME, house.clock())
    wish = Wish(domains=["acme.test"])
    host, created = second(house, [first], lambda: registry.put(house.plane, NAME, wish, TEST))
    assert not created
    assert [domain.name for domain in host.domains] == ["acme.test"]


@both_databases
def test_of_two_who_link_a_domain_the_second_is_told_whose_it_is(house: House) -> None:
    house.add(NAME)
    first = VirtualHost.create("other.acme.test", house.clock())
    first.domains = [Domain(name="acme.test")]
    wish = Wish(domains=["acme.test"])
    with pytest.raises(DomainTaken, match=r"linked to other\.acme\.test"):
        second(house, [first], lambda: registry.put(house.plane, NAME, wish, TEST))


@both_databases
def test_api_and_worker_start_for_the_first_time_at_the_same_moment(house: House) -> None:
    first = VirtualHost.create("mail.provider.test", house.clock(), kind="primary")
    second(house, [first], lambda: registry.ensure_primary(house.plane))
    assert house.host("mail.provider.test").kind == "primary"


@both_databases
def test_of_two_who_set_the_same_the_second_wins(house: House) -> None:
    first = Setting(name="hsts_max_age", value=1)
    changes = {"hsts_max_age": 2}
    second(house, [first], lambda: configuration.configure(house.plane, changes, TEST))
    assert house.plane.runtime().hsts_max_age == 2


@both_databases
def test_of_two_who_change_settings_the_second_decides_by_what_the_first_wrote(
    house: House,
) -> None:
    first = Setting(name="hsts_max_age", value=1)
    seen: list[RuntimeSettings] = []
    changes = {"acme_email": "a@provider.test"}
    deed = partial(configuration.configure, house.plane, changes, TEST, check=seen.append)
    second(house, [first], deed)
    assert seen[0].hsts_max_age == 1


@both_databases
def test_of_two_who_make_a_webhook_the_second_changes_it(house: House) -> None:
    first = Webhook(
        name="billing", url="https://a.test/", sealed_secret="x", created_at=house.clock()
    )
    url = "https://b.test/"
    second(house, [first], lambda: webhooks.put(house.plane, "billing", url, [], TEST))
    with house.plane.database.reading() as session:
        assert session.get_one(Webhook, "billing").url == url


@both_databases
def test_many_api_writers_at_once_are_answered_without_a_fault_of_ours(
    house: House, token: str
) -> None:
    app = create_app(house.plane)
    bearer = {"Authorization": f"Bearer {token}"}

    def write(number: int) -> int:
        path = f"/api/v1/virtualhosts/h{number % 3}.acme.test"
        if number % 5 == 4:
            return app.test_client().delete(path, headers=bearer).status_code
        wish = {"domains": [f"d{number % 2}.test"], "hsts_max_age": number}
        return app.test_client().put(path, json=wish, headers=bearer).status_code

    with ThreadPoolExecutor(12) as pool:
        statuses = set(pool.map(write, range(60)))
    assert statuses <= {200, 201, 204, 404, 409, 503}
    assert statuses & {200, 201}
    house.work()
    shown = app.test_client().get("/api/v1/virtualhosts", headers=bearer).json["items"]
    linked = [domain for host in shown for domain in host["domains"]]
    assert len(linked) == len(set(linked))
