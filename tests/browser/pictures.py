"""docs/images from the screenshots of the last run: `python -m tests.browser.pictures`; small enough to commit."""

from __future__ import annotations

from PIL import Image

from tests.browser.visitor import SCREENSHOTS

SHOWN = (
    "wizard-1280",
    "domain-1280",
    "list-1280",
    "theme-1280",
    "tenant-login-1280",
    "tenant-refused-1280",
    "failure-1280",
    "preflight-1280",
    "delete-1280",
    "silent-1280",
    "settings-1280",
    "everybody-list-390",
)
IMAGES = SCREENSHOTS.parents[1] / "docs" / "images"
WIDEST = 960
COLOURS = 256


def shrink(name: str) -> int:
    """Write one picture, at most 960 pixels wide and of 256 colours; its size in bytes."""
    picture = Image.open(SCREENSHOTS / f"{name}.png").convert("RGB")
    if picture.width > WIDEST:
        picture = picture.resize((WIDEST, picture.height * WIDEST // picture.width))
    path = IMAGES / f"{name}.png"
    picture.quantize(COLOURS).save(path, optimize=True)
    return path.stat().st_size


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    print(f"{sum(map(shrink, SHOWN)) / 1000:.0f} kB in {len(SHOWN)} pictures")
