"""The tenant's look as the edge passes it on, validated again; a bad header changes nothing and breaks nothing."""

from __future__ import annotations

import json
import re
from typing import Any

HEADER = "HTTP_X_VIRTUAL_HOST_THEME"
COLOUR = re.compile(r"#[0-9a-fA-F]{6}", re.ASCII)
LOGO = re.compile(r"/_edge/logos/[0-9a-f]{64}\.(png|jpg|jpeg|webp|gif)", re.ASCII)
COLOURS = (
    "theme_primary_color",
    "theme_primary_color_light",
    "theme_primary_color_dark",
    "theme_secondary_color",
    "theme_label_color",
)
LOGOS = ("theme_login_logo_url", "theme_menu_logo_url", "theme_creation_form_logo_url")
RULES = {**dict.fromkeys(COLOURS, COLOUR), **dict.fromkeys(LOGOS, LOGO)}
MOST_BYTES = 8192
CONTROL_PLANE_COLOURS = {
    "theme_primary_color": "primary",
    "theme_primary_color_light": "primary_light",
    "theme_primary_color_dark": "primary_dark",
    "theme_secondary_color": "secondary",
    "theme_label_color": "label",
}
CONTROL_PLANE_LOGOS = {
    "theme_login_logo_url": "login",
    "theme_menu_logo_url": "menu",
    "theme_creation_form_logo_url": "creation_form",
}


def overrides(request: Any) -> dict[str, str]:
    """Modoboa's theme parameters that the request's tenant overrides; {} at the primary hostname."""
    host = getattr(request, "virtual_host", None)
    if host is None or not host.is_tenant:
        return {}
    return parse(request.META.get(HEADER, ""))


def parse(text: str) -> dict[str, str]:
    """The valid entries of the header's JSON object; whatever else arrives is left out."""
    if not text or len(text) > MOST_BYTES:
        return {}
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(given, dict):
        return {}
    return {name: given[name] for name, rule in RULES.items() if fits(given.get(name), rule)}


def fits(value: Any, rule: re.Pattern[str]) -> bool:
    """Whether `value` is text that the rule matches from end to end."""
    return isinstance(value, str) and rule.fullmatch(value) is not None


def from_control_plane(given: dict[str, Any]) -> dict[str, str | None]:
    """The control plane's theme under Modoboa's names; logos by the address the edge serves them at."""
    logos = given.get("logos") or {}
    colours = {ours: given.get(theirs) for ours, theirs in CONTROL_PLANE_COLOURS.items()}
    return colours | {
        ours: at_edge(logos.get(theirs)) for ours, theirs in CONTROL_PLANE_LOGOS.items()
    }


def at_edge(url: str | None) -> str | None:
    """Where a browser finds a logo that the control plane names by its own URL."""
    return f"/_edge/logos/{url.rpartition('/')[2]}" if url else None


def to_control_plane(given: dict[str, str | None]) -> dict[str, str | None]:
    """The colours under the control plane's names; blank is null."""
    return {CONTROL_PLANE_COLOURS[name]: value or None for name, value in given.items()}
