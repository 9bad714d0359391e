"""What an administrator sees when something is away, brought along, switched or very long."""

from __future__ import annotations

import datetime
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from playwright.sync_api import expect

from deploy import modoboa
from deploy.stack import PRIMARY

HOSTNAME = "mail.globex.test"
PARAMETERS = "/parameters/virtualhosts/"
MANY = 1000


@pytest.mark.browser
def test_a_silent_control_plane_is_said_with_the_age_of_what_is_shown(visit, full_stack):
    admin = visit().administer()
    admin.virtual_hosts()
    admin.status(HOSTNAME, "ready")
    banner = admin.page.get_by_text("The control plane cannot be asked")
    reload = admin.page.get_by_role("button", name="Reload")

    with full_stack.without("control-api"):
        admin.page.wait_for_timeout(2_500)  # what is known stays fresh for two seconds
        reload.click()
        expect(banner).to_be_visible()
        expect(admin.page.get_by_text("What you see is from")).to_be_visible()
        admin.status(HOSTNAME, "ready")
        expect(admin.page.get_by_text("does not answer: is it running?")).to_be_visible()
        expect(admin.page.get_by_text("settings cannot be changed until then")).to_be_visible()
        admin.look_twice("silent")
        assert admin.complaints == []
        admin.page.get_by_role("link", name=HOSTNAME, exact=True).click()
        sheet = admin.page.get_by_role("dialog")
        expect(sheet.get_by_text("What you see is from")).to_be_visible()
        admin.page.keyboard.press("Escape")

    admin.page.wait_for_timeout(5_500)  # Modoboa leaves a silent control plane in peace that long
    reload.click()
    expect(banner).to_have_count(0)


def own_certificate(hostname: str) -> tuple[str, str]:
    """A chain of one and its key, PEM, signed by itself for 30 days."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Globex Corporate CA")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(pem).decode(), private.decode()


@pytest.mark.browser
def test_an_own_certificate_is_served_and_given_up_again(visit):
    admin = visit().administer()
    admin.virtual_hosts()
    admin.page.get_by_role("link", name=HOSTNAME, exact=True).click()
    sheet = admin.page.get_by_role("dialog")
    chain, key = own_certificate(HOSTNAME)
    _, stranger = own_certificate(HOSTNAME)

    sheet.get_by_role("button", name="Use my own certificate").click()
    sheet.get_by_label("Certificate and its chain").fill("not PEM")
    sheet.get_by_role("button", name="Use this certificate").click()
    expect(sheet.get_by_text("This is not PEM").first).to_be_visible()
    sheet.get_by_label("Certificate and its chain").fill(chain)
    sheet.get_by_label("Private key").fill(stranger)
    sheet.get_by_role("button", name="Use this certificate").click()
    expect(sheet.locator("p[role=alert]")).to_contain_text("The private key does not belong")
    admin.look_twice("own-certificate")
    sheet.get_by_label("Private key").fill(key)
    sheet.get_by_role("button", name="Use this certificate").click()

    expect(sheet.get_by_text("uploaded by you")).to_be_visible()
    expect(sheet.get_by_role("button", name="Renew now")).to_have_count(0)
    expect(sheet.locator(".chain li")).to_have_count(1)
    expect(sheet.get_by_text("Own certificate uploaded").first).to_be_visible()
    sheet.get_by_role("button", name="Back to the certificate authority").click()
    expect(sheet.get_by_text("fetched by itself")).to_be_visible(timeout=60_000)
    expect(sheet.locator(".chain li")).to_have_count(2)
    expect(sheet.locator(".chain li").first).to_contain_text(HOSTNAME)


@pytest.mark.browser
def test_settings_are_kept_and_a_certificate_authority_is_tried_first(visit):
    admin = visit().administer()
    page = admin.page
    admin.virtual_hosts()
    page.get_by_role("link", name="Settings").click()
    before = page.get_by_label("Address of its ACME directory").input_value()
    page.get_by_role("button", name="Test the authority").click()
    expect(page.locator("[data-verdict=pass]")).to_have_count(3)

    page.get_by_label("Let’s Encrypt, staging: for trying out").check()  # noqa: RUF001
    expect(page.get_by_text("Browsers do not trust these certificates")).to_be_visible()
    expect(page.get_by_text("edgectl host renew --all")).to_be_visible()
    expect(page.locator("[data-verdict]")).to_have_count(0)
    admin.look("settings", whole=True)
    page.get_by_label("Let’s Encrypt: trusted everywhere").check()  # noqa: RUF001
    expect(page.get_by_text("Limits apply: 5 failed checks")).to_be_visible()
    page.get_by_label("Another one").check()
    page.get_by_label("Address of its ACME directory").fill("https://127.0.0.1:1/directory")
    page.get_by_role("button", name="Test the authority").click()
    expect(page.locator("[data-verdict=fail]")).to_contain_text("No connection to the CA.")
    page.get_by_label("Address of its ACME directory").fill(before)
    page.get_by_label("Renew a fixed number of days before the end").check()
    page.get_by_role("spinbutton", name="Days before the end").fill("21")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The settings are saved")).to_be_visible()
    page.reload()
    expect(page.get_by_role("spinbutton", name="Days before the end")).to_have_value("21")
    expect(page.get_by_label("Address of its ACME directory")).to_have_value(before)
    page.get_by_label("Renew a fixed number of days before the end").uncheck()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The settings are saved")).to_be_visible()


@pytest.mark.browser
def test_of_two_who_change_the_settings_neither_loses_a_word(visit, full_stack):
    other = modoboa.Administrator(full_stack.modoboa_instance)
    admin = visit().administer()
    page = admin.page
    admin.virtual_hosts()
    page.get_by_role("link", name="Settings").click()
    page.get_by_label("Renew a fixed number of days before the end").check()
    page.get_by_role("spinbutton", name="Days before the end").fill("21")
    other.call("PUT", PARAMETERS, json={"acme_email": "other@provider.test"})

    page.get_by_role("button", name="Save").click()
    overtaken = page.get_by_text("Somebody else has changed these settings")
    expect(overtaken).to_be_in_viewport()
    expect(page.get_by_label("E-mail for the authority")).to_have_value("other@provider.test")
    expect(page.get_by_role("spinbutton", name="Days before the end")).to_have_value("21")
    admin.look_twice("overtaken")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The settings are saved")).to_be_visible()
    held = other.call("GET", PARAMETERS).json()
    assert (held["acme_email"], held["renewal_threshold_days"]) == ("other@provider.test", 21)
    other.call("PUT", PARAMETERS, json={"acme_email": None, "renewal_threshold_days": None})


class LicenceServer(http.server.BaseHTTPRequestHandler):
    """Accepts every key, remembers what came."""

    asked: list[dict[str, str]] = []

    def do_POST(self) -> None:
        """Remember and accept."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append(json.loads(body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def licensed(stack) -> Iterator[None]:
    """Modoboa started anew with a licence to be registered; as it was, afterwards."""
    server = http.server.HTTPServer(("127.0.0.1", 0), LicenceServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}/"
    restart(stack, LICENSE_KEY="a key", LICENSE_ENDPOINT=endpoint)
    try:
        yield
    finally:
        restart(stack)
        server.shutdown()


def restart(stack, **options: str) -> None:
    """Modoboa's web server with other keys in VIRTUALHOSTS."""
    redis = f"redis://127.0.0.1:{stack.ports.modoboa_redis}/0"
    instance = stack.modoboa_instance
    modoboa.create_instance(
        instance, redis, PRIMARY, stack.control_url, stack.control_token, options=options
    )
    stack.processes["modoboa"].stop()
    stack.processes["modoboa"].start(60)


@pytest.mark.browser
def test_a_licence_that_is_asked_for_and_missing_shows_the_activation(visit, full_stack):
    with licensed(full_stack):
        admin = visit().administer()
        admin.menu.locator(".mdi-web").click()
        button = admin.page.get_by_role("button", name="Register this installation")
        expect(button).to_be_visible()
        admin.look_twice("activation")
        button.click()
        admin.status(HOSTNAME, "ready")

        assert [asked["license_key"] for asked in LicenceServer.asked] == ["a key"]


@contextmanager
def many_hosts(stack) -> Iterator[None]:
    """A thousand more rows in Modoboa's database, each with a mirror that stays fresh meanwhile."""
    python = """
import datetime
from django.utils import timezone
from modoboa_ext.models import VirtualHost
later = timezone.now() + datetime.timedelta(hours=1)
mirror = {"status": "ready", "step": "served", "certificate": {"issuer": "Pebble",
  "not_before": timezone.now().isoformat(), "not_after": (later + datetime.timedelta(days=60)).isoformat()}}
VirtualHost.objects.bulk_create(
  VirtualHost(name=f"mail{n:04}.bulk.test", generation=1, confirmed_generation=1, mirror=mirror,
    mirrored_at=later) for n in range(COUNT))
"""
    modoboa.manage(stack.modoboa_instance, "shell", "-c", python.replace("COUNT", str(MANY)))
    try:
        yield
    finally:
        forget = (
            "from modoboa_ext.models import VirtualHost\n"
            'VirtualHost.objects.filter(name__endswith=".bulk.test").delete()'
        )
        modoboa.manage(stack.modoboa_instance, "shell", "-c", forget)


# Milliseconds from the list's last byte to the first moment in which its rows stand and the page answers.
INTERACTIVE = """
(rows) => {
  const answered = () => performance.getEntriesByType('resource')
    .filter((it) => it.name.includes('/api/v2/virtualhosts/?')).at(-1).responseEnd
  window.interactive = new Promise((tell) => {
    const look = () => document.querySelectorAll('tbody tr').length === rows
      ? setTimeout(() => tell(performance.now() - answered())) : requestAnimationFrame(look)
    look()
  })
}
"""


@pytest.mark.browser
def test_a_thousand_hosts_are_searched_and_turned_over(visit, full_stack):
    with many_hosts(full_stack):
        admin = visit().administer()
        admin.page.evaluate(INTERACTIVE, 25)
        admin.virtual_hosts()
        told = {25: admin.page.evaluate("window.interactive")}
        admin.page.evaluate(INTERACTIVE, 100)
        admin.page.locator(".v-data-table-footer .v-select").click()
        admin.page.get_by_role("option", name="100", exact=True).click()
        told[100] = admin.page.evaluate("window.interactive")
        print({rows: f"interactive {ms:.0f} ms after the data" for rows, ms in told.items()})
        expect(admin.page.locator(".v-data-table-footer__info")).to_contain_text("1-100 of 10")

        admin.page.get_by_role("textbox", name="Search a hostname").fill("mail0777")
        expect(admin.page.locator("tbody tr")).to_have_count(1)
        expect(admin.row("mail0777.bulk.test")).to_be_visible()
