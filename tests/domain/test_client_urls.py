"""What the URLs that clients send mean: paths of the mirror, files, the API; hostile ones too."""

import posixpath
import re
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.origins import canonical_origin
from gateway.domain.urls import (
    GatewayApi,
    GatewayApiFile,
    GatewayDelivery,
    GatewayUnusable,
    UnsafePath,
    origin_of,
)
from tests.domain.known_urls import (
    GATEWAY,
    OWN,
    URLS,
)

HOSTILE = [
    "",
    "/",
    "replicate.delivery",
    "replicate.delivery/",
    "/replicate.delivery/x",
    "replicate.delivery//x",
    "replicate.delivery/a//b",
    "replicate.delivery/../x",
    "replicate.delivery/a/..",
    "replicate.delivery/./x",
    "replicate.delivery/%2e%2e/x",
    "replicate.delivery/.%2E/x",
    "replicate.delivery/a%2Fb",
    "replicate.delivery/a%5cb",
    "replicate.delivery/a\\b",
    "replicate.delivery\\x",
    "replicate.delivery/a\nb",
    "replicate.delivery/a b",
    "replicate.delivery/a\x00",
    "replicate.delivery/a%0d%0aHost:evil",
    "replicate.delivery/caf\u00e9",
    "replicate.delivery/a#b",
    "replicate.delivery/a?b",
    "replicate.delivery/a%",
    "replicate.delivery/a%g0",
    "REPLICATE.delivery/x",
    "replicate.delivery./x",
    "replicate.delivery:443/x",
    "replicate.delivery:0443/x",
    "replicate.delivery:/x",
    "replicate.delivery:99999/x",
    "user@replicate.delivery/x",
    "replicate.delivery%2fx/y",
    "evil.example/x",
    "evil.example%00.replicate.delivery/x",
    "evil.example#.replicate.delivery/x",
    "evil.example\\.replicate.delivery/x",
    "evil.example?.replicate.delivery/x",
    "-.replicate.delivery/x",
    "..replicate.delivery/x",
    "a..replicate.delivery/x",
    "xreplicate.delivery/x",
    "127.0.0.1/x",
    "[::1]/x",
    "localhost/x",
    "a" * 300 + ".replicate.delivery/x",
    "replicate.delivery/" + "a" * 9000,
]


@pytest.mark.parametrize("raw_path", HOSTILE)
def test_hostile_delivery_paths_are_refused(raw_path: str) -> None:
    with pytest.raises(UnsafePath):
        URLS.delivery_from_path(raw_path)
    if raw_path and not any(char.isspace() or char < " " for char in raw_path):
        assert isinstance(
            URLS.from_client(f"{GATEWAY}/replicate/delivery/{raw_path}", OWN),
            GatewayUnusable | GatewayDelivery,
        )


@pytest.mark.parametrize("query", ["a b", "a#b", "a\n", "a%", "\u00e9", "a\\b", "a" * 9000])
def test_hostile_delivery_queries_are_refused(query: str) -> None:
    with pytest.raises(UnsafePath):
        URLS.delivery_from_path("replicate.delivery/x", query)


@settings(max_examples=500)
@given(
    st.one_of(
        st.text(max_size=60),
        st.from_regex(
            r"[a-z.:@%\\/0-9]{0,20}replicate\.delivery[a-z.:@%\\/0-9?#]{0,30}", fullmatch=True
        ),
        st.sampled_from(HOSTILE).flatmap(lambda p: st.text(max_size=5).map(lambda t: p + t)),
    ),
    st.text("a=&%2f#? ", max_size=10),
)
def test_a_delivery_path_never_leads_to_another_host(raw_path: str, raw_query: str) -> None:
    try:
        url = URLS.delivery_from_path(raw_path, raw_query)
    except UnsafePath:
        return
    parts = urlsplit(url)
    assert parts.scheme == "https"
    assert re.fullmatch(r"(?:[a-z0-9_-]+\.)*replicate\.delivery", parts.netloc)
    assert URLS.delivery_to_client(url, "") == f"/replicate/delivery/{raw_path}" + (
        f"?{raw_query}" if raw_query else ""
    )


@pytest.mark.parametrize(
    ("url", "target"),
    [
        (
            f"{GATEWAY}/replicate/v1/files/F1",
            GatewayApiFile("F1", "https://api.replicate.com/v1/files/F1"),
        ),
        (
            f"{GATEWAY}/replicate/v1/v1/files/F1",
            GatewayApiFile("F1", "https://api.replicate.com/v1/files/F1"),
        ),
        (
            f"{GATEWAY}/replicate/files/F1/",
            GatewayApiFile("F1", "https://api.replicate.com/v1/files/F1"),
        ),
        (
            "HTTPS://GW.example.org.:443/replicate/v1/files/F1",
            GatewayApiFile("F1", "https://api.replicate.com/v1/files/F1"),
        ),
        (
            "http://localhost:8080/replicate/files/F1#x",
            GatewayApiFile("F1", "https://api.replicate.com/v1/files/F1"),
        ),
        (
            f"{GATEWAY}/replicate/v1/predictions/p1",
            GatewayApi("https://api.replicate.com/v1/predictions/p1"),
        ),
        (
            f"{GATEWAY}/replicate/models?cursor=x",
            GatewayApi("https://api.replicate.com/v1/models?cursor=x"),
        ),
        (
            "HTTPS://GW.example.org:443/replicate/delivery/replicate.delivery/a.png#f",
            GatewayDelivery("https://replicate.delivery/a.png"),
        ),
        (
            f"{GATEWAY}/replicate/delivery/replicate.delivery/caf\u00e9.png?a=b",
            GatewayDelivery("https://replicate.delivery/caf%C3%A9.png?a=b"),
        ),
        *(
            (f"{GATEWAY}{path}", GatewayDelivery("https://replicate.delivery/a.png"))
            for path in (
                "/replicate//delivery/replicate.delivery/a.png",
                "//replicate/delivery//replicate.delivery/a.png",
            )
        ),
        *(
            (
                f"{GATEWAY}{path}",
                GatewayUnusable("it is not the address of an output file of this gateway"),
            )
            for path in (
                "/replicate/delivery",
                "/replicate/%64elivery/replicate.delivery/a.png",
                "/replicate//delivery/replicate.delivery//a.png",
            )
        ),
        (f"{GATEWAY}/dashboard", None),
        (f"{GATEWAY}/", None),
        (GATEWAY, None),
        ("http://gw.example.org/replicate/v1/files/F1", None),
        ("http://localhost/replicate/v1/files/F1", None),
        ("https://gw.example.org.evil.example/replicate/v1/files/F1", None),
        ("https://replicate.delivery/a.png", None),
        ("a prompt", None),
        ("", None),
        ("data:image/png;base64,AAAA", None),
    ],
)
def test_what_a_client_side_url_stands_for(url: str, target: object) -> None:
    assert URLS.from_client(url, OWN) == target


@pytest.mark.parametrize(
    "url",
    [
        "https://api.replicate.com/v1/files/F1",
        "https://api.replicate.com/v1/files/F1?x=y",
        "http://api.replicate.com/v1/files/F1",
        "https://api.replicate.com:443/v1/files/F1",
        "https://API.Replicate.com./v1/files/F1/",
        "https://x:y@api.replicate.com/v1/files/F1",
        " https://api.replicate.com/v1/files/F1\n",
        "\x85\u2003https://api.replicate.com/v1/files/F1\u200b\u2028",
        "https://api.replicate.com//v1//files//F1",
        "https://api.replicate.com/v1/x/../files/F1",
        "https://api.replicate.com/v1/./files/F1",
        "https://api.replicate.com/v1/%66iles/F%31",
        "https://api.replicate.com/v1%2ffiles%2fF1",
        "https://api.replicate.com/v1/%2566iles/F1",
        "https:\\\\api.replicate.com\\v1\\files\\F1",
        "https:api.replicate.com/v1/files/F1",
        "https://%61pi.replicate.com/v1/files/F1",
        "https://\uff41pi.replicate.com/v1/files/F1",
        "https://api.replicate.com/v1/v1/files/F1",
    ],
)
def test_no_spelling_hides_an_uploaded_file(url: str) -> None:
    assert URLS.upstream_file(url) == GatewayApiFile("F1", "https://api.replicate.com/v1/files/F1")


@pytest.mark.parametrize(
    "url",
    [
        "https://api.replicate.com/v1/predictions/x",
        "https://api.replicate.com/v1/files",
        "https://api.replicate.com/files/F1",
        "https://example.org/v1/files/F1",
        "https://api.replicate.com.evil.example/v1/files/F1",
        "https://api.replicate.com:8443/v1/files/F1",
        "the file https://api.replicate.com/v1/files/F1",
    ],
)
def test_other_urls_are_no_uploaded_files(url: str) -> None:
    assert URLS.upstream_file(url) is None


def test_an_uploaded_file_with_a_signed_download_keeps_its_signature() -> None:
    url = "https://api.replicate.com/v1/files/F1/download?expiry=1&owner=o&signature=s%3D"
    assert URLS.upstream_file(url) == GatewayApiFile("F1", url)
    assert isinstance(
        URLS.upstream_file("https://api.replicate.com/v1/files/F1/x/y"), GatewayUnusable
    )


UPLOAD = "https://api.replicate.com/v1/files/F1"
PROSE = [
    " gives me 402. What does it mean?",
    " is my file",
    "\u00a0: what is that?",
    "\nanswers 404, why?",
    "\n\nWhy does this #fail?",
    "\u3000\u306f\u4f55?",
]


@pytest.mark.parametrize("rest", [*PROSE, "? What is that", "# and more", "\nx", "\tx", "\x00x"])
@pytest.mark.parametrize(
    "path",
    [
        "/replicate/v1/predictions",
        "/replicate/v1/files/F1",
        "/replicate/delivery/replicate.delivery/a.png",
        "/replicate/delivery/x/y.png",
    ],
)
def test_a_text_that_begins_with_an_address_is_no_address(path: str, rest: str) -> None:
    assert URLS.from_client(GATEWAY + path + rest, OWN) is None
    assert URLS.upstream_file(GATEWAY + path + rest) is None
    assert URLS.from_client(f" \t{GATEWAY}{path}\r\n", OWN) == URLS.from_client(GATEWAY + path, OWN)


@pytest.mark.parametrize("rest", [*PROSE, "/download of mine", "/x y"])
def test_a_text_that_begins_with_a_files_address_in_upstreams_form_is_no_file(rest: str) -> None:
    assert URLS.upstream_file(UPLOAD + rest) is None
    assert URLS.upstream_file("https://api.replicate.com/v1/predictions" + rest) is None


@pytest.mark.parametrize(
    "text",
    [
        "https://api.replicate.com/v1/fi\tles/F1",
        "ht\ntps://api.replicate.com/v1/files/F\r\n1",
        "https://a b@api.replicate.com/v1/files/F1",
        f"{UPLOAD}? why",
        f"{UPLOAD}?a=b\tc",
        f"{UPLOAD}# why",
        f"{UPLOAD} ?",
        f"{UPLOAD}/ #",
        f"{UPLOAD}/download?expiry=1&signature=s&x= y",
        f"{UPLOAD}/a b/..",
        f"{UPLOAD}/\t/..",
        f"{UPLOAD}/.\t./..",
        f"{UPLOAD}/a b%2f..%2f..%2fF2/..",
        "https://api.replicate.com/v1/a b/../files/F1",
        "https://api.replicate.com/v1/%66iles/F1? x",
    ],
)
def test_blanks_do_not_hide_a_file_that_could_be_fetched_and_nothing_is_rewritten(
    text: str,
) -> None:
    assert URLS.upstream_file(text) == GatewayApiFile("F1", text)


def test_an_address_that_leads_to_two_files_is_none() -> None:
    # Dots that are resolved before the slashes are decoded take all of a step away.
    hidden = f"{UPLOAD}/x%2f..%2f..%2fF2/.."
    assert URLS.upstream_file(hidden) == GatewayApiFile("F1", UPLOAD)
    both = f"{UPLOAD}/x%2f..%2f..%2fF2%2fy/.."
    assert isinstance(URLS.upstream_file(both), GatewayUnusable)
    assert isinstance(URLS.upstream_file(f"{both}? x"), GatewayUnusable)


@given(
    st.text(min_size=1),
    st.sampled_from(" \n\t\x00\x1f\x7f\xa0\u2003\u3000"),
    st.text(min_size=1),
)
def test_no_text_with_a_blank_inside_is_an_address_of_the_gateway(
    before: str, blank: str, after: str
) -> None:
    text = f"{GATEWAY}/replicate/v1/{before}{blank}{after}x"
    assert URLS.from_client(text, OWN) is None


@given(
    st.lists(
        st.sampled_from(["a", "..", ".", "", "a b", ".\t.", "\t", "%2e%2E", "F2", "x%2f..", "\n."]),
        max_size=6,
    ),
    st.sampled_from(["", "?", "? a", "#\tb", "?a=b"]),
)
def test_a_file_that_a_browser_or_python_would_fetch_is_always_seen(
    steps: list[str], rest: str
) -> None:
    text = "/".join((UPLOAD, *steps)) + rest
    fetched = {
        posixpath.normpath(unquote_dots(urlsplit(text).path)),
        posixpath.normpath(unquote_dots(re.split("[?#]", text)[0].partition(".com")[2])),
    }
    if "/v1/files/F1" in fetched:
        found = URLS.upstream_file(text)
        assert isinstance(found, GatewayUnusable) or (found is not None and found.file_id == "F1")
        assert isinstance(found, GatewayUnusable) or found.upstream_url in (UPLOAD, text)


def unquote_dots(path: str) -> str:
    return re.sub("%2e", ".", path, flags=re.IGNORECASE)


@given(st.text())
def test_no_text_breaks_the_reading_of_client_urls(text: str) -> None:
    for url in (text, f"https://{text}", f"{GATEWAY}/{text}", f"{GATEWAY}/replicate/{text}"):
        URLS.from_client(url, OWN)
        URLS.upstream_file(url)
        origin_of(url)
        canonical_origin(url)
