"""/events: what happened, who did it and when, newest first."""

from __future__ import annotations

from typing import Any

from flask_smorest import Blueprint
from sqlalchemy import ColumnElement, select

from control.api.context import plane
from control.api.schemas import EventPage, EventQuery
from control.events import shown
from control.models import Event

blueprint = Blueprint("events", __name__, description="The journal")


@blueprint.route("/events", methods=["GET"])
@blueprint.arguments(EventQuery, location="query")
@blueprint.response(200, EventPage)
def everything(query: dict[str, Any]) -> dict[str, Any]:
    """What happened, newest first."""
    return _page(query)


@blueprint.route("/virtualhosts/<hostname>/events", methods=["GET"])
@blueprint.arguments(EventQuery, location="query")
@blueprint.response(200, EventPage)
def of_host(query: dict[str, Any], hostname: str) -> dict[str, Any]:
    """What happened to one hostname, also before it was deleted, newest first."""
    return _page(query, Event.hostname == hostname)


def _page(query: dict[str, Any], *conditions: ColumnElement[bool]) -> dict[str, Any]:
    statement = select(Event).where(*conditions).order_by(Event.id.desc())
    if "after" in query:
        statement = statement.where(Event.id < query["after"])
    if "kind" in query:
        statement = statement.where(Event.kind == query["kind"])
    with plane().database.reading() as session:
        rows = session.scalars(statement.limit(query["limit"] + 1)).all()
    page, more = rows[: query["limit"]], len(rows) > query["limit"]
    addresses = plane().settings.edge_public_addresses
    items = [shown(row, addresses) for row in page]
    return {"items": items, "next": page[-1].id if more else None}
