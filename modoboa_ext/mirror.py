"""What the control plane last said about each virtual host; asked anew when the answer is getting old."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime, timedelta

from django.utils import timezone

from modoboa_ext.comparison import of_one
from modoboa_ext.control_plane import ControlPlane, ControlPlaneError, Unreachable, connect
from modoboa_ext.models import VirtualHost

FRESH = timedelta(seconds=2)
PATIENCE_SECONDS = 3.0
PAUSE_SECONDS = 5.0
ASKED_AT_ONCE = 8
ROWS_AT_ONCE = 100
log = logging.getLogger("modoboa.jobs")
rests_until = 0.0
rests_because = ""


def refresh(hosts: Iterable[VirtualHost]) -> str | None:
    """Bring the mirrors of `hosts` up to date; a sentence where the control plane could not be asked.

    After an answer that did not come, it is left in peace for a few seconds, so that an
    administrator's pages stay quick while it is away.
    """
    global rests_until, rests_because
    if time.monotonic() < rests_until:
        return rests_because
    old = [host for host in hosts if is_old(host)]
    try:
        control = connect(PATIENCE_SECONDS) if old else None
        for host, answer in answers(old, control):
            if answer is not None:
                note(host, answer)
            distrust(host, answer)
    except Unreachable as error:
        rests_until, rests_because = time.monotonic() + PAUSE_SECONDS, error.message
        return error.message
    except ControlPlaneError as error:
        return error.message
    return None


def is_old(host: VirtualHost) -> bool:
    """Whether the mirror is worth asking for again."""
    return host.mirrored_at is None or timezone.now() - host.mirrored_at > FRESH


def answers(
    hosts: list[VirtualHost], control: ControlPlane | None
) -> Iterator[tuple[VirtualHost, dict | None]]:
    """Each host with its answer, None where it is not known there, as they come; several are asked at a time.

    Raises ControlPlaneError; Unreachable too when PATIENCE_SECONDS are over for all of them together.
    """
    pool = ThreadPoolExecutor(ASKED_AT_ONCE)
    try:
        asked = {pool.submit(control.find, host.name): host for host in hosts}
        for answer in as_completed(asked, PATIENCE_SECONDS):
            yield asked[answer], answer.result()
    except TimeoutError as late:
        raise Unreachable("The control plane takes too long to answer.") from late
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def distrust(host: VirtualHost, answer: dict | None) -> None:
    """A confirmed host that is lost (None) or differs over there is to be pushed again."""
    if host.confirmed and of_one(host.name, host, answer):
        host.supersede(answer["generation"] if answer else 0)


def note_all(there: dict[str, dict], asked_at: datetime) -> None:
    """Keep the whole list, by hostname, as it was at `asked_at`; rows with a later answer are left alone.

    Only mirrors that changed are written: with thousands of hosts, few do in a minute.
    """
    older = VirtualHost.objects.present().exclude(mirrored_at__gte=asked_at)
    changed = []
    for host in list(older.with_domains()):
        answer = there.get(host.name)
        heard = chained(answer, host.certificate) if answer else host.mirror
        if heard != host.mirror:
            say_schedule(host, heard)
            host.mirror = heard
            changed.append(host)
        distrust(host, answer)
    older.bulk_update(changed, ["mirror"], batch_size=ROWS_AT_ONCE)
    older.update(mirrored_at=asked_at)


def note(host: VirtualHost, answer: dict) -> None:
    """Keep an answer on the row and on `host`."""
    answer = chained(answer, host.certificate)
    say_schedule(host, answer)
    host.mirror, host.mirrored_at = answer, timezone.now()
    VirtualHost.objects.filter(pk=host.pk).update(mirror=answer, mirrored_at=host.mirrored_at)


def say_schedule(host: VirtualHost, answer: dict) -> None:
    """Log when the certificate's renewal is planned, once each time that changes."""
    planned = (answer.get("certificate") or {}).get("renew_at")
    if planned and planned != host.certificate.get("renew_at"):
        log.info("virtual host %s: renewal scheduled for %s", host.name, planned)


def chained(answer: dict, before: dict) -> dict:
    """The answer with the chain known before, where the list left out that of the same certificate."""
    now = answer.get("certificate") or {}
    if "chain" in before and "chain" not in now and now.get("sha256") == before.get("sha256"):
        return {**answer, "certificate": {**now, "chain": before["chain"]}}
    return answer


def staleness(problem: str | None, hosts: Iterable[VirtualHost]) -> dict[str, object]:
    """What an answer says of its age: `stale_since`, the oldest mirror's time, and `stale_because`; else nulls."""
    if problem is None:
        return {"stale_since": None, "stale_because": None}
    known = (host.mirrored_at for host in hosts if host.mirrored_at)
    return {"stale_since": min(known, default=timezone.now()), "stale_because": problem}
