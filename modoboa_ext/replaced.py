"""The views of Modoboa and its OAuth library that must know of hosts, and what answers in their place."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from modoboa.core import forms
from modoboa.core.models import User
from modoboa.core.views.auth import (
    PasswordResetConfirmView,
    PasswordResetView,
    ResendSMSCodeView,
    VerifySMSCodeView,
)
from oauth2_provider.exceptions import InvalidOIDCClientError
from oauth2_provider.models import get_access_token_model
from oauth2_provider.views import IntrospectTokenView, RPInitiatedLogoutView

from modoboa_ext import arrival, hosts, people
from modoboa_ext.oauth import is_frontend_of, serves_the_installation

APPLICATIONS = ("/api/o/applications/", "/api/o/register/")
NOT_AT_A_TENANTS_HOST = (
    *APPLICATIONS,
    "/api/o/authorized_tokens/",
    "/api/o/device",
    "/api/o/introspect/",
)


class TenantLogoutView(RPInitiatedLogoutView):
    """Logout that may return to the live host it was asked on."""

    def validate_post_logout_redirect_uri(
        self, application: Any, post_logout_redirect_uri: str
    ) -> None:
        """Accept `https://<this host>` for Modoboa's own frontend; the registered list otherwise."""
        host = hosts.of(self.request)
        mine = f"https://{self.request.get_host()}"
        if application is not None and not serves_the_installation(application):
            raise InvalidOIDCClientError
        ours = host.is_tenant and application is not None and is_frontend_of(application)
        if ours and (post_logout_redirect_uri or mine).rstrip("/") == mine:
            return
        super().validate_post_logout_redirect_uri(application, post_logout_redirect_uri)


class TenantIntrospectTokenView(IntrospectTokenView):
    """What programs as Dovecot are told of a token (RFC 7662): it is active while its owner may use it."""

    def verify_request(self, request: HttpRequest) -> tuple[bool, Any]:
        """Who asks with a token, asks with one of a client of its own."""
        valid, asked = super().verify_request(request)
        return valid and asked.user is None, asked

    @staticmethod
    def get_token_response(token_value: str | None = None) -> HttpResponse:
        """`{"active": false}` for what counts nowhere, else the library's answer."""
        tokens = get_access_token_model().objects.select_related("application__user", "user")
        found = tokens.filter(token_checksum=arrival.checksum(token_value or "")).first()
        if found is not None and not counts_somewhere(found):
            return JsonResponse({"active": False})
        return IntrospectTokenView.get_token_response(token_value)


def counts_somewhere(token: Any) -> bool:
    """Whether an access token's application may act, and its owner at the host that the token is bound to."""
    if not serves_the_installation(token.application):
        return False
    if token.user is None:
        return True
    bound_to = [hosts.lookup(urlsplit(uri).hostname or "") for uri in token.resource]
    return token.user.is_active and all(people.may_be_at(token.user, host) for host in bound_to)


class TenantPasswordResetForm(forms.PasswordResetForm):
    """Writes only to people of the host, and names that host in the link."""

    request: HttpRequest

    def save(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        """Send the mails; nothing tells the visitor whether there was anyone to write to."""
        self.request = request
        if hosts.of(request).is_tenant:
            kwargs["domain_override"] = request.get_host()
        super().save(*args, request=request, **kwargs)

    def get_users(self, email: str) -> list[Any]:
        """Those with this address who may enter here."""
        host = hosts.of(self.request)
        found = super().get_users(email)
        return [user for user in found if people.may_be_at(user, host)]


class TenantPasswordResetView(PasswordResetView):
    """Asking for a new password at a tenant's host."""

    form_class = TenantPasswordResetForm

    def form_valid(self, form: TenantPasswordResetForm) -> HttpResponse:
        """A code goes by SMS only where all with this address are of this host; else by mail, to those."""
        host = hosts.of(self.request)
        asked_for = User.objects.filter(email__iexact=form.cleaned_data["email"], is_active=True)
        if all(people.may_be_at(user, host) for user in asked_for):
            return super().form_valid(form)
        return super(PasswordResetView, self).form_valid(form)


class TenantPasswordResetConfirmView(PasswordResetConfirmView):
    """A link from the mail counts only where its owner may enter."""

    def get_user(self, uidb64: str) -> Any:
        """The owner of the link, None (an invalid link) at someone else's host."""
        user = super().get_user(uidb64)
        host = hosts.of(self.request)
        return user if user and people.may_be_at(user, host) else None


REPLACED = {
    IntrospectTokenView: TenantIntrospectTokenView.as_view(),
    RPInitiatedLogoutView: TenantLogoutView.as_view(),
    PasswordResetView: TenantPasswordResetView.as_view(),
    PasswordResetConfirmView: TenantPasswordResetConfirmView.as_view(),
}


BY_SMS = (ResendSMSCodeView, VerifySMSCodeView)


def recovers_here(request: HttpRequest) -> bool:
    """Whether the person that a code went to by SMS may enter at this host."""
    host = hosts.of(request)
    user = User.objects.filter(pk=request.session.get("user_pk")).first()
    return user is None or people.may_be_at(user, host)


def is_closed(request: HttpRequest) -> bool:
    """Whether this address is not for whoever asks: applications are made by super administrators alone."""
    if hosts.of(request).is_tenant:
        return request.path_info.startswith(NOT_AT_A_TENANTS_HOST)
    if not request.path_info.startswith(APPLICATIONS) or not request.user.is_authenticated:
        return False
    return not request.user.is_superuser


def answer(request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
    """The answer of the view that stands in for `view`, None where `view` itself is right."""
    if is_closed(request):
        raise Http404("This address belongs to those who run the installation")
    kind = getattr(view, "view_class", None)
    if kind in BY_SMS and not recovers_here(request):
        raise Http404("The code went to someone of another host")
    instead = REPLACED.get(kind)
    return transaction.atomic(instead)(request, *args, **kwargs) if instead else None
