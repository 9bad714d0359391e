"""/edges: who serves, and how far each has come."""

from __future__ import annotations

from typing import Any

from flask_smorest import Blueprint

from control.api.context import plane
from control.api.schemas import EdgeList

blueprint = Blueprint("edges", __name__, description="Live edges by their heartbeats")


@blueprint.route("/edges", methods=["GET"])
@blueprint.response(200, EdgeList)
def edges() -> dict[str, Any]:
    """Every edge that sent a heartbeat in the last 30 s; `lag` counts revisions."""
    last = plane().store.summary().revision
    items = [
        {**vars(edge), "id": edge.edge, "lag": max(0, last - edge.revision)}
        for edge in plane().store.edges()
    ]
    return {"items": items, "next": None}
