"""A record as the API shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from control import certificates
from control.models import LOGO_FIELDS, THEME_FIELDS, Certificate, VirtualHost
from control.plane import Plane
from control.ports import EdgeReport, StoreUnavailable

LOGO_URL = "/api/v1/logos/"


def host(record: VirtualHost, plane: Plane) -> dict[str, Any]:
    """The shape of docs/api.md, the certificate with its chain."""
    shown = listed(record, live_edges(plane), plane.settings.edge_public_addresses)
    if record.certificate is not None:
        shown["certificate"]["chain"] = chain(record.certificate)
    return shown


def listed(
    record: VirtualHost, edges: Sequence[EdgeReport], addresses: Sequence[str]
) -> dict[str, Any]:
    """The same without the chain: a page of the list parses no certificates.

    `addresses` are the edge's public ones, none where they are not known.
    """
    return {
        "hostname": record.hostname,
        "kind": record.kind,
        "domains": [domain.name for domain in record.domains],
        "enabled": record.enabled,
        "owner": record.owner,
        "generation": record.generation,
        "hsts_max_age": record.hsts_max_age,
        "status": record.status,
        "step": record.step,
        "error": record.explained(addresses),
        "certificate": certificate(record.certificate),
        "theme": theme(record),
        "revision": record.revision,
        "served_by": [{"edge": e.edge, "revision": e.revision} for e in edges],
        "created_at": record.created_at,
        "updated_at": record.updated_at,
    }


def certificate(record: Certificate | None) -> dict[str, Any] | None:
    """What may be known of a certificate; never its key."""
    if record is None:
        return None
    fields = ("source", "issuer", "serial", "sha256", "sans", "not_before", "not_after", "renew_at")
    return {name: getattr(record, name) for name in fields}


def chain(record: Certificate) -> list[dict[str, Any]]:
    """Each certificate of the chain, leaf first; none where the stored text cannot be read."""
    try:
        links = certificates.links(record.chain)
    except certificates.Unusable:
        return []
    return [asdict(link) for link in links]


def theme(record: VirtualHost) -> dict[str, Any]:
    """Colours, and the URLs of the logos."""
    colours: dict[str, Any] = {name: record.theme.get(name) for name in THEME_FIELDS}
    logos = {
        place: LOGO_URL + record.logos[place] if place in record.logos else None
        for place in LOGO_FIELDS
    }
    return colours | {"logos": logos}


def live_edges(plane: Plane) -> Sequence[EdgeReport]:
    """Live edges, none while Redis is away: a list of hosts is still worth showing then."""
    try:
        return plane.store.edges()
    except StoreUnavailable:
        return ()
