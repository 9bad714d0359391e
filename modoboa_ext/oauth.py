"""The rule at the OAuth endpoints: for every client, every grant, every kind of token, every redirect."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from jwcrypto.common import JWException
from jwcrypto.jws import JWS
from modoboa.lib.signals import get_request
from oauth2_provider.models import get_access_token_model, get_grant_model, get_id_token_model
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauthlib.oauth2 import AccessDeniedError

from modoboa_ext import arrival, hosts, people
from modoboa_ext.isolation import REFUSAL

FRONTEND = "modoboa_frontend"
NO_ID_TOKEN = (
    JWException,
    ValidationError,
    ValueError,
    TypeError,
    KeyError,
    RecursionError,
    get_id_token_model().DoesNotExist,
)


def is_frontend_of(application: Any) -> bool:
    """Whether this is the application that Modoboa's single-page frontend uses (nobody's own)."""
    return application.name == FRONTEND and application.user_id is None


def serves_the_installation(application: Any) -> bool:
    """Whether this client (None: there is none) may do anything: it is nobody's own, or a super administrator's.

    Modoboa tells Radicale and Dovecot by the application's name, which anybody may choose; and what a
    person signs in to at one host, another person's application would carry anywhere.
    """
    if application is None:
        return False
    owner = application.user
    return owner is None or (owner.is_active and owner.is_superuser)


def may_use(user: Any) -> bool:
    """Whether `user` may act at the host of the current request; None is a client of its own.

    PeopleUnreadable where it cannot be known.
    """
    request = get_request()
    if user is None or request is None:
        return request is not None
    return people.may_be_at(user, hosts.of(request))


def origin_to_bind(user: Any) -> list[str]:
    """The origin that a code or token handed out now is good for, as its resource; empty when it is not bound."""
    request = get_request()
    if request is None or user is None or user.is_superuser or not hosts.of(request).is_tenant:
        return []
    return [f"https://{request.get_host()}"]


def counts_here(resource: list[str]) -> bool:
    """Whether what names these as its resource (RFC 8707) may be exchanged at the host of the current request."""
    request = get_request()
    names = [urlsplit(uri).hostname for uri in resource]
    return not names or (request is not None and hosts.of(request).name in names)


def absolute(uri: str) -> str:
    """The URI of the current request without its query, whatever part of it the library kept."""
    request = get_request()
    return request.build_absolute_uri(uri).split("?")[0] if request is not None else uri


class TenantValidator(OAuth2Validator):
    """Modoboa's validator, asked about hosts.

    A code or token handed out at a tenant's host names that origin as its resource (RFC 8707), which is
    looked at where it is exchanged or used; the rule is asked again at each issue, refresh and use.
    """

    def _load_application(self, client_id: str, request: Any) -> Any:
        """The client of any endpoint (RFC 6749 §2.2); None where it is somebody's own."""
        found = super()._load_application(client_id, request)
        if not serves_the_installation(found):
            found = request.client = None
        return found

    def validate_redirect_uri(
        self, client_id: str, redirect_uri: str, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        """At a live host, Modoboa's frontend returns to that host and nowhere else."""
        current = get_request()
        if current is not None and hosts.of(current).is_tenant and is_frontend_of(request.client):
            return redirect_uri == f"https://{current.get_host()}/login/logged"
        return super().validate_redirect_uri(client_id, redirect_uri, request, *args, **kwargs)

    def save_authorization_code(
        self, client_id: str, code: Any, request: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Bind the code (RFC 6749 §4.1.2) that is being issued to this host."""
        asked_for = getattr(request, "resource", [])
        request.resource = origin_to_bind(request.user) or asked_for
        super().save_authorization_code(client_id, code, request, *args, **kwargs)

    def confirm_redirect_uri(
        self, client_id: str, code: str, redirect_uri: str, client: Any, request: Any
    ) -> bool:
        """A code (RFC 6749 §4.1.3) is exchanged with the URI it was asked for with, at the host it is bound to."""
        grant = get_grant_model().objects.get(code=code, application=client)
        return grant.redirect_uri_allowed(redirect_uri) and counts_here(grant.resource)

    def save_bearer_token(self, token: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Issue of any grant. AccessDeniedError (RFC 6749 §4.1.2.1) for someone else's people."""
        alone = request.grant_type == "client_credentials"
        if not alone and (request.user is None or not may_use(request.user)):
            raise AccessDeniedError(description=REFUSAL, request=request, status_code=400)
        return super().save_bearer_token(token, request, *args, **kwargs)

    def _check_and_set_request_resource(self, request: Any) -> None:
        """Bind the token that is being issued to this host."""
        super()._check_and_set_request_resource(request)
        if request.grant_type != "client_credentials":
            request.resource = origin_to_bind(request.user) or request.resource

    def validate_user(
        self, username: str, password: str, client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        """The password grant (RFC 6749 §4.3): someone else's people have no right password here."""
        found = super().validate_user(username, password, client, request, *args, **kwargs)
        return found and may_use(request.user)

    def validate_refresh_token(
        self, refresh_token: str, client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        """The refresh grant (RFC 6749 §6): the token must be good at this host."""
        found = super().validate_refresh_token(refresh_token, client, request, *args, **kwargs)
        return found and counts_here(request.refresh_token_instance.resource)

    def validate_bearer_token(self, token: str, scopes: Any, request: Any) -> bool:
        """An access token in use (RFC 6750); the userinfo endpoint says only a path of itself."""
        request.uri = absolute(request.uri)
        if not super().validate_bearer_token(token, scopes, request):
            return False
        return serves_the_installation(request.client) and may_use(request.user)

    def _load_access_token(self, token: str) -> Any:
        """The token with its application's owner, by one query."""
        tokens = get_access_token_model().objects.select_related("application__user", "user")
        return tokens.filter(token_checksum=arrival.checksum(token)).first()

    def validate_id_token(self, token: str, scopes: Any, request: Any) -> bool:
        """An id_token in use as a bearer token, which the library accepts.

        Only the frontend's, and as long and where as the access token that it was issued with.
        """
        if not super().validate_id_token(token, scopes, request):
            return False
        if not is_frontend_of(request.client) or not may_use(request.user):
            return False
        beside = get_access_token_model().objects.filter(id_token=request.access_token).first()
        return beside is not None and not beside.is_expired() and counts_here(beside.resource)

    def _get_key_for_token(self, token: str) -> Any:
        """The key of the application that an id_token was issued to, by its `jti`; None where there is none.

        The library asks for the key of whichever application the token names as its `aud`, and then
        looks only at the `jti`: whoever has an application could speak for anybody.
        """
        try:
            said = JWS()
            said.deserialize(token)
            jti = json.loads(said.objects["payload"])["jti"]
            tokens = get_id_token_model().objects.select_related("application")
            return tokens.get(jti=jti, application__isnull=False).application.jwk_key
        except NO_ID_TOKEN:
            return None
