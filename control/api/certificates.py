"""/virtualhosts/…/certificate: bring your own, or go back to the CA."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

from flask import current_app, g
from flask.views import MethodView
from flask_smorest import Blueprint

from control import certificates, registry
from control.api import represent
from control.api.context import plane, who
from control.api.errors import TooMany
from control.api.schemas import CheckList, HostSchema, UploadSchema
from control.inspection import report

blueprint = Blueprint("certificates", __name__, description="Certificates brought by the operator")

PER_SECOND, BURST = 5.0, 30.0
"""Preflights of one token: each publishes a challenge and connects to the tenant's addresses."""
MOST_EXAMINED = 8
"""Preflights at a time; more are refused, so that others find a thread."""
PATIENCE_SECONDS = 2
_examining = threading.BoundedSemaphore(MOST_EXAMINED)


@blueprint.route("/virtualhosts/<hostname>/certificate")
class Certificate(MethodView):
    """The certificate of one virtual host."""

    @blueprint.arguments(UploadSchema)
    @blueprint.response(200, HostSchema)
    @blueprint.alt_response(404, description="no such virtual host")
    def put(self, pair: dict[str, str], hostname: str) -> dict[str, Any]:
        """Use this chain and key: checked, sealed, published."""
        with plane().database.reading() as session:
            registry.find(session, hostname)
        key = certificates.load_key(pair["private_key"])
        facts = certificates.check(pair["chain"], key, hostname, plane().clock())
        record = registry.upload(plane(), hostname, facts, who())
        return represent.host(record, plane())

    @blueprint.response(204)
    @blueprint.alt_response(404, description="no such virtual host")
    def delete(self, hostname: str) -> None:
        """Go back to the CA; the uploaded one is served until the CA has given one."""
        registry.back_to_acme(plane(), hostname, who())


@blueprint.route("/virtualhosts/<hostname>/preflight", methods=["GET"])
@blueprint.response(200, CheckList)
@blueprint.alt_response(404, description="no such virtual host")
@blueprint.alt_response(429, description="too many at a time, or of this token")
def preflight(hostname: str) -> dict[str, Any]:
    """Would an order succeed: A, AAAA, CNAME, CAA and port 80, each with its fix."""
    with plane().database.reading() as session:
        record = registry.find(session, hostname)
    wait = current_app.extensions["preflights"].take(g.token, time.monotonic())
    if wait:
        raise TooMany(math.ceil(wait))
    if not _examining.acquire(blocking=False):
        raise TooMany(PATIENCE_SECONDS)
    try:
        checks = report(plane(), record)
    finally:
        _examining.release()
    return {"items": [vars(check) for check in checks], "next": None}
