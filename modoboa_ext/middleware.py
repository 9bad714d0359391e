"""The rule on every request: what host this is, before anything else; and whether this person may be here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth import SESSION_KEY, get_user, logout
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import DisallowedHost
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.utils.functional import SimpleLazyObject

from modoboa_ext import arrival, hosts, people, replaced
from modoboa_ext.allowed_hosts import asked
from modoboa_ext.isolation import REFUSAL, may_carry

BORN_AT = "virtual_host"
UNREADABLE = "The virtual hosts cannot be read from the database right now, try again."

Answer = Callable[[HttpRequest], HttpResponse]


class HostMiddleware:
    """First of all: the one spelling of the Host, and `request.virtual_host`, what that host is."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer 400 for a host that is not live, 503 where that cannot be read."""
        name = spell(request)
        token = asked.set(name)
        try:
            request.virtual_host = arrival.host(name, request)
        except DatabaseError:
            asked.reset(token)
            return unreadable()
        try:
            if request.virtual_host.kind not in ("primary", "tenant"):
                raise DisallowedHost(f"{name!r} is not served here")
            return self.get_response(request)
        finally:
            asked.reset(token)


def spell(request: HttpRequest) -> str:
    """Write the Host canonically into the request (the port only where it is not 443); its name."""
    name, port = hosts.normalise(request.META.get("HTTP_HOST") or request.META["SERVER_NAME"])
    request.META.pop("HTTP_X_FORWARDED_HOST", None)
    if "HTTP_HOST" in request.META:
        shown = port and not (port == "443" and request.is_secure())
        request.META["HTTP_HOST"] = f"{name}:{port}" if shown else name
    return name


class IsolationMiddleware:
    """Last of all: nobody acts, or keeps a session, at a host they may not enter.

    1. Whoever asks who the session's user is, learns of nobody, and the session is flushed, when
       that user may not be here. A request that never asks costs nothing.
    2. After the view, whoever signed in during it (password, 2FA, FIDO, anything to come) is judged
       again; the new session is bound to this host.
    3. Where it cannot be known who may be here, the answer is 503: nobody acts, no session ends or begins.
    """

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Judge, answer, judge again."""
        arrival.hand_over(request)
        user = request.user
        request.user = SimpleLazyObject(lambda: judged(request, user))
        response = self.get_response(request)
        if not request.session.modified or SESSION_KEY not in request.session:
            return response
        try:
            return response if welcome(request, get_user(request)) else refuse(request, response)
        except people.PeopleUnreadable:
            return unreadable()

    def process_view(
        self, request: HttpRequest, view: Any, args: Any, kwargs: Any
    ) -> HttpResponse | None:
        """Give way to our own view where Modoboa's knows nothing of hosts."""
        try:
            return replaced.answer(request, view, args, kwargs)
        except people.PeopleUnreadable:
            return unreadable()

    def process_exception(self, request: HttpRequest, fault: Exception) -> HttpResponse | None:
        """A view that asked who may be here, and could not be told, answers nothing else."""
        return unreadable() if isinstance(fault, people.PeopleUnreadable) else None


def judged(request: HttpRequest, user: Any) -> Any:
    """`user` where they may be here, else nobody; then their session ends."""
    if not user.is_authenticated:
        return user._wrapped if isinstance(user, SimpleLazyObject) else user
    if not welcome(request, user):
        request.session.flush()
        return AnonymousUser()
    return user


def welcome(request: HttpRequest, user: Any) -> bool:
    """Whether `user` may be served at this host with this session; PeopleUnreadable where it cannot be known."""
    host = hosts.of(request)
    if not people.may_be_at(user, host):
        return False
    born_at = request.session.get(BORN_AT)
    return may_carry(born_at, user.is_superuser, host, hosts.primary_hostname())


def unreadable() -> HttpResponse:
    """503, with which Django also saves nothing into the session: a new one does not begin."""
    return HttpResponse(UNREADABLE, status=503, content_type="text/plain")


def refuse(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """End the session; 403 for a script that waits for JSON, the login page for a person."""
    logout(request)
    if response.headers.get("Content-Type", "").startswith("application/json"):
        return JsonResponse({"detail": REFUSAL, "code": "virtual_host"}, status=403)
    return HttpResponseRedirect(reverse("core:login"))
