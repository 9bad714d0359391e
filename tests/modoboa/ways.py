"""Every way into Modoboa, each as real requests: what is issued at one host, and whether it counts at another."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from django.core import mail
from django.test import Client
from django_otp.oath import totp
from django_otp.plugins.otp_totp.models import TOTPDevice
from fido2.cose import ES256
from fido2.utils import websafe_encode
from fido2.webauthn import AttestedCredentialData, AuthenticatorData, CollectedClientData
from modoboa.core.models import UserFidoKey
from rest_framework.authtoken.models import Token

from tests.modoboa.town import PRIMARY, browser, sign_in

VERIFIER = "a-code-verifier-that-is-long-enough-for-pkce-0123456789"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=")
SESSION = "sessionid"


def canonical(host: str) -> str:
    """The origin's name that a browser would show for a Host header spelled like this."""
    name, _, port = host.partition(":")
    name = name.lower().removesuffix(".")
    return name if port in ("", "443") else f"{name}:{port}"


def authorize(client: Client, host: str, redirect_host: str | None = None) -> str | None:
    """Ask for a code as Modoboa's frontend does; the code, or None where it is refused."""
    query = {
        "client_id": "frontend",
        "redirect_uri": f"https://{canonical(redirect_host or host)}/login/logged",
        "response_type": "code",
        "scope": "openid read write",
        "state": "s",
        "code_challenge": CHALLENGE.decode(),
        "code_challenge_method": "S256",
    }
    answer = client.get("/api/o/authorize/?" + urlencode(query), secure=True)
    if answer.status_code != 302:
        return None
    return parse_qs(urlsplit(answer["Location"]).query).get("code", [None])[0]


def exchange(client: Client, code: str, redirect_host: str) -> dict[str, Any] | None:
    """Exchange a code; the tokens, or None where it is refused."""
    form = {
        "grant_type": "authorization_code",
        "client_id": "frontend",
        "code": code,
        "redirect_uri": f"https://{canonical(redirect_host)}/login/logged",
        "code_verifier": VERIFIER,
    }
    return tokens(client, form)


def tokens(client: Client, form: dict[str, Any]) -> dict[str, Any] | None:
    """What the token endpoint issues, None where it refuses; anything but 200, 400, 401 is a fault."""
    answer = post_form(client, "/api/o/token/", form)
    assert answer.status_code in (200, 400, 401, 403), (answer.status_code, answer.content)
    return answer.json() if answer.status_code == 200 else None


def post_form(client: Client, path: str, form: dict[str, Any]) -> Any:
    """Post a form in the encoding that OAuth asks for."""
    kind = "application/x-www-form-urlencoded"
    return client.post(path, urlencode(form), content_type=kind, secure=True)


def bearer_counts(host: str, token: str, path: str = "/api/v2/account/me/") -> bool:
    """Whether the API knows whoever carries `token` at `host`."""
    answer = browser(host, authorization=f"Bearer {token}").get(path, secure=True)
    assert answer.status_code in (200, 400, 401, 403), answer.status_code
    return answer.status_code == 200


def signed_in(host: str, user: Any) -> Client:
    """A browser in which `user` has just posted the login form at `host`."""
    client = browser(host)
    sign_in(client, user)
    return client


def carried(client: Client, host: str) -> Client:
    """Another browser, at `host`, with the first one's session cookie."""
    other = browser(host)
    if SESSION in client.cookies:
        other.cookies[SESSION] = client.cookies[SESSION].value
    return other


def issued(host: str, user: Any) -> dict[str, Any]:
    """Tokens for `user`, by the whole code flow at `host`."""
    code = authorize(signed_in(host, user), host)
    granted = exchange(browser(host), code or "", host)
    assert granted is not None, f"{user} got no token at {host}"
    return granted


def held(host: str, user: Any) -> dict[str, Any]:
    """The tokens `user` holds from `host`; issued once for a test, which has its own user objects."""
    pocket = user.__dict__.setdefault("tokens_held", {})
    if host not in pocket:
        pocket[host] = issued(host, user)
    return pocket[host]


class Way:
    """One way in. `prepare(user)` gets what can be had beforehand; `enters(host)` tries it there."""

    born_at: str | None = None

    def __init__(self, user: Any, born_at: str = PRIMARY) -> None:
        self.user = user
        self.home = born_at
        self.prepare()

    def prepare(self) -> None:
        """Nothing to get beforehand."""

    def enters(self, host: str) -> bool:
        """Whether it opens at `host`."""
        raise NotImplementedError


class PasswordForm(Way):
    """The login form, then a code for the single-page application."""

    def enters(self, host: str) -> bool:
        return authorize(signed_in(host, self.user), host) is not None


class SessionReplay(Way):
    """A session cookie from elsewhere; a wrong host ends the session, so each try has its own."""

    def prepare(self) -> None:
        self.client = signed_in(self.home, self.user)

    def enters(self, host: str) -> bool:
        entered = authorize(carried(self.client, host), host) is not None
        if not entered and self.user.is_active:
            self.prepare()
        return entered


class SessionAtApplications(SessionReplay):
    """A session cookie from elsewhere, at the page where applications are made."""

    def enters(self, host: str) -> bool:
        page = carried(self.client, host).get("/api/o/applications/", secure=True)
        return page.status_code == 200


class CodeExchange(Way):
    """A code from elsewhere, exchanged here; each counts once."""

    def prepare(self) -> None:
        self.client = signed_in(self.home, self.user)
        self.code = authorize(self.client, self.home) or ""

    def enters(self, host: str) -> bool:
        entered = exchange(browser(host), self.code, self.home) is not None
        if entered:
            self.code = authorize(self.client, self.home) or ""
        return entered


class AuthorizeForElsewhere(Way):
    """Signed in at the primary hostname, asking for the code to be sent to another host."""

    def prepare(self) -> None:
        self.client = signed_in(self.home, self.user)

    def enters(self, host: str) -> bool:
        return authorize(self.client, self.home, host) is not None


class Bearer(Way):
    """An access token from elsewhere."""

    def prepare(self) -> None:
        self.token = held(self.home, self.user)["access_token"]

    def enters(self, host: str) -> bool:
        return bearer_counts(host, self.token)


class UserInfo(Bearer):
    """An access token from elsewhere, at the OpenID endpoint."""

    def enters(self, host: str) -> bool:
        return bearer_counts(host, self.token, "/api/o/userinfo/")


class IdToken(Way):
    """An id_token from elsewhere, which the OAuth library takes for a bearer token."""

    def prepare(self) -> None:
        self.token = held(self.home, self.user)["id_token"]

    def enters(self, host: str) -> bool:
        return bearer_counts(host, self.token)


class Refresh(Way):
    """A refresh token from elsewhere; each counts once."""

    def prepare(self) -> None:
        self.token = issued(self.home, self.user)["refresh_token"]

    def enters(self, host: str) -> bool:
        form = {"grant_type": "refresh_token", "client_id": "frontend"}
        entered = tokens(browser(host), {**form, "refresh_token": self.token}) is not None
        if entered:
            self.prepare()
        return entered


class ApiToken(Way):
    """`Authorization: Token …`."""

    def prepare(self) -> None:
        self.key = Token.objects.get_or_create(user=self.user)[0].key

    def enters(self, host: str) -> bool:
        client = browser(host, authorization=f"Token {self.key}")
        return client.get("/api/v2/account/me/", secure=True).status_code == 200


class SecondFactorElsewhere(Way):
    """The password at the primary hostname, the second factor here."""

    def prepare(self) -> None:
        self.device = TOTPDevice.objects.create(user=self.user, name="phone", confirmed=True)
        self.user.totp_enabled = True
        self.user.save()

    def first_step(self, host: str) -> Client:
        return signed_in(PRIMARY, self.user)

    def both_steps(self, host: str) -> tuple[Client, Any]:
        """The browser in which the second step was just made, and its answer."""
        client = carried(self.first_step(host), host)
        TOTPDevice.objects.filter(pk=self.device.pk).update(last_t=-1, throttling_failure_count=0)
        code = f"{totp(self.device.bin_key):06d}"
        return client, client.post("/accounts/2fa_verify/", {"tfa_code": code}, secure=True)

    def enters(self, host: str) -> bool:
        return authorize(self.both_steps(host)[0], host) is not None


class SecondFactorHere(SecondFactorElsewhere):
    """Both factors here."""

    def first_step(self, host: str) -> Client:
        return signed_in(host, self.user)


class SecurityKeyElsewhere(Way):
    """The password at the primary hostname, a security key (WebAuthn) here; the key signs for any host."""

    ID = b"a security key's credential"

    def prepare(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        public = ES256.from_cryptography_key(self.key.public_key())
        credential = AttestedCredentialData.create(bytes(16), self.ID, public)
        UserFidoKey.objects.create(
            user=self.user, name="key", credential_data=websafe_encode(credential)
        )
        self.user.webauthn_enabled = True
        self.user.save()

    def both_steps(self, host: str) -> tuple[Client, Any]:
        """The browser in which the second step was just made, and its answer."""
        client = carried(signed_in(PRIMARY, self.user), host)
        begun = client.post("/accounts/fido/authenticate/begin", secure=True)
        if begun.status_code != 200:
            return client, begun
        name = canonical(host).partition(":")[0]
        said = self.answer(name, begun.json()["publicKey"]["challenge"])
        path, kind = "/accounts/fido/authenticate/end", "application/json"
        return client, client.post(path, said, content_type=kind, secure=True)

    def enters(self, host: str) -> bool:
        return authorize(self.both_steps(host)[0], host) is not None

    def answer(self, name: str, challenge: str) -> dict[str, Any]:
        """What the browser sends for the key's signature (WebAuthn §7.2)."""
        origin = f"https://{name}"
        said = CollectedClientData.create(CollectedClientData.TYPE.GET, challenge, origin)
        data = AuthenticatorData.create(
            hashlib.sha256(name.encode()).digest(), AuthenticatorData.FLAG.UP, 1
        )
        signature = self.key.sign(bytes(data) + said.hash, ec.ECDSA(hashes.SHA256()))
        response = {"clientDataJSON": said, "authenticatorData": data, "signature": signature}
        return {
            "authenticatorAttachment": "cross-platform",
            "clientExtensionResults": {},
            "id": websafe_encode(self.ID),
            "rawId": websafe_encode(self.ID),
            "response": {name: websafe_encode(bytes(value)) for name, value in response.items()},
            "type": "public-key",
        }


class ResetMail(Way):
    """Asking for a new password: someone is written to, and the link names this host."""

    def enters(self, host: str) -> bool:
        mail.outbox.clear()
        form = {"email": self.user.email}
        answer = browser(host).post("/accounts/password_reset/", form, secure=True)
        if answer.status_code == 400:
            return False
        assert answer["Location"] == "/accounts/password_reset/done/"
        return bool(mail.outbox)


class ResetLink(Way):
    """A link from a mail that was asked for at the primary hostname, opened here."""

    def prepare(self) -> None:
        mail.outbox.clear()
        form = {"email": self.user.email}
        browser(PRIMARY).post("/accounts/password_reset/", form, secure=True)
        self.link = re.search(r"/reset/[^/]+/[^/\s]+/", mail.outbox[0].body)[0]

    def enters(self, host: str) -> bool:
        return browser(host).get(self.link, secure=True).status_code == 302
