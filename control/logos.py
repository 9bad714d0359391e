"""Logos: judged by content and size before decoding, re-encoded, kept by the hash of what we made."""

from __future__ import annotations

import hashlib
import io
import warnings

from PIL import Image, UnidentifiedImageError

from control.database import after_collision
from control.models import Logo
from control.plane import Plane

LARGEST_BYTES = 1_000_000
LARGEST_PIXELS = 4_000_000
FORMATS = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp", "GIF": "gif"}
MEDIA_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
}


class BadImage(ValueError):
    """The bytes are no image that we take; the text says what to send."""


def keep(plane: Plane, content: bytes) -> str:
    """Store the image re-encoded; returns its file name `<sha256>.<ext>`. Raises BadImage."""
    encoded, extension = reencode(content)
    digest = hashlib.sha256(encoded).hexdigest()
    _store(plane, digest, extension, encoded)
    return f"{digest}.{extension}"


@after_collision
def _store(plane: Plane, digest: str, extension: str, encoded: bytes) -> None:
    """One that is there already counts as stored now, so that it is not forgotten before it is shown."""
    now = plane.clock()
    with plane.database.writing() as session:
        known = session.get(Logo, digest)
        if known is None:
            session.add(Logo(sha256=digest, extension=extension, content=encoded, created_at=now))
        else:
            known.created_at = now


def reencode(content: bytes) -> tuple[bytes, str]:
    """The same picture (the first, of an animation) without whatever else the file carried."""
    if not content:
        raise BadImage("send the image as the body of the request")
    if len(content) > LARGEST_BYTES:
        raise BadImage(f"a logo has at most 1 MB, this one has {len(content)} bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Image.open(io.BytesIO(content), formats=list(FORMATS)) as image:
                _check_size(image)
                image.load()
                return _encode(image)
    except BadImage:
        raise
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError, Warning) as problem:
        raise BadImage("not an image: send a PNG, JPEG, WebP or GIF") from problem
    except Image.DecompressionBombError as problem:
        raise BadImage("a logo has at most 4 megapixels") from problem


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    if width * height > LARGEST_PIXELS:
        raise BadImage(f"a logo has at most 4 megapixels, this one is {width}x{height}")


def _encode(image: Image.Image) -> tuple[bytes, str]:
    kind = image.format or "PNG"
    picture = image.convert("RGB" if kind == "JPEG" else "RGBA")
    if kind == "GIF":
        picture = picture.convert("P")
    clean = Image.new(picture.mode, picture.size)
    clean.frombytes(picture.tobytes())
    if picture.mode == "P":
        clean.putpalette(picture.getpalette() or [])
    out = io.BytesIO()
    options = {"quality": 90} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    clean.save(out, kind, **options)
    return out.getvalue(), FORMATS[kind]
