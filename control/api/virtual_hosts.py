"""/virtualhosts: list, create, show, change, delete, retry, renew."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

from flask.views import MethodView
from flask_smorest import Blueprint
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session, selectinload

from control import registry
from control.api import represent
from control.api.context import plane, who
from control.api.schemas import (
    DeleteQuery,
    ForceSchema,
    HostPage,
    HostSchema,
    ListQuery,
    PatchQuery,
    PatchSchema,
    WaitQuery,
    WishSchema,
)
from control.models import Certificate, Domain, VirtualHost
from control.registry import UNSET, Wish

blueprint = Blueprint("virtual hosts", __name__, description="Hostnames and what is served there")

MOST_WAITING = 24
"""Requests that wait at a time; more are answered at once, so that others find a thread."""
_waiting = threading.BoundedSemaphore(MOST_WAITING)


@blueprint.route("/virtualhosts")
class Hosts(MethodView):
    """The list."""

    @blueprint.arguments(ListQuery, location="query")
    @blueprint.response(200, HostPage)
    def get(self, query: dict[str, Any]) -> dict[str, Any]:
        """List virtual hosts by hostname."""
        with plane().database.reading() as session:
            rows = session.scalars(
                select(VirtualHost)
                .options(selectinload(VirtualHost.domains))
                .where(VirtualHost.deleted_at.is_(None), *_filters(query))
                .order_by(VirtualHost.hostname)
                .limit(query["limit"] + 1)
            ).all()
        page, more = rows[: query["limit"]], len(rows) > query["limit"]
        edges = represent.live_edges(plane()) if page else ()
        addresses = plane().settings.edge_public_addresses
        items = [represent.listed(row, edges, addresses) for row in page]
        return {"items": items, "next": page[-1].hostname if more else None}


@blueprint.route("/virtualhosts/<hostname>")
class Host(MethodView):
    """One virtual host."""

    @blueprint.arguments(WaitQuery, location="query")
    @blueprint.response(200, HostSchema)
    @blueprint.alt_response(404, description="no such virtual host")
    def get(self, query: dict[str, Any], hostname: str) -> dict[str, Any]:
        """Show it; `?wait=` answers as soon as its status is not `pending`."""
        if query["wait"] and _waiting.acquire(blocking=False):
            try:
                _wait(hostname, query["wait"])
            finally:
                _waiting.release()
        return _show(hostname)

    @blueprint.arguments(ForceSchema, location="query")
    @blueprint.arguments(WishSchema)
    @blueprint.response(200, HostSchema)
    @blueprint.alt_response(201, schema=HostSchema, description="created")
    @blueprint.alt_response(409, description="another owner, a linked domain, an old generation")
    def put(self, query: dict[str, Any], wish: Wish, hostname: str) -> Any:
        """Create or update; idempotent, fields left out keep their value."""
        record, created = registry.put(plane(), hostname, wish, who(), force=query["force"])
        return represent.host(record, plane()), 201 if created else 200

    @blueprint.arguments(PatchQuery, location="query")
    @blueprint.arguments(PatchSchema)
    @blueprint.response(200, HostSchema)
    @blueprint.alt_response(404, description="no such virtual host")
    @blueprint.alt_response(409, description="another owner, or the primary hostname")
    def patch(self, query: dict[str, Any], wish: Wish, hostname: str) -> dict[str, Any]:
        """Enable, disable, or set its HSTS; an owned one names its owner or forces."""
        asks = wish.owner if wish.owner is not UNSET else query.get("owner", UNSET)
        wish = replace(wish, owner=UNSET)
        record = registry.change(plane(), hostname, wish, who(), owner=asks, force=query["force"])
        return represent.host(record, plane())

    @blueprint.arguments(DeleteQuery, location="query")
    @blueprint.response(204)
    @blueprint.alt_response(404, description="no such virtual host")
    @blueprint.alt_response(409, description="another owner, or an old generation")
    def delete(self, query: dict[str, Any], hostname: str) -> None:
        """Delete it: gone from the list at once, from every edge within seconds."""
        registry.delete(plane(), hostname, who(), **query)


@blueprint.route("/virtualhosts/<hostname>/retry", methods=["POST"])
@blueprint.response(202, HostSchema)
@blueprint.alt_response(404, description="no such virtual host")
@blueprint.alt_response(409, description="not failed")
def retry(hostname: str) -> dict[str, Any]:
    """Try a failed one again now."""
    return represent.host(registry.retry(plane(), hostname, who()), plane())


@blueprint.route("/virtualhosts/<hostname>/renew", methods=["POST"])
@blueprint.response(202, HostSchema)
@blueprint.alt_response(404, description="no such virtual host")
def renew(hostname: str) -> dict[str, Any]:
    """Issue again now, as far as the CA's limits allow."""
    return represent.host(registry.renew(plane(), hostname, who()), plane())


def _filters(query: dict[str, Any]) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if query["after"]:
        conditions.append(VirtualHost.hostname > query["after"])
    for name in ("status", "enabled", "owner"):
        if name in query:
            conditions.append(getattr(VirtualHost, name) == query[name])
    if "reason" in query:
        conditions.append(VirtualHost.error_reason == query["reason"])
    if "q" in query:
        conditions.append(VirtualHost.hostname.contains(query["q"].lower(), autoescape=True))
    if "domain" in query:
        conditions.append(VirtualHost.domains.any(Domain.name == query["domain"].lower()))
    if "expires_before" in query:
        expiring = Certificate.not_after < query["expires_before"]
        conditions.append(VirtualHost.certificate.has(expiring))
    return conditions


def _show(hostname: str) -> dict[str, Any]:
    with plane().database.reading() as session:
        record = registry.find(session, hostname)
    return represent.host(record, plane())


def _wait(hostname: str, seconds: float) -> None:
    """Return when the status is not `pending`, or the time is over."""
    deadline = time.monotonic() + seconds
    pause = 0.02
    while time.monotonic() < deadline:
        with plane().database.reading() as session:
            if _status(session, hostname) != "pending":
                return
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(pause * 1.5, 0.25)


def _status(session: Session, hostname: str) -> str | None:
    return session.scalar(
        select(VirtualHost.status).where(
            VirtualHost.hostname == hostname, VirtualHost.deleted_at.is_(None)
        )
    )
