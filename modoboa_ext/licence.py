"""Activation, for an installation that was given a licence key; without one nobody notices it."""

from __future__ import annotations

import hashlib

import requests
from django.db import transaction
from django.utils import timezone
from rest_framework.exceptions import APIException

from modoboa_ext import hosts
from modoboa_ext.models import Registration
from modoboa_ext.settings import option

SECONDS = 10


class NotRegistered(Exception):
    """The licence server did not accept the key; the text is a sentence for an administrator."""


class LicenceRequired(APIException):
    """403: this installation must register before its virtual hosts are managed."""

    status_code = 403

    def __init__(self) -> None:
        sentence = "This installation must be registered first: see Virtual hosts."
        super().__init__({"detail": sentence, "code": "license_required"}, "license_required")


def fingerprint(key: str) -> str:
    """The SHA-256 of the key, in hex: all that is ever stored of it."""
    return hashlib.sha256(key.encode()).hexdigest()


def wanted() -> bool:
    """Whether an operator configured a licence."""
    return bool(option("LICENSE_KEY") and option("LICENSE_ENDPOINT"))


def locked() -> bool:
    """Whether this installation must register first; also when the key is not the registered one."""
    if not wanted():
        return False
    return not Registration.objects.filter(key_sha256=fingerprint(option("LICENSE_KEY"))).exists()


def require() -> None:
    """LicenceRequired where `locked`."""
    if locked():
        raise LicenceRequired


def register() -> None:
    """Send the key once to the licence server; NotRegistered says why that did not help."""
    if not locked():
        return
    key, endpoint = option("LICENSE_KEY"), option("LICENSE_ENDPOINT")
    body = {"license_key": key, "hostname": hosts.primary_hostname()}
    try:
        answer = requests.post(endpoint, json=body, timeout=SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        raise NotRegistered(
            f"The licence server does not answer: try again later. ({error})"
        ) from error
    if not 200 <= answer.status_code < 300:
        raise NotRegistered(
            f"The licence server refuses this key (status {answer.status_code}): check LICENSE_KEY."
        )
    keep(fingerprint(key))


@transaction.atomic
def keep(key_sha256: str) -> None:
    """This key is the registered one, and no other; harmless when two do it at the same moment."""
    now = timezone.now()
    Registration.objects.update_or_create(key_sha256=key_sha256, defaults={"registered_at": now})
    Registration.objects.exclude(key_sha256=key_sha256).delete()
