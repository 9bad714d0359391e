"""/virtualhosts/…/theme and logos: colours, and images that were looked at before they are kept."""

from __future__ import annotations

from typing import Any, cast

from flask import Response, abort, request
from flask.views import MethodView
from flask_smorest import Blueprint

from control import registry
from control.api import represent
from control.api.conditional import CHANGED, tagged, unless_changed
from control.api.context import plane, who
from control.api.schemas import ColoursSchema, ThemeSchema
from control.logos import LARGEST_BYTES, MEDIA_TYPES, BadImage, keep
from control.models import LOGO_FIELDS, THEME_FIELDS, Logo

blueprint = Blueprint("themes", __name__, description="Colours and logos of a virtual host")
files = Blueprint("logos", __name__, description="Logos by content; no token needed")


@blueprint.route("/virtualhosts/<hostname>/theme")
class Theme(MethodView):
    """Colours of one virtual host."""

    @blueprint.response(200, ThemeSchema)
    @blueprint.alt_response(404, description="no such virtual host")
    def get(self, hostname: str) -> Any:
        """Show the theme; its ETag is what a PUT or PATCH may send as If-Match."""
        with plane().database.reading() as session:
            return tagged(represent.theme(registry.find(session, hostname)))

    @blueprint.arguments(ColoursSchema)
    @blueprint.response(200, ThemeSchema)
    @blueprint.alt_response(404, description="no such virtual host")
    @blueprint.alt_response(412, description=CHANGED)
    def put(self, colours: dict[str, str | None], hostname: str) -> Any:
        """Set all colours; those left out are taken away. With If-Match: only if the theme is still what was seen."""
        return _paint(hostname, {name: colours.get(name) for name in THEME_FIELDS})

    @blueprint.arguments(ColoursSchema)
    @blueprint.response(200, ThemeSchema)
    @blueprint.alt_response(404, description="no such virtual host")
    @blueprint.alt_response(412, description=CHANGED)
    def patch(self, colours: dict[str, str | None], hostname: str) -> Any:
        """Set some colours; those left out stay. With If-Match: only if the theme is still what was seen."""
        return _paint(hostname, colours)


@blueprint.route("/virtualhosts/<hostname>/logos/<place>")
class Logos(MethodView):
    """A logo of one virtual host: login, menu or creation_form."""

    @blueprint.doc(
        requestBody={
            "required": True,
            "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
        }
    )
    @blueprint.response(200, ThemeSchema)
    @blueprint.alt_response(404, description="no such virtual host or place")
    @blueprint.alt_response(413, description="more than 1 MB")
    def put(self, hostname: str, place: str) -> dict[str, Any]:
        """Send an image (PNG, JPEG, WebP, GIF); it is judged by its content and re-encoded."""
        _known_place(place)
        with plane().database.reading() as session:
            registry.find(session, hostname)
        if (request.content_length or 0) > LARGEST_BYTES:
            abort(413, "a logo has at most 1 MB")
        try:
            file = keep(plane(), request.get_data(cache=False))
        except BadImage as problem:
            abort(422, str(problem))
        return represent.theme(registry.set_logo(plane(), hostname, place, file, who()))

    @blueprint.response(204)
    @blueprint.alt_response(404, description="no such virtual host or place")
    def delete(self, hostname: str, place: str) -> None:
        """Show no logo of its own there."""
        _known_place(place)
        registry.set_logo(plane(), hostname, place, None, who())


@files.route("/logos/<file>", methods=["GET"])
@files.doc(security=[])
@files.response(200, content_type="image/*")
@files.alt_response(404, description="no such logo")
def show(file: str) -> Response:
    """An image; it never changes, so it may be kept for ever."""
    digest, _, extension = file.partition(".")
    with plane().database.reading() as session:
        logo = session.get(Logo, digest)
    if logo is None or logo.extension != extension:
        abort(404, "there is no such logo")
    response = Response(logo.content, mimetype=MEDIA_TYPES[logo.extension])
    response.headers.update(
        {
            "Cache-Control": "public, max-age=31536000, immutable",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "X-Content-Type-Options": "nosniff",
        }
    )
    response.set_etag(digest)
    return cast(Response, response.make_conditional(request))


def _paint(hostname: str, colours: dict[str, str | None]) -> Any:
    check = unless_changed(represent.theme)
    return tagged(represent.theme(registry.paint(plane(), hostname, colours, who(), check=check)))


def _known_place(place: str) -> None:
    if place not in LOGO_FIELDS:
        abort(404, f"there is no logo {place[:40]!r}: use {', '.join(LOGO_FIELDS)}")
