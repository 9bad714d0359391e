"""The demo's two brands: colours, and logos drawn on the spot so that the repository carries no pictures."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf"


@dataclass(frozen=True)
class Tenant:
    """One demo tenant: what the administrator would type and upload."""

    hostname: str
    domain: str
    user: str
    name: str
    theme: dict[str, str]

    def logo(self, ink: str, width: int = 360, height: int = 96) -> bytes:
        """The brand's wordmark as PNG: a mark in its secondary colour, the name in `ink`."""
        picture = Image.new("RGBA", (width, height), (0, 0, 0, 0))
        draw = ImageDraw.Draw(picture)
        mark = height - 16
        draw.rounded_rectangle((8, 8, 8 + mark, 8 + mark), 18, fill=self.theme["secondary"])
        letter = ImageFont.truetype(FONT, mark - 22)
        draw.text(
            (8 + mark / 2, 8 + mark / 2), self.name[0], fill="#ffffff", font=letter, anchor="mm"
        )
        word = ImageFont.truetype(FONT, 44)
        draw.text((mark + 28, height / 2), self.name, fill=ink, font=word, anchor="lm")
        out = io.BytesIO()
        picture.save(out, "PNG")
        return out.getvalue()

    def logos(self) -> dict[str, bytes]:
        """Slot → PNG: white ink where the background is the primary colour, dark ink on forms."""
        white, dark = self.logo("#ffffff"), self.logo(self.theme["primary_dark"])
        return {"login": white, "menu": white, "creation_form": dark}


TENANTS = (
    Tenant(
        hostname="mail.acme.test",
        domain="acme.test",
        user="alice@acme.test",
        name="Acme",
        theme={
            "primary": "#b3261e",
            "primary_light": "#d9534a",
            "primary_dark": "#7f1710",
            "secondary": "#f2a33a",
            "label": "#5f4b48",
        },
    ),
    Tenant(
        hostname="mail.globex.test",
        domain="globex.test",
        user="bob@globex.test",
        name="Globex",
        theme={
            "primary": "#00695c",
            "primary_light": "#33897e",
            "primary_dark": "#004a41",
            "secondary": "#5e35b1",
            "label": "#455a5a",
        },
    ),
)
PASSWORD = "Passw0rd!demo"  # noqa: S105 (the demo's own, printed in the README)
