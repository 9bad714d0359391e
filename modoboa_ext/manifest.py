"""What the extension adds to Modoboa's interface, in the reader's language, for those who may use it."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

from django.contrib.staticfiles.storage import staticfiles_storage
from django.utils.translation import get_language
from modoboa.lib.signals import get_request

from modoboa_ext.hosts import primary_hostname
from modoboa_ext.linking import reserved_hostnames

REMOTE = "modoboa_ext/remoteEntry.js"
SUPER_ADMINS = "SuperAdmins"
RESELLERS = "Resellers"

FRENCH = {"Virtual hosts": "Hôtes virtuels", "Virtual host": "Hôte virtuel"}


def remote() -> dict[str, str] | None:
    """The remote as collected into STATIC_ROOT, its address new with each build; None where it is missing."""
    try:
        path = staticfiles_storage.path(REMOTE)
        modified = staticfiles_storage.get_modified_time(REMOTE).timestamp()
    except (FileNotFoundError, NotImplementedError):
        return None
    url = f"{staticfiles_storage.url(REMOTE)}?v={_fingerprint(path, modified)}"
    return {"name": "modoboa_ext", "url": url, "format": "esm"}


@cache
def _fingerprint(path: str, modified: float) -> str:
    """The first 12 hex digits of the file's SHA-256; `modified` makes a new build a new question."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def may_manage() -> bool:
    """Whether the reader is a super administrator: the only one who sees virtual hosts."""
    return _role() == SUPER_ADMINS


def may_link(resellers: bool) -> bool:
    """Whether the reader may give a domain a hostname; `resellers`: they may, too."""
    return _role() in ({SUPER_ADMINS, RESELLERS} if resellers else {SUPER_ADMINS})


def _role() -> str:
    user = getattr(get_request(), "user", None)
    return str(getattr(user, "role", ""))


def menu_entries() -> list[dict[str, Any]]:
    """One entry in the administration's menu."""
    return [
        {
            "label": titled("Virtual hosts"),
            "icon": "mdi-web",
            "to": "VirtualHosts",
            "category": "admin",
            "roles": [SUPER_ADMINS],
        }
    ]


def routes(locked: bool) -> list[dict[str, Any]]:
    """The pages, inside the administration's frame; `locked`: only the one that registers."""
    if locked:
        return [_page("VirtualHosts", "virtualhosts", "./Activation")]
    return [
        _page("VirtualHosts", "virtualhosts", "./VirtualHosts"),
        _page("VirtualHostsParameters", "virtualhosts/parameters", "./Parameters"),
        _page("VirtualHostTheme", "virtualhosts/:id(\\d+)/theme", "./ThemeEditor"),
    ]


def _page(name: str, path: str, component: str) -> dict[str, Any]:
    return {
        "name": name,
        "path": path,
        "component": component,
        "parent": "AdminLayout",
        "meta": {"requiresAuth": True, "allowedRoles": [SUPER_ADMINS]},
    }


def domain_forms() -> dict[str, list[dict[str, Any]]]:
    """A step of the wizard and a panel of the edit form (without `position`: see the host).

    `reserved` are names that no tenant may have: what the field says while somebody types.
    """
    primary = primary_hostname()
    field = {
        "name": "virtual_host",
        "title": titled("Virtual host"),
        "component": "./DomainHostname",
        "props": {"primary": primary, "reserved": sorted(reserved_hostnames() - {primary})},
    }
    return {"domain.creation_form.steps": [field], "domain.edit_form.panels": [field]}


def domain_page() -> dict[str, list[dict[str, Any]]]:
    """The block beside a domain's own facts."""
    block = {
        "name": "virtual_host",
        "title": titled("Virtual host"),
        "component": "./DomainBlock",
    }
    return {"domain.detail.general.blocks": [block]}


def titled(text: str) -> str:
    """`text` in the language of this request, where there are words for it."""
    language = (get_language() or "en").split("-")[0]
    return FRENCH.get(text, text) if language == "fr" else text
