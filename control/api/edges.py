"""/edges: who serves, and how far each has come."""

from __future__ import annotations

from typing import Any

from flask_smorest import Blueprint

from control.api.context import plane
from control.api.schemas import EdgeList, PageQuery

blueprint = Blueprint("edges", __name__, description="Live edges by their heartbeats")


@blueprint.route("/edges", methods=["GET"])
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, EdgeList)
def edges(query: dict[str, Any]) -> dict[str, Any]:
    """Every edge that sent a heartbeat in the last 30 s, by id; `lag` counts revisions."""
    last = plane().store.summary().revision
    found = [edge for edge in plane().store.edges() if edge.edge > query["after"]]
    page, more = found[: query["limit"]], len(found) > query["limit"]
    items = [{**vars(edge), "id": edge.edge, "lag": max(0, last - edge.revision)} for edge in page]
    return {"items": items, "next": page[-1].edge if more else None}
