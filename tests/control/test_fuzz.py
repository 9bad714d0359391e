"""Whatever is sent to the API: no 5xx, answers of the promised shape, nothing without a token."""

from __future__ import annotations

import os
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_schema_conformance,
)

from control.api import auth
from control.app import create_app
from control.models import Token
from tests.control.conftest import House

CASES = int(os.environ.get("FUZZ_CASES", "120"))
"""Cases of each operation, where it has so many; `make faults` asks for more."""
FEWEST = 2000
"""Cases of all operations together."""

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    ignored_auth,
]


@pytest.fixture
def api(house: House, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The OpenAPI document of an application with a virtual host, and a token for it."""
    monkeypatch.setattr(auth, "buckets", auth.Buckets(1e6, 1e6))
    record, secret = Token.create("fuzz", house.clock())
    with house.plane.database.writing() as session:
        session.add(record)
    house.add("mail.acme.test")
    house.work()
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", create_app(house.plane))
    schema.config.headers = {"Authorization": f"Bearer {secret}"}
    return schema


def ask(operation: Any, cases: int) -> int:
    """Send so many requests to one operation and check each answer; how many were sent."""
    asked = 0

    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(case=operation.as_strategy())
    def send(case: Any) -> None:
        nonlocal asked
        if "wait" in (case.query or {}):
            case.query = {**case.query, "wait": "0"}
        asked += 1
        case.call_and_validate(checks=CHECKS)

    send()
    return asked


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_every_operation_keeps_its_promises(api: Any) -> None:
    asked = [ask(found.ok(), CASES) for found in api.get_all_operations()]
    print(f"{sum(asked)} cases of {len(asked)} operations")
    assert len(asked) >= 21
    assert min(asked) > 0
    assert sum(asked) >= FEWEST


def test_on_sqlite_too(api: Any) -> None:
    assert all(ask(found.ok(), CASES // 6) for found in api.get_all_operations())
