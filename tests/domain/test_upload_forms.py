"""A key in the form around an uploaded file is seen, however it arrives."""

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.keys import make_key
from gateway.domain.upload_forms import FormKeys

KEY = make_key(bytes(range(27)))
ESCAPED = "".join(f"\\u{ord(char):04x}" for char in KEY)
TYPE = "multipart/form-data; boundary=edge"


def form(*parts: tuple[str, str]) -> bytes:
    """A form of parts, each what stands behind ``form-data`` and its value."""
    text = "".join(
        f"--edge\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n"
        for head, value in parts
    )
    return (text + "--edge--\r\n").encode()


def looked_through(body: bytes, size: int, content_type: str = TYPE) -> str | None:
    keys = FormKeys(content_type)
    found = None
    for start in range(0, len(body), size):
        found = keys.write(body[start : start + size])
    return found


WITH_A_KEY = [
    (("name=content; filename=" + KEY, "words"), "content"),
    ((f'name="content"; filename="a {KEY}.png"', "words"), "content"),
    ((f"name=content; filename*=UTF-8''{quote('%')}{KEY}", "words"), "content"),
    (("name=content; filename=" + "".join(f"%{ord(c):02x}" for c in KEY), "words"), "content"),
    ((f"name=content; filename=a\r\nContent-Type: text/{KEY}", "words"), "content"),
    ((f'name="{KEY}"', "words"), "body"),
    (("name=filename", f"{KEY}.png"), "filename"),
    (("name=type", f"image/{KEY}"), "type"),
    (("name=metadata", json.dumps({"token": KEY})), "metadata"),
    (("name=metadata; filename=blob", json.dumps({"token": KEY})), "metadata"),
    (("name=metadata", f'{{"a": ["{ESCAPED}"]}}'), "metadata.a.0"),
    (("name=metadata", "x" * 200_000 + KEY), "metadata"),
]


@pytest.mark.parametrize("size", [1, 7, 100, 1_000_000])
@pytest.mark.parametrize(("part", "field"), WITH_A_KEY)
def test_a_key_around_the_file_is_seen(part: tuple[str, str], field: str, size: int) -> None:
    assert looked_through(form(("name=x", "y"), part, ("name=z", "")), size) == field


@given(st.sampled_from(WITH_A_KEY), st.integers(1, 400), st.booleans())
def test_it_is_seen_before_the_form_has_ended(
    case: tuple[tuple[str, str], str], size: int, last: bool
) -> None:
    parts = [case[0]] if last else [case[0], ("name=content; filename=b", "words")]
    body = form(*parts)
    keys = FormKeys(TYPE)
    passed = b""
    for start in range(0, len(body), size):
        if keys.write(body[start : start + size]) is not None:
            break
        passed += body[start : start + size]
    assert keys.found == case[1]
    assert b"--edge--" not in passed


@pytest.mark.parametrize("size", [1, 50, 1_000_000])
def test_the_file_itself_is_not_looked_at(size: int) -> None:
    body = form(("name=metadata", "{}"), ("name=content; filename=a.txt", f"my key is {KEY}"))
    assert looked_through(body, size) is None


def test_what_only_resembles_a_key_is_none() -> None:
    body = form(
        ("name=content; filename=hk-" + "a" * 43, "x"),
        ("name=metadata", '{"a": "\\u0068k-1", "a": 1}'),
    )
    assert looked_through(body, 10) is None


@given(st.binary(max_size=300), st.integers(1, 50), st.text(max_size=30))
def test_no_form_breaks_the_looking(body: bytes, size: int, content_type: str) -> None:
    looked_through(b"--edge\r\n" + body, size)
    looked_through(body, size, content_type)
    looked_through(form(("name=a", "b")), size, f"multipart/form-data; boundary={content_type}")
