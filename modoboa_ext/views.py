"""/api/v2/virtualhosts/ and /api/v2/parameters/virtualhosts/: for super administrators only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import requests
from django.db import transaction
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, OpenApiTypes, extend_schema
from modoboa.lib.pagination import CustomPageNumberPagination
from modoboa.lib.permissions import IsSuperUser
from modoboa.lib.throttle import UserLesserDdosUser
from modoboa.parameters import tools as parameters
from rest_framework import filters, mixins, parsers, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, NotFound
from rest_framework.generics import get_object_or_404
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from modoboa_ext import licence, listing, mirror, sync, theme
from modoboa_ext import serializers as shapes
from modoboa_ext.control_plane import ControlPlane, ControlPlaneError, connect, host_path
from modoboa_ext.models import VirtualHost

AUTHORITY_SECONDS = 60.0
"""How long the control plane may take to try a certificate authority, which may be slow to say no."""


class Failure(APIException):
    """An answer with a sentence and, where there are any, faults by field."""

    def __init__(self, status: int, detail: str, code: str = "error", errors: Any = None) -> None:
        self.status_code = status
        body = {"detail": detail, "code": code, **({"errors": errors} if errors else {})}
        super().__init__(body, code)


class Guarded(APIView):
    """Super administrators, on v2, of an installation that needs no licence or has registered."""

    permission_classes = (IsAuthenticated, IsSuperUser)
    throttle_classes = (UserLesserDdosUser,)
    licensed = True

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse v1, then whoever may not, then who must register first."""
        super().initial(request, *args, **kwargs)
        if request.version != "v2":
            raise NotFound
        if self.licensed:
            licence.require()

    def handle_exception(self, problem: Exception) -> Response:
        """The control plane's refusal is ours; its absence is 503 with a sentence."""
        if isinstance(problem, ControlPlaneError):
            errors = problem.errors or {}
            by_field = errors.get("json", errors) if isinstance(errors, dict) else errors
            problem = Failure(problem.status, problem.message, "control_plane", by_field)
        return super().handle_exception(problem)


class Page(CustomPageNumberPagination):
    """Modoboa's pages, and since when and why the status is out of date where it cannot be asked for."""

    page_size = 25
    max_page_size = 100
    staleness = mirror.staleness(None, ())

    def get_paginated_response(self, data: Any) -> Response:
        """The page with `stale_since`, the time of the oldest answer shown, and `stale_because`; else nulls."""
        answer = super().get_paginated_response(data)
        answer.data.update(self.staleness)
        return answer

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The same for the OpenAPI document."""
        shape = super().get_paginated_response_schema(schema)
        stale = {"type": "string", "format": "date-time", "nullable": True}
        shape["properties"]["stale_since"] = stale
        shape["properties"]["stale_because"] = {"type": "string", "nullable": True}
        return shape


class VirtualHostViewSet(
    Guarded,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet,
):
    """Virtual hosts. They are made and linked by the field `virtual_host` of a domain."""

    serializer_class = shapes.VirtualHostSerializer
    pagination_class = Page
    lookup_value_regex = "[0-9]+"
    filter_backends = (filters.SearchFilter, filters.OrderingFilter)
    search_fields = ("name", "links__domain__name")
    ordering_fields = ("name", "creation", "provisioning_status", "certificate_valid_until")
    ordering = ("name",)

    def get_queryset(self) -> Any:
        """Everything but tombstones; `?status=` narrows."""
        hosts = VirtualHost.objects.present().with_domains()
        return listing.narrowed(hosts, self.request.query_params.get("status"), timezone.now())

    @extend_schema(
        parameters=[
            OpenApiParameter("status", OpenApiTypes.STR, enum=listing.FILTERS),
        ]
    )
    def list(self, request: Request) -> Response:
        """List virtual hosts; `?search=` in hostnames and domains, `?ordering=` failed ones or early ends first.

        A host without a certificate comes before those with one; equals are told by name.
        """
        hosts = self.get_queryset().annotate(
            provisioning_status=listing.URGENCY, certificate_valid_until=listing.ENDS
        )
        hosts = self.filter_queryset(hosts)
        page = self.paginate_queryset(hosts.order_by(*hosts.query.order_by, "name"))
        self.paginator.staleness = mirror.staleness(mirror.refresh(page), page)
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(responses=shapes.VirtualHostDetailSerializer)
    def retrieve(self, request: Request, pk: str) -> Response:
        """Show one with its step, error, certificate and edges."""
        return current(self.get_object(), shapes.VirtualHostDetailSerializer)

    def perform_destroy(self, host: VirtualHost) -> None:
        """Delete it; its domains stay, without a hostname."""
        with transaction.atomic():
            self.locked(host.pk).bury(timezone.now())

    def locked(self, pk: str | int) -> VirtualHost:
        """The row, locked; 404 where somebody else has just deleted it."""
        return get_object_or_404(VirtualHost.objects.present().select_for_update(), pk=pk)

    @extend_schema(responses=shapes.CurrentHostSerializer)
    @action(methods=["get"], detail=False, url_path=r"for_domain/(?P<domain>[0-9]{1,18})")
    def for_domain(self, request: Request, domain: str) -> Response:
        """Show the virtual host that a domain is linked to."""
        host = self.get_queryset().filter(links__domain_id=domain).first()
        if host is None:
            raise NotFound("This domain has no virtual host.")
        return current(host, shapes.CurrentHostSerializer)

    @extend_schema(request=shapes.StateSerializer, responses=shapes.VirtualHostSerializer)
    @action(methods=["post"], detail=True)
    def set_state(self, request: Request, pk: str) -> Response:
        """Enable or disable it; a disabled one lets nobody in and keeps its certificate alive."""
        given = shapes.StateSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        self.get_object()
        with transaction.atomic():
            host = self.locked(pk)
            if host.enabled != given.validated_data["enabled"]:
                host.change(enabled=given.validated_data["enabled"])
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(request=None, responses=shapes.VirtualHostSerializer)
    @action(methods=["post"], detail=True)
    def retry_provisioning(self, request: Request, pk: str) -> Response:
        """Try a failed one again now; 409 unless it failed."""
        host = self.get_object()
        mirror.refresh([host])
        if host.status != "failed":
            raise Failure(409, f"{host.name} has not failed: it is {host.status}.", "not_failed")
        if host.confirmed:
            mirror.note(host, connect().part("POST", host.name, "retry"))
        else:
            host.supersede()
            sync.push(host, connect())
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(request=None, responses=shapes.VirtualHostSerializer)
    @action(methods=["post"], detail=True)
    def renew(self, request: Request, pk: str) -> Response:
        """Issue its certificate again now, as far as the authority's limits allow."""
        mirror.note(self.get_object(), self.ask("POST", "renew"))
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(
        methods=["put"], request=shapes.CertificateSerializer, responses=OpenApiTypes.OBJECT
    )
    @extend_schema(methods=["delete"], request=None, responses=OpenApiTypes.OBJECT)
    @action(methods=["put", "delete"], detail=True)
    def certificate(self, request: Request, pk: str) -> Response:
        """Use a certificate of one's own, or go back to the authority's."""
        body = None
        if request.method == "PUT":
            given = shapes.CertificateSerializer(data=request.data)
            given.is_valid(raise_exception=True)
            body = given.validated_data
        answer = self.ask(request.method, "certificate", **({"json": body} if body else {}))
        return Response(answer, status=200 if answer else 204)

    @extend_schema(methods=["get"], responses=shapes.ThemeAnswerSerializer)
    @extend_schema(
        methods=["put"], request=shapes.ThemeSerializer, responses=shapes.ThemeAnswerSerializer
    )
    @action(methods=["get", "put"], detail=True)
    def theme(self, request: Request, pk: str) -> Response:
        """Show or change the colours; what is left out stays. With If-Match: 412 if others changed them meanwhile."""
        if request.method == "GET":
            return versioned(self.exchange("GET", "theme"), shown)
        given = shapes.ThemeSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        colours = theme.to_control_plane(given.validated_data)
        answer = self.exchange("PATCH", "theme", json=colours, headers=seen(request))
        return versioned(answer, shown)

    @extend_schema(
        methods=["post"], request=shapes.LogoSerializer, responses=shapes.ThemeAnswerSerializer
    )
    @extend_schema(
        methods=["delete"],
        request=None,
        responses={204: None},
        parameters=[OpenApiParameter("logo_type", enum=shapes.LOGO_TYPES, required=True)],
    )
    @action(methods=["post", "delete"], detail=True, parser_classes=[parsers.MultiPartParser])
    def theme_logo(self, request: Request, pk: str) -> Response:
        """Send a logo (PNG, JPEG, WebP, GIF, at most 1 MB), or take one away."""
        if request.method == "DELETE":
            given = shapes.LogoTypeSerializer(data=request.query_params)
            given.is_valid(raise_exception=True)
            self.ask("DELETE", f"logos/{given.validated_data['logo_type']}")
            return Response(status=204)
        given = shapes.LogoSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        image, kind = given.validated_data["image"], given.validated_data["logo_type"]
        headers = {"Content-Type": "application/octet-stream"}
        answer = self.ask("PUT", f"logos/{kind}", data=image.read(), headers=headers)
        return Response(shown(answer))

    @extend_schema(responses=OpenApiTypes.OBJECT)
    @action(methods=["get"], detail=True)
    def events(self, request: Request, pk: str) -> Response:
        """What happened to it, newest first."""
        return Response(self.ask("GET", "events", params=request.query_params))

    @extend_schema(responses=OpenApiTypes.OBJECT)
    @action(methods=["get"], detail=True)
    def preflight(self, request: Request, pk: str) -> Response:
        """Whether issuance would succeed, and what to fix where not."""
        return Response(self.ask("GET", "preflight"))

    def ask(self, method: str, part: str, **options: Any) -> Any:
        """Ask the control plane for a part of this host; it is told of the host first if need be."""
        host, control = self.told()
        return control.part(method, host.name, part, **options)

    def exchange(self, method: str, part: str, **options: Any) -> requests.Response:
        """The same with the answer's headers."""
        host, control = self.told()
        return control.exchange(method, host_path(host.name, part), **options)

    def told(self) -> tuple[VirtualHost, ControlPlane]:
        """This host, and the control plane, which knows of it by now."""
        host, control = self.get_object(), connect()
        if not host.confirmed:
            sync.push(host, control)
        return host, control


def current(host: VirtualHost, shape: type[shapes.CurrentHostSerializer]) -> Response:
    """The host as it is now, or as last known with the reason why."""
    problem = mirror.refresh([host])
    return Response(shape(host, context=mirror.staleness(problem, [host])).data)


def seen(request: Request) -> dict[str, str]:
    """The header with which a change is refused if it is not made to what was seen."""
    known = request.headers.get("If-Match")
    return {"If-Match": known} if known else {}


def versioned(
    answer: requests.Response, shape: Callable[[dict[str, Any]], dict[str, Any]] = dict
) -> Response:
    """What the control plane shows, in our shape, with the ETag to send as If-Match."""
    tag = answer.headers.get("ETag")
    return Response(shape(answer.json()), headers={"ETag": tag} if tag else None)


def shown(given: dict[str, Any]) -> dict[str, Any]:
    """A theme as the API shows it, with the installation's own values beside it."""
    values = dict(parameters.get_global_parameters(app="core"))
    return theme.from_control_plane(given) | {
        "inherited": {name: values.get(name) for name in theme.RULES}
    }


class ActivationView(Guarded):
    """Register this installation with its licence server."""

    licensed = False

    @extend_schema(request=None, responses={204: None})
    def post(self, request: Request) -> Response:
        """Send the key once; 204 when registered, or when no licence is configured."""
        try:
            licence.register()
        except licence.NotRegistered as refusal:
            raise Failure(502, str(refusal), "not_registered") from refusal
        return Response(status=204)


class ParametersView(Guarded):
    """The parameters of the virtual hosts, kept by the control plane."""

    @extend_schema(responses=shapes.ParametersSerializer)
    def get(self, request: Request) -> Response:
        """Show what holds now."""
        return versioned(connect().exchange("GET", "/settings"))

    @extend_schema(request=shapes.ParametersSerializer, responses=shapes.ParametersSerializer)
    def put(self, request: Request) -> Response:
        """Change some; those left out stay. With If-Match: 412 if others changed some meanwhile."""
        given = shapes.ParametersSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        wanted = {
            name: None if value == "" else value for name, value in given.validated_data.items()
        }
        answer = connect().exchange("PUT", "/settings", json=wanted, headers=seen(request))
        return versioned(answer)


class AuthorityView(Guarded):
    """Try a certificate authority before it is saved."""

    @extend_schema(request=shapes.DirectorySerializer, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request) -> Response:
        """Whether its directory answers, whether it knows our account, and its terms of service."""
        given = shapes.DirectorySerializer(data=request.data)
        given.is_valid(raise_exception=True)
        patient = connect(AUTHORITY_SECONDS)
        return Response(patient.call("POST", "/settings/test", json=given.validated_data))
