"""What Modoboa's queue runs."""

from __future__ import annotations

import logging

from django.utils import timezone
from django.utils.dateparse import parse_datetime

from modoboa_ext import journal, mirror, sync
from modoboa_ext.control_plane import (
    Absent,
    ControlPlane,
    ControlPlaneError,
    Failed,
    Refused,
    connect,
)
from modoboa_ext.models import Remembered, VirtualHost

log = logging.getLogger("modoboa.jobs")


def push(pk: int) -> None:
    """Tell the control plane about one virtual host; what waits afterwards, `every_minute` pushes again."""
    sync.push_one(pk)


def every_minute() -> None:
    """Push what is not confirmed, note how every host stands, log what happened, learn what is reserved."""
    sync.drop_orphans()
    sync.push_all()
    try:
        control = connect()
        note_all(control)
        journal.tell(control)
        note_reserved(control)
    except ControlPlaneError as error:
        log.warning("the virtual hosts' state is not known: %s", error.message)


def note_all(control: ControlPlane) -> None:
    """Refresh the mirror of every host; what is lost or differs over there is pushed next time."""
    asked_at = timezone.now()
    there = {answer["hostname"]: answer for answer in control.all()}
    mirror.note_all(there, asked_at)


def note_reserved(control: ControlPlane) -> None:
    """Remember the reserved hostnames, so that the domain form refuses them whether or not one can ask."""
    known = Remembered.load()
    names = control.reserved_hostnames()
    if names != known.reserved_hostnames:
        known.reserved_hostnames = names
        known.save(update_fields=["reserved_hostnames"])


def check_certificate_renewals() -> None:
    """Ask for the renewal of each certificate that is due, now.

    The control plane renews by itself; this keeps the cron line of an administrator who has one.
    Disabled hosts and those without a certificate of the authority's are left alone; what is refused
    for one host is logged, and the next one is asked for.
    """
    try:
        control = connect()
        note_all(control)
        for host in VirtualHost.objects.present().filter(enabled=True):
            if is_due(host):
                ask_renewal(host, control)
    except ControlPlaneError as error:
        log.error("renewals could not be asked for: %s", error.message)


def ask_renewal(host: VirtualHost, control: ControlPlane) -> None:
    """Ask for one renewal. Raises Unreachable and Unauthorised, after which no other would fare better."""
    try:
        control.part("POST", host.name, "renew")
    except (Absent, Failed, Refused) as error:
        log.error("virtual host %s: renewal is refused: %s", host.name, error.message)
    else:
        log.info("virtual host %s: renewal asked for", host.name)


def is_due(host: VirtualHost) -> bool:
    """Whether the certificate's time of renewal has come."""
    renew_at = parse_datetime(host.certificate.get("renew_at") or "")
    return renew_at is not None and renew_at <= timezone.now()
