"""Receivers of Modoboa's and Django's signals: the domain forms, the login form, the theme."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.signals import user_logged_in
from django.db import transaction
from django.db.models.signals import post_delete, post_save, pre_delete
from django.dispatch import receiver
from modoboa.admin import signals as admin_signals
from modoboa.admin.models import Domain
from modoboa.core import signals as core_signals
from modoboa.lib.signals import get_request
from rest_framework import serializers

from modoboa_ext import hosts, linking, people, sync, theme
from modoboa_ext.domain_field import HostnameField
from modoboa_ext.isolation import REFUSAL
from modoboa_ext.middleware import BORN_AT
from modoboa_ext.models import Link, VirtualHost


@receiver(admin_signals.extra_domain_serializer_fields, dispatch_uid="virtualhosts.field")
def add_field(sender: Any, **kwargs: Any) -> dict[str, serializers.Field]:
    """The domain API shows and accepts `virtual_host`."""
    return {"virtual_host": HostnameField()}


@receiver(admin_signals.domain_post_create_via_api, dispatch_uid="virtualhosts.create")
@receiver(admin_signals.domain_post_update_via_api, dispatch_uid="virtualhosts.update")
def save_value(
    sender: Any, domain: Domain, plugin_data: dict[str, Any], request: Any, **kwargs: Any
) -> None:
    """Link the domain as the form says; a fault undoes the whole save and answers 400."""
    if "virtual_host" not in plugin_data:
        return
    try:
        linking.set_hostname(domain, plugin_data["virtual_host"], request.user)
    except linking.LinkRefused as fault:
        raise serializers.ValidationError({"virtual_host": [str(fault)]}) from fault


@receiver(post_save, sender=Link, dispatch_uid="virtualhosts.linked")
@receiver(post_delete, sender=Link, dispatch_uid="virtualhosts.unlinked")
@transaction.atomic
def link_changed(sender: Any, instance: Link, **kwargs: Any) -> None:
    """A link made or taken away, by whatever path, is a new generation of its host."""
    host = VirtualHost.objects.select_for_update().filter(pk=instance.virtual_host_id).first()
    if host is not None and host.deleted_at is None:
        host.change()


@receiver(post_save, sender=Domain, dispatch_uid="virtualhosts.renamed")
@transaction.atomic
def domain_renamed(sender: Any, instance: Domain, created: bool, **kwargs: Any) -> None:
    """A renamed domain keeps its link; the control plane is told the new name."""
    if created or instance.oldname == instance.name:
        return
    host = VirtualHost.objects.select_for_update().filter(links__domain=instance).first()
    if host is not None:
        host.change()


@receiver(pre_delete, sender=Domain, dispatch_uid="virtualhosts.domain_goes")
def domain_goes(sender: Any, instance: Domain, **kwargs: Any) -> None:
    """Before its link goes: the same locks in the same order as where a domain is linked, or a host deleted."""
    linking.hold(instance)


@receiver(post_save, sender=VirtualHost, dispatch_uid="virtualhosts.changed")
def host_changed(sender: Any, instance: VirtualHost, **kwargs: Any) -> None:
    """After the commit: what this process remembers is void, and the control plane is told."""
    if instance.confirmed:
        return
    transaction.on_commit(hosts.recent.forget)
    transaction.on_commit(people.recent.forget)
    transaction.on_commit(lambda: sync.soon(instance.pk))


@receiver(core_signals.user_can_login, dispatch_uid="virtualhosts.login")
def login_allowed(sender: Any, user: Any, **kwargs: Any) -> None:
    """The login form says in words why someone else's people do not enter here."""
    request = getattr(sender, "request", None) or get_request()
    if request is None:
        return
    try:
        allowed = people.may_be_at(user, hosts.of(request))
    except people.PeopleUnreadable as error:
        raise forms.ValidationError("Signing in is not possible right now, try again.") from error
    if not allowed:
        raise forms.ValidationError(REFUSAL, code="virtual_host")


@receiver(user_logged_in, dispatch_uid="virtualhosts.bind")
def bind_session(sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
    """A session that begins here is worth nothing at another tenant's host."""
    if request is not None:
        request.session[BORN_AT] = hosts.of(getattr(request, "_request", request)).name


@receiver(core_signals.get_theme_parameters, dispatch_uid="virtualhosts.theme")
def host_theme(sender: Any, **kwargs: Any) -> dict[str, str]:
    """The tenant's colours and logos over the instance's own; blanks fall back."""
    return theme.overrides(get_request())
