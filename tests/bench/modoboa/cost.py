"""What the extension adds to a request of Modoboa's: its own seconds and queries, said as JSON on standard output."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.modoboa.settings")
django.setup()

from django.conf import settings  # noqa: E402  Django must be set up first
from django.contrib.contenttypes.models import ContentType  # noqa: E402
from django.db import connection  # noqa: E402
from django.test.utils import setup_test_environment  # noqa: E402
from modoboa.admin.models import Domain  # noqa: E402
from modoboa.core.models import ObjectAccess, User  # noqa: E402

from modoboa_ext import hosts, oauth, people  # noqa: E402
from modoboa_ext.allowed_hosts import LiveHosts  # noqa: E402
from modoboa_ext.models import VirtualHost  # noqa: E402
from modoboa_ext.settings import FIRST, LAST  # noqa: E402
from tests.modoboa.town import GLOBEX, PRIMARY, Town, browser, initial_data  # noqa: E402
from tests.modoboa.ways import held  # noqa: E402

ROUNDS = 2_000
CROWD = 10_000
spent = 0.0


class Outside:
    """Around a middleware of ours: counts its time, what is inside of it taken off again."""

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        """Pass the request on."""
        global spent
        began = time.perf_counter()
        answer = self.get_response(request)
        spent += self.sign * (time.perf_counter() - began)
        return answer

    sign = 1


class Inside(Outside):
    """Inside of a middleware of ours: what comes next is not its time."""

    sign = -1


def timed(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, its time counted."""

    def run(*args: Any) -> Any:
        global spent
        began = time.perf_counter()
        try:
            return function(*args)
        finally:
            spent += time.perf_counter() - began

    return run


def instrument() -> None:
    """Put the clocks around everything that the extension does on a request with a token."""
    marks = {name: [f"{__name__}.Outside", name, f"{__name__}.Inside"] for name in (FIRST, LAST)}
    settings.MIDDLEWARE = [part for name in settings.MIDDLEWARE for part in marks.get(name, [name])]
    oauth.may_use = timed(oauth.may_use)


def percentiles(seconds: list[float]) -> tuple[float, float]:
    """The median and the 99th percentile, in milliseconds."""
    ordered = sorted(seconds)
    return ordered[len(ordered) // 2] * 1000, ordered[len(ordered) * 99 // 100] * 1000


def cost(client: Any, cold: bool) -> tuple[float, float]:
    """p50 and p99 of what is added to a request; `cold` forgets host and person before each."""
    global spent
    seconds = []
    for _ in range(ROUNDS):
        if cold:
            hosts.recent.forget()
            people.recent.forget()
        spent = 0.0
        answer = client.get("/api/v2/account/me/", secure=True)
        assert answer.status_code == 200
        seconds.append(spent)
    return percentiles(seconds)


def give_domains(user: User, number: int) -> None:
    """Make domains that `user` administers."""
    made = Domain.objects.bulk_create(Domain(name=f"d{n}.crowd.test") for n in range(number))
    kind = ContentType.objects.get_for_model(Domain)
    ObjectAccess.objects.bulk_create(
        ObjectAccess(user=user, content_type=kind, object_id=domain.pk) for domain in made
    )


def main() -> None:
    """Measure with two hosts, then with ten thousand more."""
    setup_test_environment()
    connection.creation.create_test_db(verbosity=0, serialize=False)
    settings.ALLOWED_HOSTS = LiveHosts([PRIMARY])
    initial_data()
    person = Town.build().people["SimpleUsers"]
    reseller = User.objects.get(username="resellers")
    clients = [
        browser(GLOBEX, authorization=f"Bearer {held(GLOBEX, user)['access_token']}")
        for user in (person, reseller)
    ]
    instrument()
    client = clients[0]
    cost(client, cold=True)
    found = {"2 hosts, nothing remembered": cost(client, cold=True)}
    VirtualHost.objects.bulk_create(VirtualHost(name=f"h{n}.crowd.test") for n in range(CROWD))
    found[f"{CROWD:,} hosts, nothing remembered"] = cost(client, cold=True)
    give_domains(reseller, CROWD)
    found[f"a reseller of {CROWD:,} domains, nothing remembered"] = cost(clients[1], cold=True)
    for memory in (hosts.recent, people.recent):
        memory.seconds = 3600.0
    found[f"{CROWD:,} hosts, remembered"] = cost(client, cold=False)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
