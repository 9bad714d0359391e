"""The ways in by OAuth applications: the installation's, and those that people have of their own."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.utils import timezone
from jwcrypto.common import base64url_encode
from jwcrypto.jwk import JWK
from jwcrypto.jwt import JWT
from modoboa.core.models import User
from modoboa.lib.middleware import RequestCatcherMiddleware
from oauth2_provider.models import AccessToken, Application
from oauth2_provider.settings import oauth2_settings
from oauthlib.common import Request as OAuthRequest
from oauthlib.oauth2 import AccessDeniedError

from modoboa_ext import arrival
from modoboa_ext.middleware import HostMiddleware
from tests.modoboa.town import PASSWORD, browser
from tests.modoboa.ways import (
    CHALLENGE,
    VERIFIER,
    Bearer,
    Way,
    bearer_counts,
    canonical,
    held,
    signed_in,
    tokens,
)

SECRET = "a secret that its owner knows, and whoever the owner is"


def application(owner: Any, grant: str, **fields: str) -> str:
    """The client id of an OAuth application of `owner`'s; one of a plain person was there before the extension."""
    given = {"client_type": "public", "name": f"{grant} of {owner}", "client_secret": SECRET}
    given |= {"hash_client_secret": False, **fields}
    name = f"{grant.rpartition(':')[2]}-{owner.pk}-{len(given['name'])}"
    made, _ = Application.objects.get_or_create(
        client_id=name, defaults={"user": owner, "authorization_grant_type": grant, **given}
    )
    return made.client_id


def operators_application(grant: str, **fields: str) -> str:
    """The client id of an application that serves the installation: a super administrator made it."""
    return application(User.objects.get(username="admin"), grant, **fields)


class PasswordGrant(Way):
    """The password grant of an application of the installation."""

    def prepare(self) -> None:
        self.client_id = operators_application("password")

    def granted(self, host: str) -> dict[str, Any] | None:
        form = {"grant_type": "password", "client_id": self.client_id, "password": PASSWORD}
        return tokens(browser(host), {**form, "username": self.user.username})

    def enters(self, host: str) -> bool:
        return self.granted(host) is not None


class OwnPasswordGrant(PasswordGrant):
    """The password grant of an application of one's own."""

    def prepare(self) -> None:
        self.client_id = application(self.user, "password")


class OwnApplicationsToken(Bearer):
    """An access token that an application of one's own was given before the extension was there."""

    def prepare(self) -> None:
        made = Application.objects.get(client_id=application(self.user, "password"))
        self.token = secrets.token_hex(8)
        AccessToken.objects.create(
            user=self.user,
            application=made,
            token=self.token,
            scope="read write",
            expires=timezone.now() + timedelta(hours=1),
        )


class OwnRadicale(OwnPasswordGrant):
    """An application of one's own that calls itself Radicale, to which Modoboa tells everybody's rights."""

    def prepare(self) -> None:
        self.client_id = application(self.user, "password", name="Radicale")

    def enters(self, host: str) -> bool:
        found = self.granted(host)
        if found is None:
            return False
        client = browser(host, authorization=f"Bearer {found['access_token']}")
        path, asked = "/api/v2/calendar-rights/", {"user": "domainadmins"}
        answer = client.post(path, asked, content_type="application/json", secure=True)
        return answer.status_code == 200


class OwnRadicaleAlone(OwnRadicale):
    """The same, acting for itself and not for a person."""

    def prepare(self) -> None:
        kind = {"client_type": "confidential", "name": "Radicale"}
        self.client_id = application(self.user, "client-credentials", **kind)

    def granted(self, host: str) -> dict[str, Any] | None:
        form = {"grant_type": "client_credentials", "client_id": self.client_id}
        return tokens(browser(host), form | {"client_secret": SECRET})


class CodeOfAnApplication(Way):
    """A code that somebody signed in elsewhere gave an application of the installation, exchanged here."""

    SITE = "https://cloud.example/back"
    asks_also: dict[str, str] = {}

    def prepare(self) -> None:
        self.client = signed_in(self.home, self.user)
        self.client_id = self.known_as()

    def known_as(self) -> str:
        """The application's client id."""
        return operators_application("authorization-code", redirect_uris=self.SITE)

    def allowed(self, wanted: str = "code") -> str:
        """What comes back with the person's consent, nothing where the page is refused."""
        query = {
            "client_id": self.client_id,
            "redirect_uri": self.SITE,
            "response_type": "code",
            "scope": "read write",
            "code_challenge": CHALLENGE.decode(),
            "code_challenge_method": "S256",
            **self.asks_also,
        }
        path = "/api/o/authorize/?" + urlencode(query)
        answer = self.client.post(path, {**query, "allow": "Authorize"}, secure=True)
        if not answer.headers.get("Location", "").startswith(self.SITE):
            return ""
        back = urlsplit(answer["Location"])
        return parse_qs(back.query or back.fragment)[wanted][0]

    def enters(self, host: str) -> bool:
        form = {"grant_type": "authorization_code", "client_id": self.client_id}
        form |= {"code": self.allowed(), "redirect_uri": self.SITE, "code_verifier": VERIFIER}
        return tokens(browser(host), form) is not None


class CodeOfAnOwnApplication(CodeOfAnApplication):
    """The same with an application of one's own."""

    def known_as(self) -> str:
        return application(self.user, "authorization-code", redirect_uris=self.SITE)


class ImplicitToken(CodeOfAnApplication):
    """An access token that an application of the installation got at once (RFC 6749 §4.2)."""

    asks_also = {"response_type": "token"}

    def prepare(self) -> None:
        super().prepare()
        self.token = self.allowed("access_token")

    def known_as(self) -> str:
        return operators_application("implicit", redirect_uris=self.SITE)

    def enters(self, host: str) -> bool:
        return bearer_counts(host, self.token)


class ForgedIdToken(Way):
    """Somebody's id_token whose `jti` is known, signed with the secret of an application of one's own."""

    def prepare(self) -> None:
        self.jti = arrival.claims(held(self.home, self.user)["id_token"])["jti"]
        forger = User.objects.get(username="simpleusers@globex.test")
        self.client_id = application(forger, "authorization-code", name="forge", algorithm="HS256")

    def forged(self, host: str) -> str:
        """What the owner of the application may sign, as if issued at `host`."""
        said = {"aud": self.client_id, "iss": f"https://{canonical(host)}/api/o", "jti": self.jti}
        said |= {"sub": str(self.user.pk), "exp": int(timezone.now().timestamp()) + 3600}
        made = JWT(header={"alg": "HS256", "typ": "JWT"}, claims=said)
        made.make_signed_token(JWK(kty="oct", k=base64url_encode(SECRET)))
        return made.serialize()

    def enters(self, host: str) -> bool:
        return bearer_counts(host, self.forged(host))


class DeviceGrant(Way):
    """A device that polls here (RFC 8628) for somebody who has confirmed its code.

    In this pair of libraries (django-oauth-toolkit 3.4, oauthlib 4.0) the flow fails with 500 at both of
    its endpoints, for everybody; so the validator is asked as the endpoint would ask it.
    """

    GRANT = "urn:ietf:params:oauth:grant-type:device_code"

    def prepare(self) -> None:
        self.client_id = operators_application(self.GRANT)

    def enters(self, host: str) -> bool:
        request = RequestFactory(headers={"host": host}).post("/api/o/token/", secure=True)
        try:
            return HostMiddleware(RequestCatcherMiddleware(self.polled))(request).status_code == 200
        except DisallowedHost:
            return False

    def polled(self, request: HttpRequest) -> HttpResponse:
        """What becomes of a poll: the device's token is saved, or refused."""
        asked = OAuthRequest("/api/o/token/", "POST")
        asked.grant_type, asked.user = self.GRANT, self.user
        validator = oauth2_settings.OAUTH2_VALIDATOR_CLASS()
        validator.validate_client_id(self.client_id, asked)
        token = {"access_token": secrets.token_hex(8), "scope": "read", "expires_in": 60}
        try:
            validator.save_bearer_token(token, asked)
        except AccessDeniedError as refused:
            return HttpResponse(status=refused.status_code)
        return HttpResponse()
