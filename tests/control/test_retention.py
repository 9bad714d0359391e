"""What is kept for a time only is forgotten, and nothing that is still needed."""

from __future__ import annotations

import io
from datetime import timedelta

from PIL import Image

from control import limits, logos, registry
from control.models import LimitLevel, Logo, Record
from control.reconcile import reconcile
from tests.control.conftest import TEST, House, both_databases

NAME = "mail.acme.test"


def picture(colour: str) -> bytes:
    """A small logo."""
    out = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(out, "PNG")
    return out.getvalue()


def left(house: House, kind: type[Record]) -> int:
    """How many rows there are."""
    with house.plane.database.reading() as session:
        return session.query(kind).count()


@both_databases
def test_a_logo_that_nobody_shows_is_forgotten_after_a_day(house: House) -> None:
    house.add(NAME)
    shown = logos.keep(house.plane, picture("red"))
    registry.set_logo(house.plane, NAME, "login", shown, TEST)
    logos.keep(house.plane, picture("green"))
    reconcile(house.plane)
    assert left(house, Logo) == 2, "it may be about to be shown"
    house.clock.forward(hours=25)
    reconcile(house.plane)
    with house.plane.database.reading() as session:
        assert [f"{logo.sha256}.png" for logo in session.query(Logo)] == [shown]
    registry.set_logo(house.plane, NAME, "login", None, TEST)
    reconcile(house.plane)
    assert left(house, Logo) == 0


def test_a_logo_that_is_stored_again_is_not_forgotten_before_it_is_shown(house: House) -> None:
    logos.keep(house.plane, picture("red"))
    house.clock.forward(hours=25)
    logos.keep(house.plane, picture("red"))
    reconcile(house.plane)
    assert left(house, Logo) == 1


@both_databases
def test_a_bucket_without_debt_is_forgotten_and_says_the_same(house: House) -> None:
    now = house.clock()
    with house.plane.database.writing() as session:
        session.add(LimitLevel(key="paid", empty_at=now - timedelta(hours=2)))
        session.add(LimitLevel(key="owing", empty_at=now + timedelta(hours=2)))
    reconcile(house.plane)
    with house.plane.database.reading() as session:
        assert [level.key for level in session.query(LimitLevel)] == ["owing"]
    limit = limits.Limit("new_orders", 1, timedelta(hours=1), "account")
    charge = limits.Charge("paid", limit)
    paid = {"paid": now - timedelta(hours=2)}
    assert limits.earliest([charge], paid, now) == limits.earliest([charge], {}, now)
    assert limits.spend([charge], paid, now) == limits.spend([charge], {}, now)
