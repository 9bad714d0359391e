"""/healthz, /readyz, /metrics: outside /api/v1, for machines that watch."""

from __future__ import annotations

import ipaddress
from typing import Any

from flask import Blueprint, Response, abort, jsonify, request

from control import metrics, schema
from control.api.auth import has_token
from control.api.context import plane

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def alive() -> dict[str, str]:
    """This process answers."""
    return {"status": "alive"}


@blueprint.get("/readyz")
def ready() -> Response:
    """Database, Redis and schema are as they should be; 503 names what is not."""
    checks: dict[str, Any] = {"database": _database(), "redis": _redis(), "schema": _schema()}
    response = jsonify(checks)
    if any(verdict != "ok" for verdict in checks.values()):
        response.status_code = 503
        response.headers["Retry-After"] = "5"
    return response


@blueprint.get("/metrics")
def measured() -> Response:
    """Prometheus; from this machine, or with a token."""
    if not _from_loopback() and not has_token():
        abort(401, "metrics are for this machine, or with a token")
    return Response(metrics.text(plane()), mimetype="text/plain; version=0.0.4")


def _from_loopback() -> bool:
    address = request.remote_addr or ""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == ""


def _database() -> str:
    try:
        plane().database.alive()
    except Exception as problem:
        return f"does not answer: {type(problem).__name__}"
    return "ok"


def _redis() -> str:
    try:
        plane().store.summary()
    except Exception as problem:
        return f"does not answer: {type(problem).__name__}"
    return "ok"


def _schema() -> str:
    try:
        current, needed = schema.current(plane().database), schema.newest()
    except Exception as problem:
        return f"cannot be read: {type(problem).__name__}"
    return "ok" if current == needed else f"is {current}, needs {needed}: run `edgectl migrate`"
