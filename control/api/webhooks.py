"""/webhooks: who is told of events."""

from __future__ import annotations

import re
from typing import Any

from flask import abort
from flask.views import MethodView
from flask_smorest import Blueprint
from sqlalchemy import select

from control import webhooks
from control.api.context import plane, who
from control.api.schemas import PageQuery, WebhookList, WebhookMadeSchema, WebhookSchema
from control.models import Webhook

blueprint = Blueprint("webhooks", __name__, description="Who is told of events as they happen")

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


@blueprint.route("/webhooks", methods=["GET"])
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, WebhookList)
def everyone(query: dict[str, Any]) -> dict[str, Any]:
    """Who is told, by name, and how far each has been told; secrets are never shown."""
    wanted = select(Webhook).where(Webhook.name > query["after"]).order_by(Webhook.name)
    with plane().database.reading() as session:
        rows = session.scalars(wanted.limit(query["limit"] + 1)).all()
    page, more = rows[: query["limit"]], len(rows) > query["limit"]
    return {"items": list(page), "next": page[-1].name if more else None}


@blueprint.route("/webhooks/<name>")
class One(MethodView):
    """One webhook."""

    @blueprint.arguments(WebhookSchema)
    @blueprint.response(200, WebhookMadeSchema)
    @blueprint.alt_response(201, schema=WebhookMadeSchema, description="created")
    def put(self, wish: dict[str, Any], name: str) -> Any:
        """Tell this URL of events from now on; a secret that is made here is shown once."""
        if not NAME.fullmatch(name):
            abort(422, "name must be 1 to 64 letters, digits, dots, hyphens or underscores")
        with plane().database.reading() as session:
            created = session.get(Webhook, name) is None
        kinds, secret = wish.get("kinds", []), wish.get("secret")
        hook, made = webhooks.put(plane(), name, wish["url"], kinds, who(), secret)
        return {**vars(hook), "secret": made}, 201 if created else 200

    @blueprint.response(204)
    @blueprint.alt_response(404, description="no such webhook")
    def delete(self, name: str) -> None:
        """Tell it nothing more."""
        if not NAME.fullmatch(name):
            abort(404, "there is no such webhook")
        webhooks.remove(plane(), name, who())
