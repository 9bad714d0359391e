"""What Modoboa's plugin system and its single-page application learn about the extension."""

from __future__ import annotations

from typing import Any

from modoboa.core.extensions import ModoExtension, exts_pool

from modoboa_ext import licence, manifest
from modoboa_ext.settings import option


class VirtualHosts(ModoExtension):
    """Branded front doors: one hostname, certificate and theme for each tenant."""

    name = "modoboa_ext"
    label = "Virtual hosts"
    version = "0.1.0"
    description = "Give each tenant its own hostname, certificate and look"

    def get_frontend_remote(self) -> dict[str, str] | None:
        """The Vue remote, unless its file was not collected: then nothing of it is announced."""
        return manifest.remote()

    def get_frontend_menu_entries(self) -> list[dict[str, Any]]:
        """The entry in the menu."""
        return manifest.menu_entries() if manifest.remote() else []

    def get_frontend_routes(self) -> list[dict[str, Any]]:
        """The pages."""
        return manifest.routes(licence.locked()) if manifest.remote() else []

    def get_frontend_ui_extensions(self) -> dict[str, list[dict[str, Any]]]:
        """What is added to a domain's forms and page, for those who may use it."""
        if not manifest.remote() or licence.locked():
            return {}
        forms = manifest.domain_forms() if manifest.may_link(option("ALLOW_RESELLERS")) else {}
        return {**forms, **(manifest.domain_page() if manifest.may_manage() else {})}


exts_pool.register_extension(VirtualHosts)
