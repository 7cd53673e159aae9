"""Real pictures: cards that show their prompt, small enough to make on demand.

Pillow is imported when the first picture is wanted; the rest of the simulation starts without it.
"""

import colorsys
import hashlib
import io
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

MEDIA_TYPES = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "gif": "image/gif",
    "webm": "video/webm",
}
_ASPECTS = {
    "1:1": (1024, 1024),
    "16:9": (1344, 768),
    "21:9": (1536, 640),
    "3:2": (1216, 832),
    "2:3": (832, 1216),
    "4:5": (896, 1088),
    "5:4": (1088, 896),
    "3:4": (896, 1152),
    "4:3": (1152, 896),
    "9:16": (768, 1344),
    "9:21": (640, 1536),
}
ASPECTS = tuple(_ASPECTS)
THUMBNAIL_PIXELS = 320


@dataclass(frozen=True, slots=True)
class Card:
    """What a picture shows and how it is coded."""

    text: str
    footer: str
    width: int
    height: int
    kind: str = "webp"
    quality: int = 80
    seed: str = ""
    inset: bytes = b""
    """Another picture, shown in the corner: proof that a model has read it."""


def card_size(aspect: str, megapixels: str) -> tuple[int, int]:
    """Return width and height in pixels for the words that the models take."""
    width, height = _ASPECTS.get(aspect, _ASPECTS["1:1"])
    return (width // 2, height // 2) if megapixels == "0.25" else (width, height)


def draw_card(card: Card) -> bytes:
    """Return the coded picture; the same card gives the same bytes."""
    return _encode(_paint(card), card.kind, card.quality)


def draw_clip(card: Card, frames: int) -> bytes:
    """Return a short animation of a card, as GIF or animated WebP."""
    pictures = draw_frames(card, frames)
    out = io.BytesIO()
    pictures[0].save(
        out,
        format=card.kind.upper(),
        save_all=True,
        append_images=pictures[1:],
        duration=80,
        loop=0,
    )
    return out.getvalue()


def draw_frames(card: Card, frames: int) -> "list[Image.Image]":
    """Return the pictures of an animation: the card, and a ball that crosses it."""
    from PIL import ImageDraw

    base = _paint(card)
    pictures: list[Image.Image] = []
    for number in range(frames):
        picture = base.copy()
        left = card.width * number // frames
        size = card.height // 8
        box = (left, card.height - 2 * size, left + size, card.height - size)
        ImageDraw.Draw(picture).ellipse(box, fill="white")
        pictures.append(picture)
    return pictures


def thumbnail(content: bytes) -> bytes | None:
    """Return a small PNG of a picture, or None if these bytes are none."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as picture:
            small = picture.convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        return None
    small.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    out = io.BytesIO()
    small.save(out, format="PNG")
    return out.getvalue()


def _colour(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def _paint(card: Card) -> "Image.Image":
    from PIL import Image, ImageDraw, ImageFont, ImageOps

    digest = hashlib.sha256(f"{card.seed}/{card.text}".encode()).digest()
    hue = digest[0] / 256
    size = (card.width, card.height)
    # Turned, a square of 256 keeps an upright one of 180 in its middle.
    turned = Image.linear_gradient("L").rotate(45 * (digest[1] % 8))
    shade = turned.crop((38, 38, 218, 218)).resize(size, Image.Resampling.BILINEAR)
    dark, light = _colour(hue, 0.75, 0.28), _colour(hue + 0.12, 0.55, 0.80)
    picture = ImageOps.colorize(shade, black=dark, white=light)
    draw = ImageDraw.Draw(picture)
    for index in range(3):
        radius = card.width // (4 + digest[2 + index] % 6)
        centre = (card.width * digest[5 + index] // 256, card.height * digest[8 + index] // 256)
        draw.circle(centre, radius, outline=_colour(hue + 0.2, 0.35, 0.9), width=2)
    unit = max(10, card.width // 24)
    font = ImageFont.load_default(unit)
    columns = max(8, int(card.width * 0.84 / (unit * 0.55)))
    lines = textwrap.wrap(card.text, columns, max_lines=9, placeholder=" …") or [""]
    margin = card.width * 0.08
    draw.multiline_text((margin, margin), "\n".join(lines), font=font, fill="white", spacing=8)
    small = ImageFont.load_default(max(9, unit // 2))
    draw.text((margin, card.height - margin), card.footer, font=small, fill="white", anchor="ls")
    if card.inset:
        with Image.open(io.BytesIO(card.inset)) as inset:
            small_picture = inset.convert("RGB")
        small_picture.thumbnail((card.width // 3, card.height // 3))
        corner = (
            int(card.width - margin - small_picture.width),
            int(card.height - margin - small_picture.height),
        )
        picture.paste(small_picture, corner)
    return picture


def _encode(picture: "Image.Image", kind: str, quality: int) -> bytes:
    out = io.BytesIO()
    if kind == "png":
        picture.save(out, format="PNG", compress_level=3)
    elif kind == "jpg":
        picture.save(out, format="JPEG", quality=max(1, quality))
    else:
        picture.save(out, format="WEBP", quality=quality, method=1)
    return out.getvalue()
