"""The extension comes to an installation and leaves it again: Modoboa works before, with it, and after."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from deploy import modoboa
from deploy.process import free_port

PRIMARY = "mail.provider.test"
HOSTNAME = "mail.initech.test"


@pytest.fixture(scope="module")
def instance(tmp_path_factory, redis_server) -> Path:
    """A real instance of its own, without a control plane."""
    directory = tmp_path_factory.mktemp("lifecycle") / "modoboa"
    return modoboa.create_instance(
        directory, redis_server.url, PRIMARY, "http://127.0.0.1:9", "no token"
    )


def settings_of(instance: Path) -> Path:
    return instance / modoboa.NAME / "settings.py"


@contextmanager
def without_the_extension(instance: Path) -> Iterator[None]:
    """settings.py as that of an installation that does not have it."""
    settings = settings_of(instance)
    kept = settings.read_text()
    plain = kept.replace("    'modoboa_ext',\n", "").replace(
        "modoboa_ext_settings.apply(globals())", "pass"
    )
    plain = re.sub(
        r"^try:\n    from modoboa_ext.*?import \*  # noqa\n", "", plain, flags=re.M | re.S
    )
    assert "from modoboa_ext" not in plain
    settings.write_text(plain)
    try:
        yield
    finally:
        settings.write_text(kept)


@contextmanager
def served(instance: Path) -> Iterator[modoboa.Administrator]:
    """The instance while it answers, and its super administrator."""
    process = modoboa.web(instance, free_port()).start()
    try:
        yield modoboa.Administrator(instance)
    finally:
        process.stop()


def domain(name: str, **fields: object) -> dict[str, object]:
    body = {"name": name, "type": "domain", "enable_dns_checks": False}
    return {**body, "quota": 0, "default_mailbox_quota": 0, **fields}


def login_page(api: modoboa.Administrator, host: str) -> int:
    url = api.url.replace("/api/v2", "/accounts/login/")
    return requests.get(
        url, headers={"Host": host, "X-Forwarded-Proto": "https"}, timeout=30
    ).status_code


def add(api: modoboa.Administrator, name: str, **fields: object) -> int:
    return api.call("POST", "/domains/", json=domain(name, **fields)).json()["pk"]


def delete(api: modoboa.Administrator, pk: int) -> None:
    api.call("POST", f"/domains/{pk}/delete/", json={})


def test_it_leaves_and_modoboa_works_then_it_comes_back_and_nothing_is_lost(instance):
    with served(instance) as api:
        first, second = add(api, "initech.test", virtual_host=HOSTNAME), add(api, "other.test")
        assert login_page(api, HOSTNAME) == 200
    with without_the_extension(instance), served(instance) as api:
        assert login_page(api, PRIMARY) == 200
        assert login_page(api, HOSTNAME) == 400
        assert "virtual_host" not in api.call("GET", f"/domains/{first}/").json()
        delete(api, second)
    with served(instance) as api:
        assert api.call("GET", f"/domains/{first}/").json()["virtual_host"] == HOSTNAME
        assert login_page(api, HOSTNAME) == 200


def test_a_linked_domain_can_be_deleted_while_it_is_away(instance):
    with served(instance) as api:
        linked = add(api, "linked.test", virtual_host="mail.linked.test")
    with without_the_extension(instance), served(instance) as api:
        delete(api, linked)
    with served(instance) as api:
        rows = api.call("GET", "/virtualhosts/?search=linked").json()["results"]
        assert [row["domains"] for row in rows] == [[]]


def test_it_comes_to_an_installation_that_never_had_it(instance):
    modoboa.manage(instance, "migrate", "modoboa_ext", "zero")
    with without_the_extension(instance), served(instance) as api:
        before = add(api, "before.test")
        assert login_page(api, PRIMARY) == 200
    modoboa.manage(instance, "migrate", "--noinput")
    modoboa.manage(instance, "check")
    with served(instance) as api:
        body = domain("before.test", virtual_host="mail.before.test")
        api.call("PUT", f"/domains/{before}/", json=body)
        assert login_page(api, "mail.before.test") == 200
