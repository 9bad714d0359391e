"""A real installation behind the real edge: new hostnames, outages, changes that act at once, upgrades."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPSConnection
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from deploy import modoboa
from deploy.process import wait_until
from tests.modoboa.town import PASSWORD

PRIMARY = "mail.provider.test"
ACME, GLOBEX = "mail.acme.test", "mail.globex.test"
ALICE, BOB, CAROL = "alice@acme.test", "bob@globex.test", "carol"
# CROWD=1 is the long form (minutes): 50 saves during an outage, four creators of 25 hosts each.
SAVES, HOSTS_EACH = (50, 25) if os.environ.get("CROWD") else (5, 2)
VERIFIER = secrets.token_urlsafe(48)


class Visitor:
    """A browser's part of HTTP over the wire: one origin at a time, cookies kept by origin."""

    def __init__(self, stack) -> None:
        self.stack = stack
        self.context = ssl.create_default_context(cafile=str(stack.ca_bundle))
        self.cookies: dict[str, str] = {}

    def ask(self, method, host, path, form=None, sni=None, **headers):
        """One request to `https://<host>`; status, headers and text of the answer."""
        connection = HTTPSConnection(sni or host.lower().rstrip("."), context=self.context)
        raw = socket.create_connection(("127.0.0.1", self.stack.ports.edge_https), timeout=30)
        connection.sock = self.context.wrap_socket(
            raw, server_hostname=sni or host.lower().rstrip(".")
        )
        connection.putrequest(method, path, skip_host=True)
        body = urlencode(form).encode() if form is not None else b""
        sent = {"Host": host, "Referer": f"https://{host}/", "Content-Length": str(len(body))}
        if form is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        for name, value in {**sent, **{k.replace("_", "-"): v for k, v in headers.items()}}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        connection.close()
        return answer.status, answer.headers, text

    def sign_in(self, host, user, password=PASSWORD):
        """Post the login form as a browser does; its status and text."""
        _, _, page = self.ask("GET", host, "/accounts/login/")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)[1]
        form = {"username": user, "password": password, "csrfmiddlewaretoken": token}
        status, _, text = self.ask("POST", host, "/accounts/login/", form)
        return status, text

    def tokens(self, host):
        """The code flow as the single-page application runs it; the tokens, or None."""
        _, _, text = self.ask("GET", host, "/config.json")
        client_id = re.search(r'"OAUTH_CLIENT_ID": *"([^"]+)"', text)[1]
        challenge = hashlib.sha256(VERIFIER.encode()).digest()
        query = {
            "client_id": client_id,
            "redirect_uri": f"https://{host}/login/logged",
            "response_type": "code",
            "scope": "openid read write",
            "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        status, headers, _ = self.ask("GET", host, "/api/o/authorize/?" + urlencode(query))
        code = parse_qs(urlsplit(headers.get("Location", "")).query).get("code")
        if status != 302 or not code:
            return None
        form = {"grant_type": "authorization_code", "client_id": client_id, "code": code[0]}
        form |= {"redirect_uri": query["redirect_uri"], "code_verifier": VERIFIER}
        status, _, text = self.ask("POST", host, "/api/o/token/", form)
        return json.loads(text) if status == 200 else None

    def account(self, host, token) -> int:
        """The status of asking who one is."""
        return self.ask("GET", host, "/api/v2/account/me/", Authorization=f"Bearer {token}")[0]


@pytest.fixture(scope="module")
def stack(full_stack):
    """The whole system, with Acme and Globex online."""
    return full_stack


@pytest.fixture(scope="module")
def api(stack) -> modoboa.Administrator:
    """The super administrator at Modoboa's REST API."""
    return modoboa.Administrator(stack.modoboa_instance)


def domain_body(name: str, hostname: str | None) -> dict[str, object]:
    fields = {"name": name, "type": "domain", "enable_dns_checks": False}
    return fields | {"quota": 0, "default_mailbox_quota": 0, "virtual_host": hostname}


def test_twenty_cells_of_the_matrix_hold_on_the_wire(stack):
    cells = 0
    for user, own, foreign in ((ALICE, ACME, GLOBEX), (BOB, GLOBEX, ACME)):
        inside, outside, at_primary = Visitor(stack), Visitor(stack), Visitor(stack)
        assert inside.sign_in(own, user)[0] == 302
        status, text = outside.sign_in(foreign, user)
        assert (status, "does not belong to this site" in text) == (401, True)
        assert at_primary.sign_in(PRIMARY, user)[0] == 302
        mine, primary = inside.tokens(own), at_primary.tokens(PRIMARY)
        assert mine
        assert primary
        for host, token, expected in (
            (own, mine["access_token"], 200),
            (own, mine["id_token"], 200),
            (foreign, mine["access_token"], 401),
            (foreign, mine["id_token"], 401),
            (foreign, primary["access_token"], 401),
            (own, primary["access_token"], 200),
        ):
            assert Visitor(stack).account(host, token) == expected, (user, host)
            cells += 1
        replay = Visitor(stack)
        replay.cookies = dict(at_primary.cookies)
        assert replay.tokens(foreign) is None
        cells += 4
    assert cells == 20


def test_a_host_header_in_any_spelling_reaches_the_same_verdict(stack):
    for spelling in (ACME, ACME.upper(), f"{ACME}.", f"{ACME}:443"):
        status, _, text = Visitor(stack).ask("GET", spelling, "/accounts/login/", sni=ACME)
        assert (status, "csrfmiddlewaretoken" in text) == (200, True), spelling


def test_what_a_visitor_sends_about_theme_or_host_never_arrives(stack):
    headers = {
        "X_Virtual_Host_Theme": '{"theme_primary_color": "#bada55"}',
        "X_Forwarded_Host": PRIMARY,
    }
    _, _, text = Visitor(stack).ask("GET", ACME, "/accounts/login/", **headers)
    assert "#bada55" not in text


def domain_of(api, name: str) -> str:
    [row] = api.call("GET", f"/domains/?search={name}").json()["results"]
    return f"/domains/{row['pk']}/"


def account_of(api, username: str) -> str:
    rows = api.call("GET", f"/accounts/?page_size=100&search={username}").json()["results"]
    return f"/accounts/{next(row['pk'] for row in rows if row['username'] == username)}/"


def unlink(api):
    path = domain_of(api, "globex.test")
    api.call("PUT", path, json=domain_body("globex.test", None))
    return lambda: api.call("PUT", path, json=domain_body("globex.test", GLOBEX))


def disable_host(api):
    [row] = api.call("GET", f"/virtualhosts/?search={GLOBEX}").json()["results"]
    path = f"/virtualhosts/{row['pk']}/set_state/"
    api.call("POST", path, json={"enabled": False})
    return lambda: api.call("POST", path, json={"enabled": True})


def disable_person(api):
    path = account_of(api, CAROL)
    api.call("PATCH", path, json={"is_active": False})
    return lambda: api.call("PATCH", path, json={"is_active": True})


def dismiss(api):
    path = domain_of(api, "globex.test")
    pk = int(account_of(api, CAROL).split("/")[2])
    api.call("POST", path + "administrators/remove/", json={"account": pk})
    return lambda: api.call("POST", path + "administrators/add/", json={"account": pk})


@pytest.fixture(scope="module")
def carol(api):
    """Globex's administrator without a mailbox there: nothing else lets her in."""
    account = {"username": CAROL, "role": "DomainAdmins", "password": PASSWORD, "is_active": True}
    account |= {"first_name": "Carol", "last_name": "", "language": "en"}
    pk = api.call("POST", "/accounts/", json=account).json()["pk"]
    api.call("POST", domain_of(api, "globex.test") + "administrators/add/", json={"account": pk})


def enters(visitor, token) -> tuple[bool, bool]:
    """Whether a live token and a live session are good at Globex's host."""
    try:
        return visitor.account(GLOBEX, token) == 200, visitor.tokens(GLOBEX) is not None
    except OSError:
        return False, False  # the edge knows no such host any more


@pytest.mark.parametrize("change", [unlink, disable_host, disable_person, dismiss])
def test_a_change_acts_within_two_seconds_on_a_live_token_and_session(stack, api, carol, change):
    wait_until(lambda: Visitor(stack).sign_in(GLOBEX, CAROL)[0] == 302, 30, "Carol cannot enter")
    time.sleep(2)  # what was undone before is known to every process of Modoboa's
    visitor = Visitor(stack)
    visitor.sign_in(GLOBEX, CAROL)
    token = visitor.tokens(GLOBEX)["access_token"]
    assert enters(visitor, token) == (True, True)
    undo = change(api)
    try:
        time.sleep(2)
        assert {enters(visitor, token) for _ in range(8)} == {(False, False)}
    finally:
        undo()
        wait_until(lambda: served(stack, GLOBEX), 60, f"{GLOBEX} is not served again")


@pytest.mark.parametrize(
    ("part", "change"),
    [("theme", {"theme_label_color": "#102030"}), (None, {"acme_email": "other@provider.test"})],
)
def test_a_change_to_what_others_have_changed_meanwhile_is_refused(api, part, change):
    path = "/parameters/virtualhosts/"
    if part:
        found = api.call("GET", f"/virtualhosts/?search={ACME}").json()["results"][0]
        path = f"/virtualhosts/{found['pk']}/{part}/"
    tag = api.call("GET", path).headers["ETag"]
    assert api.call("PUT", path, json=change, headers={"If-Match": tag}).ok
    with pytest.raises(RuntimeError, match=r"412 .*somebody else has changed this"):
        api.call("PUT", path, json=change, headers={"If-Match": '"older"'})
    assert api.call("PUT", path, json=dict.fromkeys(change)).ok


def test_initial_data_twice_and_everybody_still_enters(stack):
    for _ in range(2):
        modoboa.manage(stack.modoboa_instance, "load_initial_data", "--relative-urls-in-config")
    for user, host in ((ALICE, ACME), (BOB, GLOBEX)):
        visitor = Visitor(stack)
        assert visitor.sign_in(host, user)[0] == 302
        assert visitor.account(host, visitor.tokens(host)["access_token"]) == 200


def test_a_logout_returns_to_the_host_it_was_asked_on(stack):
    visitor = Visitor(stack)
    visitor.sign_in(ACME, ALICE)
    query = {"id_token_hint": visitor.tokens(ACME)["id_token"]}
    query["post_logout_redirect_uri"] = f"https://{ACME}"
    status, headers, _ = visitor.ask("GET", ACME, "/api/o/logout/?" + urlencode(query))
    assert (status, headers["Location"].rstrip("/")) == (302, f"https://{ACME}")
    assert visitor.tokens(ACME) is None


def test_saves_during_an_outage_are_ready_within_two_minutes_of_its_end(stack, api):
    names = [f"mail.outage-{n}.test" for n in range(SAVES)]
    with stack.without("control-api"):
        for name in names:
            api.call("POST", "/domains/", json=domain_body(name.removeprefix("mail."), name))
    began = time.monotonic()

    def all_ready() -> bool:
        known = statuses_of(api, "outage-")
        return all(known.get(name) == "ready" for name in names)

    wait_until(all_ready, 120, "not every host is ready")
    print(f"{SAVES} hosts ready {time.monotonic() - began:.0f} s after the control plane's return")


def statuses_of(api, part: str) -> dict[str, str]:
    rows = api.call("GET", f"/virtualhosts/?page_size=100&search={part}").json()["results"]
    return {row["name"]: row["provisioning_status"] for row in rows}


def create(api, number: int) -> str:
    """One tenant, whole: a domain with its hostname, and a person; the hostname."""
    domain = f"crowd-{number}.test"
    api.call("POST", "/domains/", json=domain_body(domain, f"mail.{domain}"))
    modoboa.create_account(api, f"p@{domain}", PASSWORD)
    return f"mail.{domain}"


def test_four_parallel_creators_disturb_nobody_and_all_can_log_in(stack):
    def creator(first: int) -> list[str]:
        api = modoboa.Administrator(stack.modoboa_instance)
        return [create(api, number) for number in range(first, first + HOSTS_EACH)]

    with ThreadPoolExecutor(4) as pool:
        hosts = [
            name
            for names in pool.map(creator, range(0, 4 * HOSTS_EACH, HOSTS_EACH))
            for name in names
        ]
    assert len(set(hosts)) == 4 * HOSTS_EACH
    for host in hosts:
        wait_until(lambda host=host: served(stack, host), 120, f"{host} is not served")
        user = f"p@{host.removeprefix('mail.')}"
        assert Visitor(stack).sign_in(host, user)[0] == 302, host


def served(stack, host: str) -> bool:
    try:
        Visitor(stack).ask("GET", host, "/config.json")
    except OSError:
        return False
    return True
