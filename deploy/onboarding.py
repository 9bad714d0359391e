"""Two tenants brought online the way an administrator would: through Modoboa, then dressed in their colours."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable

from requests import Response

from deploy import modoboa
from deploy.branding import PASSWORD, TENANTS, Tenant
from deploy.process import NotReady, wait_until
from deploy.stack import PRIMARY, Stack


def certificate_of(stack: Stack, hostname: str) -> dict[str, object]:
    """Shake hands as `hostname`, verified against Pebble's root; the peer certificate's fields.

    Raises OSError (ssl.SSLError included) while it is not served or not yet signed by that root.
    """
    context = ssl.create_default_context(cafile=str(stack.ca_bundle))
    address = ("127.0.0.1", stack.ports.edge_https)
    with (
        socket.create_connection(address, timeout=5) as connection,
        context.wrap_socket(connection, server_hostname=hostname) as tls,
    ):
        return dict(tls.getpeercert() or {})


def is_served(stack: Stack, hostname: str) -> bool:
    """Whether a handshake for `hostname` succeeds with a certificate of the CA's present root."""
    try:
        certificate_of(stack, hostname)
    except OSError:
        return False
    return True


def served(stack: Stack, hostname: str) -> str:
    """One line on what a visitor's handshake gets."""
    return f"{hostname} serves a certificate until {certificate_of(stack, hostname)['notAfter']}"


def control(stack: Stack, method: str, path: str, **options: object) -> Response:
    """Call the control plane's REST API with this installation's token; RuntimeError on refusal."""
    answer = stack.api(method, path, **options)
    if not answer.ok:
        raise RuntimeError(f"{method} {path} answered {answer.status_code}: {answer.text[:300]}")
    return answer


def dress(stack: Stack, tenant: Tenant) -> None:
    """Give a tenant its five colours and three logos."""
    path = f"/virtualhosts/{tenant.hostname}"
    control(stack, "PATCH", f"{path}/theme", json=tenant.theme)
    for slot, picture in tenant.logos().items():
        control(
            stack,
            "PUT",
            f"{path}/logos/{slot}",
            data=picture,
            headers={"Content-Type": "image/png"},
        )


def wait_served(stack: Stack, hostname: str, say: Callable[[str], None]) -> None:
    """Wait until the hostname's own certificate is on the wire; NotReady says what the API knows."""
    began = time.monotonic()
    try:
        wait_until(lambda: is_served(stack, hostname), 60, f"{hostname} is not served")
    except NotReady as problem:
        state = control(stack, "GET", f"/virtualhosts/{hostname}").json()
        raise NotReady(f"{problem}: {state.get('status')}, {state.get('error')}") from None
    say(f"{hostname}: its own certificate is served ({time.monotonic() - began:.1f} s)")


def onboard(stack: Stack, say: Callable[[str], None]) -> None:
    """Domains, hostnames and people in Modoboa; then certificates on the wire; then the brands."""
    wait_served(stack, PRIMARY, say)
    for tenant in TENANTS:
        modoboa.onboard(
            stack.modoboa_instance, tenant.hostname, tenant.domain, tenant.user, PASSWORD
        )
        say(f"Modoboa: domain {tenant.domain} linked to {tenant.hostname}, user {tenant.user}")
    for tenant in TENANTS:
        wait_served(stack, tenant.hostname, say)
        dress(stack, tenant)
        say(f"{tenant.hostname}: five colours and three logos")
