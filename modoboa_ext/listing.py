"""Which rows of the list a filter shows, and in which order: the same words as the page's chips."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Case, F, Q, QuerySet, TextField, Value, When
from django.db.models.fields.json import KT
from django.db.models.functions import Coalesce
from django.utils.dateparse import parse_datetime

from modoboa_ext.models import VirtualHost

STATUSES = ("pending", "ready", "failed", "disabled")
FILTERS = (*STATUSES, "expiring")
LAST_PART = 3
"""A certificate ends soon in the last third of its life, when it should have been renewed."""


def by_status(status: str) -> Q:
    """The rows whose chip says so: `disabled`, else what `VirtualHost.status` tells."""
    if status == "disabled":
        return Q(enabled=False)
    confirmed = Q(generation=F("confirmed_generation"))
    refused = ~confirmed & ~Q(refusal="")
    if status == "failed":
        return Q(enabled=True) & (refused | confirmed & Q(mirror__status="failed"))
    if status == "ready":
        return Q(enabled=True) & confirmed & Q(mirror__status="ready")
    settled = Q(mirror__status="ready") | Q(mirror__status="failed")
    return Q(enabled=True) & ((~confirmed & Q(refusal="")) | (confirmed & ~settled))


URGENCY = Case(
    When(by_status("failed"), then=0),
    When(by_status("pending"), then=1),
    When(by_status("ready"), then=2),
    default=3,
)
ENDS = Coalesce(KT("mirror__certificate__not_after"), Value(""), output_field=TextField())
BEGINS = Coalesce(KT("mirror__certificate__not_before"), Value(""), output_field=TextField())


def narrowed(hosts: QuerySet[VirtualHost], wanted: str | None, now: datetime) -> QuerySet:
    """The rows that the filter `wanted` shows; all of them for a word that is none."""
    if wanted in STATUSES:
        return hosts.filter(by_status(wanted))
    if wanted == "expiring":
        lives = hosts.exclude(mirror={}).values_list("pk", BEGINS, ENDS)
        return hosts.filter(pk__in=[pk for pk, *life in lives if ends_soon(*life, now)])
    return hosts


def ends_soon(begins: str, ends: str, now: datetime) -> bool:
    """Whether a certificate of these dates, ISO 8601, is in the last third of its life, or over."""
    start, end = parse_datetime(begins), parse_datetime(ends)
    return start is not None and end is not None and end - now < (end - start) / LAST_PART
