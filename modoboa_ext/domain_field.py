"""The field `virtual_host` of Modoboa's domain API: a hostname, or null for none."""

from __future__ import annotations

from typing import Any

from modoboa.admin.models import Domain
from rest_framework import serializers

from modoboa_ext.models import Link


class HostnameField(serializers.CharField):
    """Shows the hostname a domain is linked to; what is sent is judged by `linking`.

    A list's fields are one object for all its rows, so the links of a page are read once.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            required=False, allow_null=True, allow_blank=True, max_length=1000, **kwargs
        )
        self.page: dict[int, str] | None = None

    def get_attribute(self, domain: Domain) -> str | None:
        """The hostname of one domain, None where it has none."""
        rows = self.parent.parent
        if not isinstance(rows, serializers.ListSerializer):
            return names_of([domain]).get(domain.pk)
        if self.page is None:
            self.page = names_of(rows.instance)
        return self.page.get(domain.pk)


def names_of(domains: Any) -> dict[int, str]:
    """The hostname of each of these domains that has one, by primary key."""
    links = Link.objects.filter(domain__in=[domain.pk for domain in domains])
    return dict(links.values_list("domain_id", "virtual_host__name"))
