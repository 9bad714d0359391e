"""The records: virtual hosts and the domains linked to them, with what the control plane confirmed."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from django.db import models
from django.utils import timezone

HOSTNAME_LENGTH = 253
REFUSED = {
    "step": "push",
    "reason": "control_plane_refused",
    "actor": "operator",
    "hint": "Resolve what it names; it is told again every minute.",
}
WAITING = {
    "step": "push",
    "reason": "control_plane_waiting",
    "actor": "nobody",
    "detail": None,
    "hint": "Nothing to do, unless it stays so: it is told again every minute.",
}
"""Why a host is not confirmed, in the shape of the control plane's errors."""


def after(generation: int) -> int:
    """A later generation: the clock's milliseconds, unless they are behind."""
    return max(generation + 1, time.time_ns() // 1_000_000)


class VirtualHostQuerySet(models.QuerySet["VirtualHost"]):
    """The questions asked about virtual hosts."""

    def present(self) -> VirtualHostQuerySet:
        """Those an administrator sees; tombstones left out."""
        return self.filter(deleted_at=None)

    def with_domains(self) -> VirtualHostQuerySet:
        """With their links and domains read along; a link whose domain is gone does not count."""
        links = Link.objects.select_related("domain")
        return self.prefetch_related(models.Prefetch("links", links))

    def unconfirmed(self) -> VirtualHostQuerySet:
        """Those the control plane has not confirmed in their present form, removals first."""
        waiting = self.exclude(generation=models.F("confirmed_generation"))
        return waiting.order_by(models.F("deleted_at").asc(nulls_last=True), "pk")


class VirtualHost(models.Model):
    """A hostname of this installation.

    `generation` grows with each change and is the version the control plane is told; the row is
    confirmed once `confirmed_generation` equals it. It starts at the clock's milliseconds, so that a name
    that is deleted and made again, even in a new database, is newer than what was known of it.
    `removal_owed` says that the name was deleted and made again before the control plane heard of it.
    `mirror` is the control plane's last answer about the host, `mirrored_at` its time.
    """

    name = models.CharField(max_length=HOSTNAME_LENGTH, unique=True)
    creation = models.DateTimeField(default=timezone.now)
    enabled = models.BooleanField(default=True)
    generation = models.BigIntegerField(default=0)
    confirmed_generation = models.BigIntegerField(default=0)
    deleted_at = models.DateTimeField(null=True, blank=True)
    removal_owed = models.BooleanField(default=False)
    refusal = models.TextField(blank=True, default="")
    mirror = models.JSONField(default=dict, blank=True)
    mirrored_at = models.DateTimeField(null=True, blank=True)

    objects = VirtualHostQuerySet.as_manager()

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def live(self) -> bool:
        """Whether people may enter by this hostname."""
        return self.enabled and self.deleted_at is None

    @property
    def confirmed(self) -> bool:
        """Whether the control plane knows the host as it is here."""
        return self.generation == self.confirmed_generation

    @property
    def status(self) -> str:
        """`pending`, `ready` or `failed`; what is not confirmed is pending, what was refused failed."""
        if not self.confirmed:
            return "failed" if self.refusal else "pending"
        return self.mirror.get("status") or "pending"

    @property
    def certificate(self) -> dict[str, Any]:
        """The certificate as last heard of; {} where there is none."""
        return self.mirror.get("certificate") or {}

    @property
    def problem(self) -> dict[str, Any]:
        """The error as last heard of; a refusal by the control plane is one; {} where there is none."""
        if self.confirmed:
            return self.mirror.get("error") or {}
        return {**REFUSED, "detail": self.refusal} if self.refusal else WAITING

    def change(self, **fields: Any) -> None:
        """Set `fields` and save as a new generation; the caller holds the row's lock."""
        deleted = self.deleted_at is not None
        for name, value in fields.items():
            setattr(self, name, value)
        self.removal_owed = self.removal_owed or (deleted and self.deleted_at is None)
        self.generation = after(self.generation)
        self.refusal = ""
        self.save()

    def supersede(self, recorded: int = 0) -> bool:
        """Rise above the generation recorded over there, to be told anew; False if changed meanwhile."""
        later = after(max(self.generation, recorded))
        rows = VirtualHost.objects.filter(pk=self.pk, generation=self.generation)
        if not rows.update(generation=later, refusal=""):
            return False
        self.generation, self.refusal = later, ""
        return True

    def bury(self, now: datetime) -> None:
        """Unlink every domain and leave a tombstone, until the control plane has confirmed it."""
        links = self.links.all()
        links._raw_delete(links.db)  # one change of the host, not one for each link
        self.change(deleted_at=now, enabled=False)

    def domain_names(self) -> list[str]:
        """Names of the linked domains, sorted."""
        return sorted(self.links.values_list("domain__name", flat=True))


class Link(models.Model):
    """A mail domain belongs to at most one virtual host.

    The database does not enforce the reference, so that an installation that took the extension out
    of its settings, and left its tables, can still delete domains.
    """

    domain = models.OneToOneField(
        "admin.Domain",
        on_delete=models.CASCADE,
        related_name="virtual_host_link",
        db_constraint=False,
    )
    virtual_host = models.ForeignKey(VirtualHost, on_delete=models.CASCADE, related_name="links")

    def __str__(self) -> str:
        return f"{self.domain_id} → {self.virtual_host_id}"


class Registration(models.Model):
    """The licence this installation registered with; the key itself is never stored."""

    key_sha256 = models.CharField(max_length=64, unique=True)
    registered_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.key_sha256


class Remembered(models.Model):
    """What is remembered of the control plane, in one row.

    `last_event` is the last one that was told in the log, None before the first;
    `reserved_hostnames` are those that its operator keeps from everybody.
    """

    last_event = models.BigIntegerField(null=True)
    reserved_hostnames = models.JSONField(default=list)

    def __str__(self) -> str:
        return f"event {self.last_event}"

    @classmethod
    def load(cls) -> Remembered:
        """The row; made when it is not there."""
        return cls.objects.get_or_create(pk=1)[0]
