"""One table: which error of ours is which status; every answer is `{code, status, message, errors}`."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, g, jsonify
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from control.api.conditional import Changed
from control.certificates import Unusable
from control.endpoint import BadUrl
from control.hostname import InvalidHostname
from control.models import (
    DomainTaken,
    NotFailed,
    NotRenewable,
    OlderGeneration,
    OwnedElsewhere,
    PrimaryFixed,
)
from control.ports import PublishRefused, StoreUnavailable
from control.registry import NoSuchHost
from control.sealing import KeyringError
from control.webhooks import NoSuchWebhook

log = logging.getLogger("control.api")

RETRY_AFTER_SECONDS = 5

STATUSES: dict[type[Exception], HTTPStatus] = {
    NoSuchHost: HTTPStatus.NOT_FOUND,
    DomainTaken: HTTPStatus.CONFLICT,
    NotFailed: HTTPStatus.CONFLICT,
    OlderGeneration: HTTPStatus.CONFLICT,
    OwnedElsewhere: HTTPStatus.CONFLICT,
    PrimaryFixed: HTTPStatus.CONFLICT,
    Changed: HTTPStatus.PRECONDITION_FAILED,
    NotRenewable: HTTPStatus.CONFLICT,
    InvalidHostname: HTTPStatus.UNPROCESSABLE_ENTITY,
    Unusable: HTTPStatus.UNPROCESSABLE_ENTITY,
    NoSuchWebhook: HTTPStatus.NOT_FOUND,
    BadUrl: HTTPStatus.UNPROCESSABLE_ENTITY,
}

AWAY: dict[type[Exception], str] = {
    StoreUnavailable: "Redis cannot be asked now: try again in a few seconds",
    PublishRefused: "the copy in Redis is being rebuilt: try again in a few seconds",
    OperationalError: "the database cannot be asked now: try again in a few seconds",
    IntegrityError: "others write the same at this moment: try again in a few seconds",
    PoolTimeout: "the database is too busy: try again in a few seconds",
    KeyringError: "the keyring cannot be read: an operator must look at EDGE_KEYRING",
}


UNHELD = (
    "a value in the request is one that the database cannot hold: no NUL, no number beyond its kind"
)


class TooMany(Exception):
    """This token asks too often; `seconds` until it may ask again."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many requests: try again in {seconds} s")
        self.seconds = seconds


def answer(
    status: HTTPStatus, message: str, errors: Any = None, headers: dict[str, str] | None = None
) -> Response:
    """An error answer in the shape of docs/api.md."""
    body = {
        "code": status.value,
        "status": status.phrase,
        "message": message,
        "errors": errors or {},
    }
    response = jsonify(body)
    response.status_code = status.value
    response.headers.update(headers or {})
    return response


def register(app: Flask) -> None:
    """Hand every error to this table."""
    for kind in STATUSES:
        app.register_error_handler(kind, _known)
    for kind in AWAY:
        app.register_error_handler(kind, _away)
    app.register_error_handler(DataError, _unheld)
    app.register_error_handler(UnicodeEncodeError, _unheld)
    app.register_error_handler(TooMany, _too_many)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unknown)


def _known(problem: Exception) -> Response:
    status = next(s for kind, s in STATUSES.items() if isinstance(problem, kind))
    return answer(status, str(problem))


def _away(problem: Exception) -> Response:
    log.error("unavailable", extra={"problem": str(problem)})
    message = next(text for kind, text in AWAY.items() if isinstance(problem, kind))
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return answer(HTTPStatus.SERVICE_UNAVAILABLE, message, headers=headers)


def _unheld(_: Exception) -> Response:
    """PostgreSQL refuses what SQLite takes: NUL in a text, a number that is too large, half a character."""
    return answer(HTTPStatus.UNPROCESSABLE_ENTITY, UNHELD)


def _too_many(problem: TooMany) -> Response:
    headers = {"Retry-After": str(problem.seconds)}
    return answer(HTTPStatus.TOO_MANY_REQUESTS, str(problem), headers=headers)


def _http(problem: HTTPException) -> Response:
    """Werkzeug's and webargs' own; the first field's fault is the message where a field has one."""
    status = HTTPStatus(problem.code or 500)
    data = getattr(problem, "data", None) or {}
    errors = data.get("messages") or data.get("errors")
    message = _first(errors) or data.get("message") or problem.description or status.phrase
    headers = {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(sorted(getattr(problem, "valid_methods", None) or ()))
    return answer(status, message, errors, headers)


def _first(errors: Any, path: str = "") -> str | None:
    """`field: fault` of the first field, however deep."""
    if isinstance(errors, dict) and errors:
        key, value = next(iter(errors.items()))
        inner = path if key in ("json", "query", "_schema") else f"{path}.{key}".lstrip(".")
        return _first(value, inner)
    if isinstance(errors, list) and errors:
        return _first(errors[0], path)
    if isinstance(errors, str):
        return f"{path}: {errors}" if path else errors
    return None


def _unknown(problem: Exception) -> Response:
    log.exception("request failed", exc_info=problem)
    reference = g.get("request_id", "-")
    return answer(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        f"something went wrong here: look for request {reference} in the log",
    )
