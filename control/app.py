"""create_app(plane): Flask, nothing else."""

from __future__ import annotations

import logging
import re
import time
import uuid

from flask import Flask, Response, abort, current_app, g, request
from flask_smorest import Api

from control import __version__
from control.api import (
    certificates,
    documentation,
    edges,
    errors,
    events,
    health,
    parameters,
    settings,
    themes,
    virtual_hosts,
    webhooks,
)
from control.api.auth import Buckets, authenticate
from control.api.schemas import ErrorSchema
from control.plane import Plane

LARGEST_BODY = 2_000_000
PREFIX = "/api/v1"
GUARDED = tuple(
    module.blueprint
    for module in (virtual_hosts, themes, certificates, events, edges, settings, webhooks)
)
"""What needs a token."""
_GUARDED_NAMES = frozenset(blueprint.name for blueprint in GUARDED)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

log = logging.getLogger("control.api")


class _Api(Api):
    """flask-smorest with our error shape; its own handler is replaced by `errors`."""

    ERROR_SCHEMA = ErrorSchema

    def _register_error_handlers(self) -> None:
        errors.register(self._app)


def create_app(plane: Plane) -> Flask:
    """The application over a connected control plane."""
    app = Flask("control")
    app.url_map.strict_slashes = True
    app.json.sort_keys = False  # type: ignore[attr-defined] # Flask's own provider has it
    app.config.update(
        API_TITLE="modoboa-edge control plane",
        API_VERSION=__version__,
        OPENAPI_VERSION="3.0.3",
        OPENAPI_URL_PREFIX=PREFIX,
        OPENAPI_JSON_PATH="openapi.json",
        MAX_CONTENT_LENGTH=LARGEST_BODY,
        PROPAGATE_EXCEPTIONS=False,
    )
    app.extensions["plane"] = plane
    app.extensions["preflights"] = Buckets(certificates.PER_SECOND, certificates.BURST)
    app.before_request(_begin)
    app.after_request(_end)
    _register(app)
    return app


def _register(app: Flask) -> None:
    bearer = {"type": "http", "scheme": "bearer"}
    api = _Api(
        app,
        spec_kwargs={
            "components": {"securitySchemes": {"bearer": bearer}},
            "security": [{"bearer": []}],
            "servers": [{"url": "/"}],
        },
    )
    for blueprint in GUARDED:
        api.register_blueprint(blueprint, url_prefix=PREFIX)
    api.register_blueprint(themes.files, url_prefix=PREFIX)
    app.register_blueprint(documentation.blueprint, url_prefix=PREFIX)
    app.register_blueprint(health.blueprint)
    documentation.name_operations(api.spec._paths)
    app.extensions["query parameters"] = parameters.known(api.spec.to_dict())


def _begin() -> Response | None:
    """Give the request an id; refuse parameters that mean nothing, and a body that is not what it is taken for."""
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    g.started = time.monotonic()
    if request.blueprint in _GUARDED_NAMES:
        authenticate()
        refusal = parameters.refuse_unknown(current_app.extensions["query parameters"])
        if refusal is not None:
            return refusal
    takes_json = request.method in ("PUT", "PATCH", "POST") and "/logos/" not in request.path
    if takes_json and request.content_length and not request.is_json:
        abort(415, "send JSON, with `Content-Type: application/json`")
    return None


def _end(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.get("request_id", "-")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Cache-Control", "no-store")
    log.info(
        "request",
        extra={
            "request_id": g.get("request_id"),
            "token": g.get("token"),
            "method": request.method,
            "path": request.path,
            "code": response.status_code,
            "milliseconds": round(
                1000 * (time.monotonic() - g.get("started", time.monotonic())), 1
            ),
            "remote": request.remote_addr,
        },
    )
    return response
