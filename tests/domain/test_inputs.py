"""URLs that clients write into ``input``."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.documents import View, client_prediction
from gateway.domain.inputs import WEBHOOK_MEMBERS, echo_map, input_gateway_urls, substitute
from gateway.domain.json_text import drop_members
from gateway.domain.origins import UpstreamOrigins, parse_origin_pattern
from gateway.domain.urls import (
    GatewayApiFile,
    GatewayDelivery,
    GatewayUnusable,
    StreamTokens,
    UrlMap,
)

GATEWAY = "https://gw.example.org"
OWN = (GATEWAY, "http://localhost:8080")
URLS = UrlMap(
    UpstreamOrigins(
        "https://api.replicate.com", (parse_origin_pattern("https://replicate.delivery"),), ()
    ),
    StreamTokens(b"s" * 32),
)
FILE = "https://replicate.delivery/a.png"
MIRRORED = f"{GATEWAY}/replicate/delivery/replicate.delivery/a.png"
UPLOAD = "https://api.replicate.com/v1/files/F1"


def found(input_: object) -> list[tuple[str, object]]:
    body = json.dumps({"version": MIRRORED, "input": input_, "webhook": MIRRORED}).encode()
    return [(url.field, url.target) for url in input_gateway_urls(body, URLS, OWN)]


def test_gateway_urls_are_found_however_nested_and_nowhere_but_in_input() -> None:
    assert found(
        {
            "image": MIRRORED,
            "images": ["x", {"mask": f"{GATEWAY}/replicate/files/F1"}],
            "prompt": f"like {MIRRORED}",
            MIRRORED: "a key is no value",
            "direct": FILE,
            "own": UPLOAD,
            "n": 3,
        }
    ) == [
        ("input.image", GatewayDelivery(FILE)),
        ("input.images.1.mask", GatewayApiFile("F1", UPLOAD)),
        ("input.own", GatewayApiFile("F1", UPLOAD)),
    ]


@pytest.mark.parametrize(
    "text",
    [
        UPLOAD,
        f"\n {UPLOAD} ",
        UPLOAD.upper().replace("V1/FILES", "v1/files"),
        f"\u00a0{UPLOAD}",
        f"\u3000{UPLOAD}",
        f"{GATEWAY}/replicate/v1/v1/files/F1",
        "HTTP://LOCALHOST:8080/replicate/v1/files/F1",
    ],
)
def test_no_spelling_of_an_uploaded_file_escapes(text: str) -> None:
    assert found({"image": text}) == [("input.image", GatewayApiFile("F1", UPLOAD))]


def test_escapes_in_the_body_hide_nothing() -> None:
    plain = f'{{"input":{{"a":"{MIRRORED}"}}}}'
    for body in (
        plain.replace("https:/", "\\u0068ttps:\\/"),
        plain.replace('"https', '"\\thttps'),
        plain.replace('"input"', '"inp\\u0075t"'),
    ):
        (url,) = input_gateway_urls(body.encode(), URLS, OWN)
        assert url.target == GatewayDelivery(FILE)


def test_an_address_of_the_gateway_that_is_no_file_is_told_apart() -> None:
    ((field, target),) = found({"image": f"{GATEWAY}/replicate/delivery/evil.example/x"})
    assert field == "input.image"
    assert isinstance(target, GatewayUnusable)


def test_megabytes_of_data_are_passed_over() -> None:
    body = json.dumps({"input": {"image": "data:image/png;base64," + "A" * 5_000_000}}).encode()
    assert input_gateway_urls(body, URLS, OWN) == ()
    assert substitute(body, []) == body


def test_what_was_substituted_is_echoed_as_the_caller_wrote_it() -> None:
    body = json.dumps(
        {"input": {"a": MIRRORED, "b": [FILE, MIRRORED], "c": UPLOAD}, "n": 1}, indent=1
    ).encode()
    replacements = [
        (url, url.target.upstream_url)
        for url in input_gateway_urls(body, URLS, OWN)
        if isinstance(url.target, GatewayDelivery | GatewayApiFile)
    ]
    sent = substitute(body, replacements)
    assert sent == body.replace(MIRRORED.encode(), FILE.encode())
    view = View(GATEWAY, "p1", echo_map(replacements))
    assert client_prediction(sent, URLS, view).body == body


@given(
    st.recursive(
        st.text(max_size=10) | st.sampled_from([MIRRORED, FILE, UPLOAD, "data:,x", "http://", "h"]),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
        ),
        max_leaves=10,
    )
)
def test_substituting_and_echoing_come_back_to_the_same_bytes(value: object) -> None:
    body = json.dumps({"input": {"x": value}}).encode()
    urls = input_gateway_urls(body, URLS, OWN)
    assert len(urls) == body.count(MIRRORED.encode() + b'"') - body.count(
        MIRRORED.encode() + b'":'
    ) + body.count(UPLOAD.encode() + b'"') - body.count(UPLOAD.encode() + b'":')
    replacements = [(url, f"https://api.replicate.com/v1/files/N{url.start}") for url in urls]
    sent = substitute(body, replacements)
    assert b"gw.example.org" not in sent
    view = View(GATEWAY, "p1", echo_map(replacements))
    assert client_prediction(sent, URLS, view).body == body


def test_webhook_members_do_not_reach_upstream() -> None:
    body = b'{"webhook":"w","input":{"webhook":"mine"},"webh\\u006fok_completed":"c"}'
    assert drop_members(body, WEBHOOK_MEMBERS) == b'{"input":{"webhook":"mine"}}'
