"""Films that browsers play, made without a video encoder.

A lossy WebP picture is one VP8 key frame in a wrapping; a WebM file is such frames one after the
other in another wrapping. So a film is pictures that Pillow codes, put into Matroska elements
(RFC 8794, RFC 9559) by hand.
"""

import io
import struct

from gateway.simulator.pictures import Card, draw_frames

FRAME_MS = 80
_VP8 = 20  # "RIFF", a length, "WEBP", "VP8 ", a length: then the frame
_QUALITY = 70


def draw_film(card: Card, frames: int) -> bytes:
    """Return a short silent film of a card, as WebM; the same card gives the same bytes."""
    coded = [_key_frame(webp) for webp in _webps(card, frames)]
    info = _element(
        0x1549A966,
        _number(0x2AD7B1, 1_000_000),  # times are in milliseconds
        _element(0x4489, struct.pack(">d", float(len(coded) * FRAME_MS))),
        _element(0x4D80, b"simulated"),
        _element(0x5741, b"simulated"),
    )
    track = _element(
        0xAE,
        _number(0xD7, 1),
        _number(0x73C5, 1),
        _number(0x83, 1),  # video
        _element(0x86, b"V_VP8"),
        _element(0xE0, _number(0xB0, card.width), _number(0xBA, card.height)),
    )
    blocks = [
        # Track 1, milliseconds since the cluster's time, a key frame.
        _element(0xA3, b"\x81" + struct.pack(">hB", place * FRAME_MS, 0x80), frame)
        for place, frame in enumerate(coded)
    ]
    cluster = _element(0x1F43B675, _number(0xE7, 0), *blocks)
    head = _element(
        0x1A45DFA3,
        _number(0x4286, 1),
        _number(0x42F7, 1),
        _number(0x42F2, 4),
        _number(0x42F3, 8),
        _element(0x4282, b"webm"),
        _number(0x4287, 2),
        _number(0x4285, 2),
    )
    return head + _element(0x18538067, info, _element(0x1654AE6B, track), cluster)


def _webps(card: Card, frames: int) -> list[bytes]:
    made = []
    for picture in draw_frames(card, frames):
        out = io.BytesIO()
        picture.save(out, format="WEBP", quality=_QUALITY, method=1)
        made.append(out.getvalue())
    return made


def _key_frame(webp: bytes) -> bytes:
    if webp[12:16] != b"VP8 ":
        raise ValueError("the picture is not a plain lossy one")
    (length,) = struct.unpack("<I", webp[16:_VP8])
    return webp[_VP8 : _VP8 + length]


def _number(name: int, value: int) -> bytes:
    return _element(name, value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))


def _element(name: int, *parts: bytes) -> bytes:
    """Return an element: its name, the length of what is in it (eight octets), what is in it."""
    body = b"".join(parts)
    length = (len(body) | 1 << 56).to_bytes(8, "big")
    return name.to_bytes((name.bit_length() + 7) // 8, "big") + length + body
