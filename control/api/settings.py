"""/settings: what an administrator changes while everything runs."""

from __future__ import annotations

from typing import Any

from flask.views import MethodView
from flask_smorest import Blueprint

from control import configuration, trial
from control.api.conditional import CHANGED, tagged, unless_changed
from control.api.context import plane, who
from control.api.schemas import AuthoritySchema, CheckList, ReservedSchema, SettingsSchema
from control.models import RuntimeSettings

blueprint = Blueprint("settings", __name__, description="Run-time settings")


@blueprint.route("/settings")
class Settings(MethodView):
    """All of them at once."""

    @blueprint.response(200, SettingsSchema)
    def get(self) -> Any:
        """Show what holds now; its ETag is what a PUT may send as If-Match."""
        return tagged(plane().runtime().as_dict())

    @blueprint.arguments(SettingsSchema)
    @blueprint.response(200, SettingsSchema)
    @blueprint.alt_response(412, description=CHANGED)
    def put(self, changes: dict[str, Any]) -> Any:
        """Change some; those left out stay. With If-Match: only if they are still what was seen."""
        check = unless_changed(RuntimeSettings.as_dict)
        return tagged(configuration.configure(plane(), changes, who(), check=check).as_dict())


@blueprint.route("/settings/reserved_hostnames", methods=["GET"])
@blueprint.response(200, ReservedSchema)
def reserved() -> dict[str, Any]:
    """Which hostnames the operator keeps from everybody (RESERVED_HOSTNAMES); read-only."""
    return {"items": list(plane().settings.reserved_hostnames)}


@blueprint.route("/settings/test", methods=["POST"])
@blueprint.arguments(AuthoritySchema)
@blueprint.response(200, CheckList)
def test(asked: dict[str, str]) -> dict[str, Any]:
    """Try a CA before it is used: directory, account, terms; nothing is made there."""
    checks = trial.examine(plane(), asked["acme_directory_url"])
    return {"items": [vars(check) for check in checks], "next": None}
