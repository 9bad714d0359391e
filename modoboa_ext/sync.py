"""Tell the control plane what is wanted here, again and again until it confirms; and note what it answers."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

import django_rq
from django.db.models import Exists, OuterRef
from django.utils import timezone
from modoboa.admin.models import Domain
from redis.exceptions import RedisError

from modoboa_ext.control_plane import (
    OWNER,
    ControlPlane,
    ControlPlaneError,
    Failed,
    Refused,
    connect,
)
from modoboa_ext.models import Link, VirtualHost

QUEUE = "modoboa"
log = logging.getLogger("modoboa.jobs")


def soon(pk: int) -> None:
    """Ask the queue to push one host; without Redis, the next scheduled push does it."""
    from modoboa_ext import jobs

    try:
        django_rq.get_queue(QUEUE).enqueue(jobs.push, pk)
    except (RedisError, OSError) as error:
        log.warning("virtual host %s waits for the next scheduled push: %s", pk, error)


def push(host: VirtualHost, control: ControlPlane) -> None:
    """Bring the control plane to this row's generation; a refusal is noted on the row. Raises ControlPlaneError.

    Where a later generation is recorded there, as after an older database was restored here, the row
    rises above it and is sent again.
    """
    try:
        send(host, control)
    except Refused as refusal:
        if overtake(host, control):
            return push(host, control)
        note_refusal(host, refusal)
        raise


def send(host: VirtualHost, control: ControlPlane) -> None:
    """One attempt. Raises ControlPlaneError.

    1. A tombstone is deleted there, then here.
    2. A name that was deleted and made again is removed first: nothing of its former life stays. That is
       said as of the generation before, so that it takes away nothing where another worker was faster.
    3. Then it is put whole; the answer goes into the mirror.
    4. The confirmation counts for the generation that was sent, not for a later one.
    """
    sent = host.generation
    if host.deleted_at is not None:
        remove(host, control, sent)
        forget(host, sent)
        log.info("virtual host %s: removal confirmed", host.name)
        return
    former = VirtualHost.objects.filter(pk=host.pk, removal_owed=True)
    if host.removal_owed and former.exists():
        try:
            remove(host, control, sent - 1)
        except Refused:
            if former.exists():
                raise
        former.filter(generation=sent).update(removal_owed=False)
    wanted = {"domains": host.domain_names(), "enabled": host.enabled, "generation": sent}
    answer = control.put(host.name, **wanted)
    VirtualHost.objects.filter(pk=host.pk, generation=sent).update(
        confirmed_generation=sent, refusal="", **mirrored(answer)
    )
    log.info("virtual host %s: generation %d confirmed", host.name, sent)


def forget(host: VirtualHost, sent: int) -> None:
    """Delete the tombstone unless its name was taken again: one statement, which sees the row as it is then."""
    tombstone = VirtualHost.objects.filter(pk=host.pk, generation=sent)
    tombstone._raw_delete(tombstone.db)


def remove(host: VirtualHost, control: ControlPlane, generation: int) -> None:
    """Take the host away over there, up to this generation; one that belongs to somebody else counts as gone."""
    try:
        control.delete(host.name, generation)
    except Refused:
        there = control.find(host.name)
        if there is not None and there["owner"] == OWNER:
            raise


def overtake(host: VirtualHost, control: ControlPlane) -> bool:
    """Rise above a later generation of ours that is recorded there; whether there was one."""
    there = control.find(host.name)
    if there is None or there["owner"] != OWNER or there["generation"] <= host.generation:
        return False
    return host.supersede(there["generation"])


def note_refusal(host: VirtualHost, refusal: Refused) -> None:
    """Keep the sentence on the row, and log it when it is new; unless the row has changed since it was sent."""
    if host.refusal == refusal.message:
        return
    host.refusal = refusal.message
    rows = VirtualHost.objects.filter(pk=host.pk, generation=host.generation)
    if rows.update(refusal=refusal.message):
        log.error("virtual host %s: the control plane refuses: %s", host.name, refusal.message)


def mirrored(answer: dict[str, Any]) -> dict[str, Any]:
    """The columns that hold the control plane's last answer about a host."""
    return {"mirror": answer, "mirrored_at": timezone.now()}


def drop_orphans() -> None:
    """Take away links whose domain was deleted while the extension was not there to see it."""
    domains = Domain.objects.filter(pk=OuterRef("domain_id"))
    Link.objects.filter(~Exists(domains)).delete()


def attempt(host: VirtualHost, control: ControlPlane) -> bool:
    """Push one row; False where it is refused, or breaks the control plane. Any other ControlPlaneError is raised."""
    try:
        push(host, control)
    except Refused:
        return False
    except Failed as error:
        log.warning("virtual host %s: not confirmed yet: %s", host.name, error.message)
        return False
    return True


def let_go(host: VirtualHost, control: ControlPlane) -> None:
    """Take away over there the domains that are not the host's any more; what is new waits for `push`.

    Two hosts that exchange domains would refuse each other for ever.
    """
    with contextlib.suppress(Failed, Refused):
        there = control.find(host.name)
        if there is None or there["owner"] != OWNER:
            return
        kept = sorted(set(there["domains"]) & set(host.domain_names()))
        if kept != sorted(there["domains"]):
            control.put(host.name, domains=kept, generation=host.generation)


def push_one(pk: int) -> None:
    """Push the row `pk` unless it is confirmed or gone; what cannot be confirmed now stays waiting."""
    host = VirtualHost.objects.filter(pk=pk).first()
    if host is None or host.confirmed:
        return
    try:
        attempt(host, connect())
    except ControlPlaneError as error:
        log.warning("virtual host %s: not confirmed yet: %s", host.name, error.message)


def push_all() -> int:
    """Push every row that waits, removals first; how many still wait.

    A domain that moves between hosts is refused at its new host until the old one lets go of it,
    hence the second round. An unreachable control plane ends all: the rest would fare no better.
    """
    waiting = VirtualHost.objects.unconfirmed()
    try:
        control = connect()
        confirmed = [attempt(host, control) for host in waiting.all()]
        if not all(confirmed):
            for host in waiting.filter(deleted_at=None):
                let_go(host, control)
            for host in waiting.all():
                attempt(host, control)
    except ControlPlaneError as error:
        log.warning("%d virtual hosts are not confirmed yet: %s", waiting.count(), error.message)
    return waiting.count()
